"""Figures of kernel evolution: barrier, velocity, alignment and after-kernel on one time axis; separating twins."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots.style import CONTRAST, MAIN, MUTED, PALE, WIDTH, epoch_axis, figure, label, styled
from isthmus.results.evolution import AfterKernel, EvolutionSummary, LinearizedChildren, Spawning
from isthmus.results.kernel import KernelTimeline

_BARRIER = {True: ("barrier_train_error", "barrier\n(train error)"), False: ("barrier_train_loss", "barrier\n(train loss)")}


def plot_evolution(kernel: KernelTimeline, children: Spawning, summary: EvolutionSummary, after: AfterKernel | None) -> Figure:
    """Barrier between children, kernel velocity, alignment and after-kernel error against one logarithmic time."""
    with styled():
        learned = after is not None and not np.isnan(after.solved_error).any()
        rows = 4 if learned else 3
        made = Figure(figsize=(WIDTH, 1.45 * rows + 0.6), layout="constrained")
        panels = [made.add_subplot(rows, 1, i + 1) for i in range(rows)]
        _barrier(panels[0], children)
        _band(panels[1], kernel.velocity_epoch + kernel.velocity_interval / 2, kernel.velocity)
        panels[1].set_ylabel("kernel velocity\n(per epoch)")
        _band(panels[2], kernel.epoch, kernel.label_alignment)
        panels[2].set_ylabel("alignment\nwith labels")
        if learned and after is not None:
            _after(panels[3], after)
        later = kernel.epoch[kernel.epoch > 0]
        for index, axes in enumerate(panels):
            axes.set_ylim(bottom=0)
            epoch_axis(axes, float(kernel.epoch[-1]), float(later.min()) if later.size else 1.0)
            axes.grid(axis="y")
            axes.tick_params(labelbottom=index == rows - 1)
            if index < 3:
                _change(axes, summary, index)
        panels[-1].set_xlabel("epoch (log scale)")
    return made


def _barrier(axes: Axes, children: Spawning) -> None:
    name, words = _BARRIER[not np.isnan(children.measure("barrier_train_error")).all()]
    values = children.measure(name)
    for pair in values.T:
        axes.plot(children.spawn_epoch, pair, "o", color=MAIN, ms=3, alpha=0.5)
    good = ~np.isnan(values)
    mean = np.where(good, values, 0).sum(1) / np.maximum(good.sum(1), 1)
    axes.plot(children.spawn_epoch, mean, color=MAIN)
    if children.independent.shape[1]:
        level = float(children.independent[children.measures.index(name)].mean())
        axes.axhline(level, color=MUTED, lw=1, ls=":")
        label(axes, children.spawn_epoch[-1], level, "other initializations", MUTED, dx=0, dy=-7, ha="right")
    axes.set_ylabel(words)


def _after(axes: Axes, after: AfterKernel) -> None:
    axes.plot(after.epoch, after.network_error, color=PALE)
    label(axes, after.epoch[1], after.network_error[1], "network", MUTED, dx=4, dy=6)
    axes.plot(after.epoch, after.solved_error, color=CONTRAST, marker="o", ms=3)
    label(axes, after.epoch[0], after.solved_error[0], "solved kernel", CONTRAST, dx=6, dy=-9)
    axes.axhline(after.final_error, color=MUTED, lw=1, ls=":")
    axes.set_ylabel("test error of the\nkernel of that time")


def _change(axes: Axes, summary: EvolutionSummary, index: int) -> None:
    signals = ("barrier between children", "kernel velocity", "missing alignment")
    if signals[index] not in summary.signals:
        return
    row = summary.signals.index(signals[index])
    if summary.verdicts[row] == "transient":
        place, low, high = summary.change[row]
        axes.axvspan(low, high, color=CONTRAST, alpha=0.18, lw=0)
        axes.axvline(place, color=CONTRAST, lw=1.2)


def _band(axes: Axes, x: np.ndarray, values: np.ndarray) -> None:
    if not values.size:
        return
    mean = values.mean(axis=0)
    if len(values) > 1:
        bar = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        axes.fill_between(x, mean - 2 * bar, mean + 2 * bar, color=MAIN, alpha=0.25, lw=0)
    axes.plot(x, mean, color=MAIN, marker="o", ms=2.5)


def plot_twin_separation(summary: EvolutionSummary) -> Figure:
    """Distance of perturbed twins over time, logarithmic, one line a perturbation."""
    with styled():
        made, axes = figure(2.7)
        for size, rate, row in zip(summary.twin_size, summary.divergence_rate, summary.twin_distance, strict=True):
            axes.plot(summary.twin_epoch, row, color=MAIN, marker="o", ms=2.5)
            words = f"start {size:g}" + (
                "" if np.isnan(rate) else f": ×e every {1 / rate:.2g} epochs" if rate > 0 else ": no growth"
            )
            label(axes, summary.twin_epoch[0], row[0], words, MUTED, dx=34)
        axes.set_yscale("log")
        axes.margins(y=0.12)
        axes.set_xlabel("epoch")
        axes.set_ylabel("distance of twins\n|w - w'| / |w₀| (log)")
        axes.grid(axis="y")
    return made


def plot_linearized(record: LinearizedChildren, final_error: float) -> Figure:
    """Test error of linearized children against the time of linearization, beside the network's own child."""
    with styled():
        made, axes = figure(2.7)
        axes.plot(record.epoch, record.linear_error, color=CONTRAST, marker="o", ms=4)
        label(axes, record.epoch[0], record.linear_error[0], "linearized child", CONTRAST, dx=6, dy=8)
        axes.plot(record.epoch, record.centered_error, color=CONTRAST, marker="s", ms=3, ls=":", lw=1)
        axes.plot(record.epoch, record.child_error[:, 0], color=MAIN, marker="o", ms=4)
        label(axes, record.epoch[0], record.child_error[0, 0], "network's own child", MAIN, dx=6, dy=8)
        axes.axhline(final_error, color=MUTED, lw=1, ls=":")
        axes.set_xlabel("epoch of linearization")
        axes.set_ylabel("test error")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
    return made
