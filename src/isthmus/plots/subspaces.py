"""Figures about subspaces: what joins them, who outnumbers whom, and where trained students are."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from isthmus.plots.style import CONTRAST, INK, MAIN, MUTED, PALE, WIDTH, figure, label, styled
from isthmus.plots.symmetry import MARKS
from isthmus.results.symmetry import UNIT_KINDS, CountRatios, StudentRuns, SubspaceGraph


def plot_graph(record: SubspaceGraph) -> Figure:
    """Subspaces as points, joined where they meet; copies only in blue, with parked units or zero-type groups in orange."""
    with styled():
        made, axes = figure(4.6)
        ends = np.stack([np.stack([record.x, record.y], axis=1)[side] for side in (record.first, record.second)], axis=1)
        axes.add_collection(LineCollection(list(ends), colors=PALE, linewidths=0.8, zorder=0))
        copies = record.zero_groups == 0
        axes.plot(record.x[~copies], record.y[~copies], "o", color=CONTRAST, ms=6)
        axes.plot(record.x[copies], record.y[copies], "o", color=MAIN, ms=5)
        axes.set_aspect("equal")
        axes.axis("off")
        axes.set_title(
            f"{len(record.x)} subspaces at r = {record.minimal}, m = {record.width}: {len(record.first)} pairs meet, "
            f"{record.components} component{'s' if record.components > 1 else ''}, diameter {record.diameter:g}"
        )
        axes.annotate(
            f"{int((~copies).sum())} with a free unit or group", (0, 0.03), xycoords="axes fraction", color=CONTRAST, fontsize=9
        )
        axes.annotate(f"{int(copies.sum())} with copies only", (0, -0.02), xycoords="axes fraction", color=MAIN, fontsize=9)
    return made


def plot_ratios(record: CountRatios) -> Figure:
    """Critical subspaces per subspace of minima against the number of extra units."""
    with styled():
        made, axes = figure(3.0)
        floor = -14.0
        for index, (r, logs) in enumerate(zip(record.minimal, record.log10_ratio, strict=True)):
            shown = logs >= floor
            axes.plot(record.extra[shown], logs[shown], color=MAIN, alpha=0.35 + 0.65 * index / max(len(record.minimal) - 1, 1))
            label(axes, record.extra[shown][-1], logs[shown][-1], f"r = {r}", MAIN)
        axes.axhline(0, color=MUTED, lw=0.8)
        notes = (("above 0: saddles outnumber minima", (0.4, 0.92)), ("below 0: minima outnumber saddles", (0.02, 0.05)))
        for text, place in notes:
            axes.annotate(text, place, xycoords="axes fraction", color=MUTED, fontsize=9)
        axes.set_xlabel("units more than needed, h = m - r")
        axes.set_ylabel("log10 critical subspaces\nper subspace of minima")
        axes.set_ylim(floor, float(record.log10_ratio.max()) + 2)
        axes.set_xlim(0, record.extra[-1] * 1.12)
        axes.grid(axis="y")
    return made


def plot_students(record: StudentRuns) -> Figure:
    """Where training ended at each width, and what the units of the students at zero loss are."""
    with styled():
        made = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        left, right = made.subplots(1, 2, width_ratios=[1.7, 1])
        spots = np.arange(len(record.width))
        for spot, losses in zip(spots, record.loss, strict=True):
            shown = np.maximum(losses, 1e-32)
            spread = spot + np.linspace(-0.25, 0.25, len(losses))
            below = losses < record.zero
            left.plot(spread[below], shown[below], "o", color=MAIN, ms=3, alpha=0.7)
            left.plot(spread[~below], shown[~below], "o", color=CONTRAST, ms=3, alpha=0.9)
            left.annotate(f"{int(below.sum())}/{len(losses)}", (spot, 30), ha="center", color=INK, fontsize=8)
        left.set_yscale("log")
        left.set_ylim(1e-33, 1e4)
        left.axhline(record.zero, color=MUTED, lw=0.8, ls=":")
        left.set_xticks(spots, [str(m) for m in record.width])
        left.set_xlabel("width of the student")
        left.set_ylabel("final loss (log)")
        left.set_title(f"runs below {record.zero:g} of all ({record.scale} scale)")
        _kinds(right, record)
    return made


def _kinds(axes: Axes, record: StudentRuns) -> None:
    present = [i for i, n in enumerate(record.kind_count) if n]
    total = max(int(record.kind_count.sum()), 1)
    for position, i in enumerate(present):
        color, _ = MARKS[UNIT_KINDS[i]]
        axes.barh(-position, record.kind_count[i], height=0.6, color=color)
        label(axes, record.kind_count[i], -position, f"{record.kind_count[i]}", INK)
    axes.set_yticks([-i for i in range(len(present))], [UNIT_KINDS[i] for i in present])
    axes.set_xlim(0, float(record.kind_count.max()) * 1.25 + 1)
    axes.set_xlabel(f"of {total} units")
    axes.set_title(f"width {record.examined}, at zero loss")
    axes.tick_params(axis="y", length=0)
