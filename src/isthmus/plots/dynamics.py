"""Figures of optimizer dynamics: a run against its prediction, and optimizers by predicted steps."""

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from isthmus.plots.style import CONTRAST, GRID, INK, MAIN, MUTED, PALE, WIDTH, figure, label, step_axis, styled
from isthmus.results.dynamics import Comparison
from isthmus.results.flows import EdgeOfStability
from isthmus.results.optimizers import OptimizerRuns, Ranking


def plot_comparison(record: Comparison) -> Figure:
    """Loss of the run and of its prediction, and below it where in the spectrum they part."""
    with styled():
        made = Figure(figsize=(WIDTH, 5.4), layout="constrained")
        upper, lower = made.add_subplot(2, 1, 1), made.add_subplot(2, 1, 2)
        _losses(upper, record)
        _heat(made, lower, record)
        step_axis(upper, float(record.step[-1]))
        upper.set_xlabel("")
        upper.tick_params(labelbottom=False)
    return made


def _losses(axes: Axes, record: Comparison) -> None:
    shown = np.where(record.predicted_loss <= 3 * max(record.loss.max(), record.loss[0]), record.predicted_loss, np.nan)
    axes.plot(record.step, shown, color=CONTRAST, ls="--")
    axes.plot(record.step, record.loss, color=MAIN, marker="o", ms=2.5)
    place = int(0.75 * (len(record.step) - 1))
    above = bool(np.nan_to_num(shown[place], nan=np.inf) >= record.loss[place])
    label(axes, record.step[place], record.loss[place], "run", MAIN, dx=0, dy=-11 if above else 11, ha="center")
    if np.isfinite(shown[place]):
        label(axes, record.step[place], shown[place], "predicted", CONTRAST, dx=0, dy=11 if above else -11, ha="center")
    values = record.loss[record.loss > 0]
    if len(values) == len(record.loss) and values.max() > 50 * values.min():
        axes.set_yscale("log")
    axes.set_ylabel("loss on the\nprobe set" + (", log" if axes.get_yscale() == "log" else ""))
    axes.grid(axis="y")
    _departure(axes, record)


