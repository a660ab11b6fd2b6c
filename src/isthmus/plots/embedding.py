"""Figures of critical points: plateaus of narrow networks, split curvature of units, census."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots.style import CONTRAST, GRID, MAIN, MUTED, PALE, WIDTH, label, step_axis, styled
from isthmus.results.embedding import Census, PlateauTimeline, UnitCurvature

_STRAIGHT = 1e-9


def plot_plateau(record: PlateauTimeline) -> Figure:
    """Loss of the run with the levels of the narrow critical points, and how many directions its units follow."""
    with styled():
        made = Figure(figsize=(WIDTH, 4.6), layout="constrained")
        upper, lower = made.add_subplot(2, 1, 1), made.add_subplot(2, 1, 2)
        _levels(upper, record)
        _directions(lower, record)
        for axes in (upper, lower):
            step_axis(axes, float(record.step[-1]) * 1.6 if record.step[-1] > 0 else 1.0)
            axes.grid(axis="y")
        upper.set_xlabel("")
    return made


def _levels(axes: Axes, record: PlateauTimeline) -> None:
    axes.plot(record.step, record.loss, "-o", color=MAIN, ms=3.5)
    label(axes, record.step[-1], record.loss[-1], "run", MAIN)
    known = np.isfinite(record.level)
    for i in np.flatnonzero(known):
        near = bool(record.near[i])
        axes.plot(record.step[i], record.level[i], "D", color=CONTRAST, mfc=CONTRAST if near else "none", ms=5.5, zorder=3)
    if known.any():
        last = int(np.flatnonzero(known)[-1])
        words = "-".join(map(str, record.joined[last]))
        below = record.level[last] <= record.loss[last]
        label(axes, record.step[last], record.level[last], f"width {words}", CONTRAST, dy=-11 if below else 11, ha="center", dx=0)
    positive = np.concatenate([record.loss, record.level[known]])
    if positive.min() > 0 and positive.max() / positive.min() > 20:
        axes.set_yscale("log")
        axes.margins(y=0.12)
        axes.set_ylabel(f"loss ({record.loss_name}), log")
    else:
        axes.set_ylabel(f"loss ({record.loss_name})")


def _directions(axes: Axes, record: PlateauTimeline) -> None:
    ends: list[float] = []
    for column, (name, width) in enumerate(zip(record.layers, record.widths, strict=True)):
        share = record.joined[:, column] / width
        axes.plot(record.step, share, color=MAIN if column == 0 else PALE, marker="o", ms=3.5)
        crowd = sum(abs(share[-1] - other) < 0.09 for other in ends)
        ends.append(float(share[-1]))
        if column < 4:
            text = f"{name}: {record.joined[-1, column]} of {width}"
            label(axes, record.step[-1], share[-1], text, MAIN if column == 0 else MUTED, dy=-11 * crowd)
    axes.set_ylim(0, 1.08)
    axes.set_ylabel("directions /\nunits")


def plot_units(record: UnitCurvature) -> Figure:
    """Lowest eigenvalue of S against the norm of D, a dot for each unit, a panel for each layer."""
    with styled():
        count = len(record.layers)
        columns = min(count, 2)
        rows = -(-count // columns)
        made = Figure(figsize=(WIDTH, 2.9 * rows), layout="constrained")
        for index in range(count):
            axes = made.add_subplot(rows, columns, index + 1)
            mine = record.layer == index
            straight = np.abs([record.lowest[mine], record.highest[mine]]).max() <= _STRAIGHT * record.coupling[mine].max()
            (_ranked_panel if straight else _unit_panel)(axes, record, index)
    return made


def _ranked_panel(axes: Axes, record: UnitCurvature, index: int) -> None:
    """Where S vanishes (piecewise linear activations): the eigenvalue that each split adds, in order."""
    mine = record.layer == index
    order = record.escape[mine].argsort()
    value, error = record.escape[mine][order], record.escape_error[mine][order]
    sure, rank = value + 2 * error < 0, np.arange(1, len(order) + 1)
    for chosen, color in ((~sure, PALE), (sure, CONTRAST)):
        axes.errorbar(rank[chosen], value[chosen], yerr=error[chosen], fmt="o", color=color, ms=3, elinewidth=0.7)
    axes.plot(rank[0], value[0], "o", color=MAIN, ms=6, mfc="none", mew=1.4)
    label(axes, rank[0], value[0], f"unit {record.unit[mine][order[0]]}", MAIN, dx=8)
    axes.axhline(0, color=GRID, lw=0.8, zorder=0)
    axes.set_title(f"layer {record.layers[index]} (S = 0)")
    axes.set_xlabel("units, steepest first")
    axes.set_ylabel("eigenvalue added by a split")


def _unit_panel(axes: Axes, record: UnitCurvature, index: int) -> None:
    mine = record.layer == index
    low, error, strength = record.lowest[mine], record.lowest_error[mine], record.coupling[mine]
    sure = low + 2 * error < 0
    floor = max(float(strength.max()) * 1e-6, 1e-300)
    height = np.maximum(strength, floor)
    for chosen, color in ((~sure, PALE), (sure, CONTRAST)):
        axes.errorbar(low[chosen], height[chosen], xerr=error[chosen], fmt="o", color=color, ms=3.5, elinewidth=0.7)
    axes.axvline(0, color=GRID, lw=0.8, zorder=0)
    worst = int(record.escape[mine].argmin())
    axes.plot(low[worst], height[worst], "o", color=MAIN, ms=6, mfc="none", mew=1.4)
    side = "right" if low[worst] > (low.min() + low.max()) / 2 else "left"
    label(
        axes, low[worst], height[worst], f"unit {record.unit[mine][worst]}", MAIN, dx=-7 if side == "right" else 7, dy=9, ha=side
    )
    if height.max() / height.min() > 10:
        axes.set_yscale("log")
    axes.set_title(f"layer {record.layers[index]} ({int(mine.sum())} units)")
    axes.set_xlabel("lowest eigenvalue of S")
    axes.set_ylabel("norm of D")
    axes.locator_params(axis="x", nbins=4)


def plot_census(record: Census) -> Figure:
    """Critical points by width and loss; lines join a wide point to the narrow one whose image it is."""
    with styled():
        made = Figure(figsize=(WIDTH, 3.8), layout="constrained")
        axes = made.add_subplot()
        shift = _spread_out(record)
        floor = _floor(record)
        heights = np.maximum(record.loss, floor)
        for i, parent in enumerate(record.parent):
            if parent >= 0:
                ends = ([record.width[parent] + shift[parent], record.width[i] + shift[i]], [heights[parent], heights[i]])
                axes.plot(*ends, color=PALE, lw=1, zorder=1)
        for i in range(len(record.loss)):
            negative, zero, _ = record.inertia[i]
            color = CONTRAST if negative else MAIN
            axes.plot(
                record.width[i] + shift[i], heights[i], "s" if zero else "o", color=color, ms=5, mfc="none" if zero else color
            )
        axes.set_yscale("log")
        axes.set_xticks(sorted(set(record.width.tolist())))
        axes.set_xlabel("hidden units (points of one width are spread sideways)")
        axes.set_ylabel(f"loss ({record.loss_name}), log")
        axes.grid(axis="y")
    return made


def _spread_out(record: Census) -> np.ndarray:
    """Sideways shifts so that points of one width and nearly one loss do not cover each other."""
    shift = np.zeros(len(record.loss))
    for width in set(record.width.tolist()):
        rows = np.flatnonzero(record.width == width)
        for rank, row in enumerate(rows[np.argsort(record.loss[rows])]):
            shift[row] = 0.3 * ((rank % 7) / 3 - 1)
    return shift


def _floor(record: Census) -> float:
    positive = record.loss[record.loss > 1e-12]
    return float(positive.min()) / 10 if positive.size else 1e-12
