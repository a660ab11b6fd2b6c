"""Figures of simplicity: condensation along a run, spectra of embedded points, a wide network and its reduction."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots.style import CONTRAST, GRID, INK, MAIN, MUTED, PALE, WIDTH, figure, label, step_axis, styled
from isthmus.results.regimes import Condensation, EmbeddedSpectra, WideReduction

_SHOWN = 4
_ROOM = 0.12


def plot_condensation(record: Condensation) -> Figure:
    """Effective number of directions along the run, and each unit's alignment against its strength at the start and the end."""
    with styled():
        made = Figure(figsize=(WIDTH, 5.2), layout="constrained")
        upper, *lower = made.subplot_mosaic([["a", "a"], ["b", "c"]]).values()
        ends: list[float] = []
        for column, (name, width) in enumerate(zip(record.layers, record.widths, strict=True)):
            values = record.effective[:, column]
            color = MAIN if column == 0 else PALE
            upper.plot(record.step, values, "-o", color=color, ms=3.5)
            near = sum(abs(np.log10(values[-1] / other)) < _ROOM for other in ends)
            ends.append(float(values[-1]))
            if column < _SHOWN:
                text = f"{name}: {values[-1]:.3g} of {width}"
                label(upper, record.step[-1], values[-1], text, MAIN if column == 0 else MUTED, dy=-11 * near)
        step_axis(upper, max(float(record.step[-1]), 1.0) * 2.2)
        wide = float(record.effective.max() / record.effective.min()) > 10
        upper.set_yscale("log" if wide else "linear")
        upper.set_ylabel("effective directions" + ("\n(log)" if wide else ""))
        upper.grid(axis="y")
        for axes, row, words in zip(lower, (0, -1), ("start", "end"), strict=True):
            _units(axes, record, row)
            axes.set_title(f"{words}: step {int(record.step[row]):,}")
        lower[0].set_ylabel("share of the layer's strength\n(log)")
    return made


def _units(axes: Axes, record: Condensation, row: int) -> None:
    for column in reversed(range(len(record.layers))):
        mine = record.layer == column
        strength = np.maximum(record.strength[row, mine], 1e-9)
        color = MAIN if column == 0 else PALE
        axes.plot(record.alignment[row, mine], strength, "o", color=color, ms=3, alpha=0.7, mec="none")
    axes.set_yscale("log")
    axes.set_xlim(min(0.0, float(record.alignment.min())) - 0.05, 1.05)
    axes.set_xlabel("cosine with the leading direction")


def plot_spectra(record: EmbeddedSpectra) -> Figure:
    """Magnitudes of all Hessian eigenvalues at each width; negative ones in the second color, zeros hollow."""
    with styled():
        made, axes = figure(3.6)
        floor = float(np.nanmin(np.abs(record.values[record.values != 0])))
        for stage, width in enumerate(record.width):
            values = record.values[stage][np.isfinite(record.values[stage])]
            size = np.maximum(np.abs(values), floor)
            order = size.argsort()[::-1]
            places = stage + 0.34 * (np.arange(len(values)) / max(len(values) - 1, 1) * 2 - 1)
            zero, negative = (np.abs(values) <= record.cutoff[stage])[order], (values < 0)[order]
            for mask, color, full in ((zero, PALE, False), (~zero & negative, CONTRAST, True), (~zero & ~negative, MAIN, True)):
                axes.plot(places[mask], size[order][mask], "o", color=color, ms=5, mfc=color if full else "none")
            axes.plot([stage - 0.42, stage + 0.42], [record.cutoff[stage]] * 2, color=MUTED, lw=0.8, ls="--")
            counts = "({}, {}, {})".format(*record.inertia[stage])
            axes.annotate(
                f"width {width}: {counts}\n|grad| {record.gradient[stage]:.0e}", (stage, 1.03), xycoords=("data", "axes fraction"),
                ha="center", va="bottom", fontsize=9, color=INK,
            )  # fmt: skip
        axes.set_yscale("log")
        axes.set_xticks([])
        axes.set_xlim(-0.6, len(record.width) - 0.4)
        axes.set_ylabel(f"|eigenvalue| of the Hessian\n({record.loss_name}, log)")
        notes = (("positive", MAIN), ("negative", CONTRAST), ("zero (below the cut-off)", MUTED))
        for row, (text, color) in enumerate(notes):
            axes.annotate(text, (0.01, 0.2 - 0.075 * row), xycoords="axes fraction", color=color, fontsize=9)
    return made


def plot_reduction(record: WideReduction) -> Figure:
    """Loss of the wide run and of its reduced image in retraining; below, the directions that the wide units follow."""
    with styled():
        made = Figure(figsize=(WIDTH, 4.8), layout="constrained")
        upper, lower = made.add_subplot(2, 1, 1), made.add_subplot(2, 1, 2)
        upper.plot(record.step, record.loss, "-o", color=MAIN, ms=3.5)
        upper.plot(record.reduced_at + record.refit_step, record.refit_loss, "-", color=CONTRAST)
        upper.axvline(record.reduced_at, color=GRID, lw=1, zorder=0)
        text = f"reduced to {record.reduced_width} units,\nretrained from step {record.reduced_at:,}"
        label(upper, record.reduced_at, record.refit_loss[0], text, CONTRAST, dx=6, dy=16)
        label(upper, record.reduced_at, record.loss[-1], f"{record.width} units", MAIN, dx=-6, dy=-11, ha="right")
        upper.set_yscale("log")
        upper.set_ylabel(f"training loss\n({record.loss_name}, log)")
        lower.plot(record.step, record.directions, "-o", color=MAIN, ms=3.5)
        label(
            lower, record.reduced_at, record.reduced_width, f"{record.reduced_width} directions at step {record.reduced_at:,}",
            MAIN, dx=-6, dy=12, ha="right",
        )  # fmt: skip
        lower.set_yscale("log")
        lower.set_ylabel(f"directions (cosine {record.cosine:g})\n(log)")
        lower.set_xlabel("optimizer step")
        before, after = record.agreement
        wide, bare, refitted = record.accuracy
        lower.set_title(
            f"same class on the test set: {100 * before:.1f} % before retraining, {100 * after:.1f} % after\n"
            f"test accuracy: wide {100 * wide:.1f} %, reduced {100 * bare:.1f} %, retrained {100 * refitted:.1f} %",
            fontsize=9,
        )
        for axes in (upper, lower):
            axes.grid(axis="y")
            axes.set_xlim(0, 1.02 * float(record.reduced_at + record.refit_step[-1]))
    return made