def _departure(axes: Axes, record: Comparison) -> None:
    if record.departure_step >= 0:
        axes.axvline(record.departure_step, color=MUTED, lw=1, ls=":")
        axes.annotate(
            "departs",
            (record.departure_step, 0.04),
            (4, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=MUTED,
            fontsize=9,
        )


def _heat(made: Figure, axes: Axes, record: Comparison) -> None:
    """Columns are the compared steps, evenly spaced; rows the bands of modes."""
    shown = np.clip(record.band_gap.T, 1e-3, 10)
    columns, bands = np.arange(len(record.step) + 1) - 0.5, np.arange(shown.shape[0] + 1) - 0.5
    norm = LogNorm(1e-3, max(1.0, float(np.nanmax(shown))))
    image = axes.pcolormesh(columns, bands, shown, cmap="cividis", norm=norm, edgecolors="face", linewidth=0.2)
    axes.invert_yaxis()
    edges = record.band_edge
    names = [f"{a + 1}" if b == a + 1 else f"{a + 1}–{b}" for a, b in itertools.pairwise(edges)]
    axes.set_yticks(range(len(names)), names)
    picks = np.unique(np.linspace(0, len(record.step) - 1, min(8, len(record.step))).round().astype(int))
    axes.set_xticks(picks, [f"{record.step[i]:,}" for i in picks])
    axes.set_xlabel("compared step (evenly spaced columns)")
    axes.set_ylabel("modes, largest\neigenvalue first")
    bar = made.colorbar(image, ax=axes, shrink=0.95)
    bar.set_label("|run − predicted|\nover initial error, log")
    bar.outline.set_edgecolor(MUTED)  # pyright: ignore[reportCallIssue]


def plot_departure(record: Comparison) -> Figure:
    """Discrepancy with the line of the alarm, kernel change and flipped rectifiers, and the stability margin."""
    with styled():
        panels = 2 if np.isfinite(record.margin).any() else 1
        made = Figure(figsize=(WIDTH, 2.5 * panels + 0.3), layout="constrained")
        upper = made.add_subplot(panels, 1, 1)
        _discrepancies(upper, record)
        step_axis(upper, float(record.step[-1]) * 2.2)
        if panels == 2:
            upper.set_xlabel("")
            upper.tick_params(labelbottom=False)
            lower = made.add_subplot(panels, 1, 2)
            _margin(lower, record)
            step_axis(lower, float(record.step[-1]) * 2.2)
    return made


def _discrepancies(axes: Axes, record: Comparison) -> None:
    later = record.step > 0
    curves = [("run − predicted", record.discrepancy, MAIN, 1.8)]
    curves += [("kernel change", record.kernel_change, PALE, 1.2)]
    curves += [("flipped units", record.flipped, MUTED, 1.2)] if np.isfinite(record.flipped).any() else []
    ends = []
    for name, values, color, width in curves:
        shown = np.where((values > 0) & (values < 1e4), values, np.nan)
        axes.plot(record.step[later], shown[later], color=color, lw=width, ls="-" if color == MAIN else "--")
        last = np.flatnonzero(np.isfinite(shown))
        if last.size:
            ends.append((np.log10(shown[last[-1]]), record.step[last[-1]], name, color))
    axes.axhline(record.tolerance, color=CONTRAST, lw=1, ls=":")
    first = record.step[later][0]
    label(axes, first, record.tolerance, f"alarm at {record.tolerance:g}", CONTRAST, dx=2, dy=7)
    _spread_labels(axes, ends)
    axes.set_yscale("log")
    axes.set_ylabel("relative to the\nstart, log")
    axes.grid(axis="y")


def _spread_labels(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """End labels moved apart where the curves end close together."""
    taken: list[float] = []
    for height, x, name, color in sorted(ends):
        place = height if not taken else max(height, taken[-1] + 0.45)
        taken.append(place)
        label(axes, x, 10**place, name, color)


def _margin(axes: Axes, record: Comparison | EdgeOfStability) -> None:
    axes.plot(record.step, record.margin, color=MAIN, marker="o", ms=2.5)
    axes.axhline(1, color=CONTRAST, lw=1, ls=":")
    label(axes, record.step[min(1, len(record.step) - 1)], 1, "stability limit", CONTRAST, dx=2, dy=-8)
    axes.set_yscale("log")
    axes.yaxis.set_minor_locator(NullLocator())
    low, high = min(0.5, float(np.nanmin(record.margin)) / 2), max(2.0, 1.5 * float(np.nanmax(record.margin)))
    axes.set_ylim(low, high)
    between = (1, 2, 5) if high < 100 * low else (1,)
    ticks = [digit * 10.0**power for power in range(-6, 7) for digit in between if low <= digit * 10.0**power <= high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_ylabel("lr × curvature\nover limit, log")
    axes.grid(axis="y")


def plot_ranking(record: Ranking) -> Figure:
    """Predicted steps to each fraction of the error, one group of bars an optimizer."""
    with styled():
        rows, columns = record.steps.shape
        made, axes = figure(0.34 * rows * max(1, columns * 0.62) + 0.9)
        height = 0.8 / columns
        for row in range(rows):
            color = CONTRAST if row == record.own else MAIN
            for column in range(columns):
                _bar(axes, record, row, column, row - 0.4 + (column + 0.5) * height, height, color)
        axes.set_yticks(range(rows), record.names)
        for row, text in enumerate(axes.get_yticklabels()):
            text.set_color(CONTRAST if row == record.own else INK)
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_xscale("log")
        axes.set_xlim(1, 6 * record.max_steps)
        axes.set_xlabel("predicted full-batch steps (log)")
        axes.grid(axis="x", color=GRID)
        axes.set_axisbelow(True)
    return made


def _bar(axes: Axes, record: Ranking, row: int, column: int, y: float, height: float, color: str) -> None:
    steps, fraction = int(record.steps[row, column]), record.fraction[column]
    missed = steps < 0
    length = record.max_steps if missed else max(steps, 1)
    axes.barh(
        y, length, height * 0.86, color="none" if missed else color, edgecolor=color, lw=0.8, alpha=0.45 + 0.55 * (1 - column / 3)
    )
    words = f"> {record.max_steps:,}" if missed else f"{steps:,}"
    label(axes, length, y, f"{words} to {fraction:.0%}", MUTED)


def plot_edge(record: EdgeOfStability) -> Figure:
    """Sharpness over the limit of the step size, and the loss of the same samples."""
    with styled():
        made = Figure(figsize=(WIDTH, 4.6), layout="constrained")
        upper, lower = made.add_subplot(2, 1, 1), made.add_subplot(2, 1, 2)
        _margin(upper, record)
        upper.set_ylabel("lr × sharpness\nover limit, log")
        lower.plot(record.step, record.loss, color=MAIN, marker="o", ms=2.5)
        lower.set_ylabel("loss")
        lower.grid(axis="y")
        if record.loss.min() > 0 and record.loss.max() > 50 * record.loss.min():
            lower.set_yscale("log")
            lower.set_ylabel("loss, log")
        for axes in (upper, lower):
            if record.edge_step >= 0:
                axes.axvline(record.edge_step, color=MUTED, lw=1, ls=":")
            step_axis(axes, float(record.step[-1]) * 1.05)
        upper.set_xlabel("")
        upper.tick_params(labelbottom=False)
    return made


_SHORT = {"edge of stability or catapult expected": "flagged, catapult", "feature learning expected": "features move"}


def plot_runs(record: OptimizerRuns) -> Figure:
    """One panel an optimizer: the runs of all seeds, and the median of what their kernels predict."""
    with styled():
        rows = len(record.names)
        columns = 3 if rows > 4 else 2
        lines = -(-rows // columns)
        made = Figure(figsize=(WIDTH, 1.75 * lines + 0.5), layout="constrained")
        seeds = f"solid: the network, {len(record.loss)} seeds; dashed: predicted by its initial kernel (median)"
        made.suptitle(f"{record.setting}\n{seeds}", fontsize=9, x=0.01, ha="left")
        top = 10 * float(np.nanmax(np.where(np.isfinite(record.loss), record.loss, np.nan)))
        low = float(np.nanmin(np.where(record.loss > 0, record.loss, np.nan))) / 3
        for row, name in enumerate(record.names):
            axes = made.add_subplot(lines, columns, row + 1)
            axes.plot(record.step, record.loss[:, row].T, color=MAIN, lw=0.8, alpha=0.7)
            predicted = np.median(record.predicted[:, row], axis=0)
            axes.plot(record.step, np.where(predicted < top, predicted, np.nan), color=CONTRAST, ls="--", lw=1.4)
            axes.set_yscale("log")
            axes.set_ylim(low, top)
            margin = np.median(record.margin[:, row])
            axes.set_title(f"{name}\n{margin:.2g} × limit: {_SHORT.get(record.verdict[row], record.verdict[row])}", fontsize=8)
            axes.yaxis.set_minor_locator(NullLocator())
            axes.tick_params(labelleft=row % columns == 0, labelbottom=row >= rows - columns)
            axes.grid(axis="y")
            if row >= rows - columns:
                axes.set_xlabel("full-batch step")
            if row % columns == 0:
                axes.set_ylabel("loss, log")
    return made
