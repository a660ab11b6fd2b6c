"""Figures of curvature: sharpness over training, spectral density, barriers."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots.style import CONTRAST, GRID, MAIN, MUTED, PALE, WIDTH, figure, label, step_axis, styled
from isthmus.results.curvature import SharpnessTimeline, SpectralDensity, TwinBarriers


def plot_sharpness(record: SharpnessTimeline) -> Figure:
    """Top Hessian eigenvalues over training, against the stability limits of the step size."""
    with styled():
        made, axes = figure(3.2)
        for column in range(record.values.shape[1] - 1, 0, -1):
            axes.plot(record.step, record.values[:, column], color=PALE, lw=0.9)
        top, bar = record.values[:, 0], record.residuals[:, 0]
        axes.errorbar(record.step, top, bar, color=MAIN, capsize=2, elinewidth=1)
        sure = record.converged[:, 0]
        axes.plot(record.step[sure], top[sure], "o", color=MAIN, ms=4.5)
        axes.plot(record.step[~sure], top[~sure], "o", color=MAIN, ms=4.5, mfc="none")
        peak = int(np.nanargmax(top))
        label(axes, record.step[peak], top[peak], "sharpness (largest)", MAIN, dx=0, dy=10, ha="center")
        if record.values.shape[1] > 1:
            label(axes, record.step[-1], record.values[-1, -1], f"2nd to {record.values.shape[1]}th", MUTED)
        _limits(axes, record)
        axes.set_yscale("log")
        axes.set_ylabel("Hessian eigenvalue (log)")
        step_axis(axes, float(record.step[-1]))
        axes.grid(axis="y")
    return made


def _limits(axes: Axes, record: SharpnessTimeline) -> None:
    rate = record.learning_rate
    if not np.isfinite(rate).any():
        return
    axes.plot(record.step, 2 / rate, color=CONTRAST, lw=1.2, ls="--")
    label(axes, record.step[len(rate) // 2], 2 / rate[len(rate) // 2], "2 / lr", CONTRAST, dy=-8)
    if (record.momentum > 0).any():
        axes.plot(record.step, record.limit, color=CONTRAST, lw=1.2, ls=":")
        label(axes, record.step[len(rate) // 2], record.limit[len(rate) // 2], "2 (1 + momentum) / lr", CONTRAST, dy=8)


def plot_density(record: SpectralDensity) -> Figure:
    """Spectral density on a log axis with its error band; outliers as ticks."""
    with styled():
        made, axes = figure(3.0)
        floor = max(1 / (record.parameters * 50 * record.bandwidth), 1e-12)
        low = np.maximum(record.density - 2 * record.standard_error, floor / 10)
        high = np.maximum(record.density + 2 * record.standard_error, floor / 10)
        axes.fill_between(record.grid, low, high, color=MAIN, alpha=0.25, lw=0)
        axes.plot(record.grid, np.maximum(record.density, floor / 10), color=MAIN, lw=1.3)
        axes.set_yscale("log")
        axes.set_ylim(floor, record.density.max() * 3)
        for index, value in enumerate(record.outliers):
            axes.axvline(value, 0, 0.06, color=CONTRAST, lw=1.6)
            if index == 0:
                words = f"{len(record.outliers)} outlier{'s' if len(record.outliers) > 1 else ''}"
                top = float(record.density[record.grid >= record.outliers.min()].max())
                label(axes, value, top, words, CONTRAST, dx=6, dy=12, ha="right")
        axes.axvline(0, color=GRID, lw=0.8, zorder=0)
        axes.set_xlabel("Hessian eigenvalue")
        axes.set_ylabel("density (log)")
    return made


def plot_twins(record: TwinBarriers) -> Figure:
    """Training loss and error along the straight line from each twin to the run."""
    with styled():
        wanted = [name for name in ("train_loss", "train_error") if name in record.quantities]
        made = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        titles = {"train_loss": "training loss", "train_error": "training error"}
        for position, name in enumerate(wanted):
            row = record.quantities.index(name)
            axes = made.add_subplot(1, len(wanted), position + 1)
            for pair in record.values[:, row]:
                axes.plot(record.alpha, pair, color=MAIN, lw=0.8, alpha=0.55)
            mean = record.values[:, row].mean(axis=0)
            axes.plot(record.alpha, mean, color=MAIN, lw=2.2)
            axes.plot([0, 1], [mean[0], mean[-1]], color=MUTED, lw=1, ls=":")
            axes.annotate(
                "chord",
                (0.5, (mean[0] + mean[-1]) / 2),
                (0, -9),
                textcoords="offset points",
                color=MUTED,
                ha="center",
                fontsize=9,
            )
            axes.set_title(titles[name])
            axes.set_xticks([0, 0.5, 1], ["twin", "halfway", "run"])
            axes.set_ylim(bottom=min(0.0, float(record.values[:, row].min())))
            axes.grid(axis="y")
    return made
