"""Figures of what a network learned beyond its kernel."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from isthmus.plots.style import CONTRAST, GRID, INK, MAIN, MUTED, WIDTH, epoch_axis, label, styled
from isthmus.results.learning import LearningCurves, OrderShares

_FILL = {
    "order 0": (GRID, 1.0),
    "order 1": (MAIN, 0.45),
    "order 2": (MAIN, 0.9),
    "order 3": (MAIN, 0.7),
    "rest": (CONTRAST, 0.85),
}


def plot_orders(record: OrderShares) -> Figure:
    """Shares of the orders over the run, and what each order's model leaves unexplained."""
    with styled():
        made = Figure(figsize=(WIDTH, 5.2), layout="constrained")
        upper, lower = made.add_subplot(2, 1, 1), made.add_subplot(2, 1, 2)
        later = record.epoch[record.epoch > 0]
        first, last = (float(later.min()), float(later.max())) if later.size else (1.0, 1.0)
        _stack(upper, record)
        _unexplained(lower, record)
        for axes in (upper, lower):
            epoch_axis(axes, last * 1.35, first)
        lower.set_xlabel("epoch (log scale)")
        upper.tick_params(labelbottom=False)
    return made


def _stack(axes: Axes, record: OrderShares) -> None:
    colors = [_FILL[part] for part in record.parts]
    below = np.zeros(len(record.epoch))
    for index, (part, (color, alpha)) in enumerate(zip(record.parts, colors, strict=True)):
        above = below + record.share[:, index]
        axes.fill_between(record.epoch, below, above, color=color, alpha=alpha, lw=0)
        _name_part(axes, part, record.epoch, below, above)
        below = above
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of the\nsquared outputs")


def _name_part(axes: Axes, part: str, epoch: np.ndarray, below: np.ndarray, above: np.ndarray) -> None:
    """The part's name beside its end, or inside where it is widest when it ends thin."""
    middle, width = (above + below) / 2, above - below
    if width[-1] > 0.05:
        label(axes, epoch[-1], float(middle[-1]), part, INK)
    elif width.max() > 0.15:
        widest = int(width.argmax())
        label(
            axes,
            epoch[widest],
            float(middle[widest]),
            part,
            INK,
            dx=6 if widest == 0 else 0,
            ha="left" if widest == 0 else "center",
        )


def _unexplained(axes: Axes, record: OrderShares) -> None:
    orders = range(1, record.unexplained.shape[1])
    ends = record.unexplained[-1]
    for k in orders:
        color = MAIN if k == 1 else CONTRAST
        axes.plot(record.epoch, record.unexplained[:, k], color=color, marker="o", ms=3, ls="-" if k < 3 else "--")
        low, high = record.unexplained_interval[k]
        axes.errorbar(
            record.epoch[-1], ends[k], [[max(ends[k] - low, 0)], [max(high - ends[k], 0)]], color=color, capsize=3, lw=1
        )
        higher = all(ends[k] >= ends[other] for other in orders)
        label(axes, record.epoch[-1], ends[k], f"order {k}", color, dy=5 if higher else -5)
    axes.axhline(1, color=INK, lw=0.8, ls=":")
    axes.annotate("not moving at all", (0, 1), (4, 4), textcoords="offset points", fontsize=8, color=INK)
    axes.set_yscale("log")
    axes.grid(axis="y")
    axes.set_ylabel("unexplained share of\nwhat was learned, log")


def plot_curves(record: LearningCurves) -> Figure:
    """Test error of every learner against the number of training samples."""
    with styled():
        made = Figure(figsize=(WIDTH, 3.6 + 0.12 * max(len(record.learners) - 4, 0)), layout="constrained")
        axes, best = made.add_subplot(), _best_kernel(record)
        names = []
        for index, name in enumerate(record.learners):
            color = MAIN if index == 0 else CONTRAST if index == best else MUTED
            keep = np.isfinite(record.mean[index])
            if keep.any():
                names.append(_curve(axes, record, record.samples[keep], (index, keep), name, color))
        axes.set_xscale("log")
        axes.set_xticks(record.samples, [f"{count:,}" for count in record.samples])
        axes.minorticks_off()
        axes.set_xlabel("training samples N (log scale)")
        _error_axis(axes, record, names)
    return made


def plot_parameters(record: LearningCurves) -> Figure:
    """Test error at the most samples against the number of trained parameters; learners of one name are one curve."""
    with styled():
        made = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = made.add_subplot()
        kinds = [name.partition(", width ")[0] for name in record.learners]
        ends = {kind: max(at for at, other in enumerate(kinds) if other == kind) for kind in kinds}
        fixed = [kind for kind in ends if record.kernels[ends[kind]]]
        best = min(fixed, key=lambda kind: record.mean[ends[kind], -1], default="")
        names = []
        for kind in ends:
            rows = np.array([at for at, other in enumerate(kinds) if other == kind and np.isfinite(record.mean[at, -1])])
            if rows.size:
                rows = rows[np.argsort(record.parameters[rows])]
                color = MAIN if kind == kinds[0] else CONTRAST if kind == best else MUTED
                names.append(_curve(axes, record, record.parameters[rows], (rows, -1), kind, color))
        axes.set_xscale("log")
        axes.set_xlabel(f"trained parameters, at N = {record.samples[-1]:,} (log scale)")
        _error_axis(axes, record, names)
    return made


def _curve(axes: Axes, record: LearningCurves, x: np.ndarray, at: tuple, name: str, color: str) -> tuple[float, float, str, str]:
    """One curve with its intervals; where its name belongs."""
    factor = 100.0 if record.metric == "error" else 1.0
    y, bounds = factor * record.mean[at], factor * record.interval[at]
    bars = np.nan_to_num(np.stack([y - bounds[:, 0], bounds[:, 1] - y])).clip(min=0)
    axes.errorbar(x, y, np.minimum(bars, 0.98 * y), color=color, marker="o", ms=3, capsize=2, elinewidth=0.9)
    return float(x[-1]), float(y[-1]), name, color


def _error_axis(axes: Axes, record: LearningCurves, names: list[tuple[float, float, str, str]]) -> None:
    percent = record.metric == "error"
    if not percent:
        axes.set_yscale("log")
    axes.set_ylabel("wrong test labels, %" if percent else "normalized squared\ntest error, log")
    axes.grid(axis="y")
    _spread_labels(axes, names)


def _best_kernel(record: LearningCurves) -> int:
    last = np.where(record.kernels, record.mean[:, -1], np.inf)
    return int(np.argmin(last)) if record.kernels.any() else -1


def _spread_labels(axes: Axes, names: list[tuple[float, float, str, str]]) -> None:
    """Names in the right margin at the height of their curves' ends, moved apart as little as possible where they overlap."""
    axes.figure.draw_without_rendering()  # pyright: ignore[reportAttributeAccessIssue]
    gap, scale, right = 12.0, 72.0 / axes.figure.dpi, max(x for x, *_ in names)
    ordered = sorted(names, key=lambda entry: entry[1])
    heights = np.array([axes.transData.transform((x, y))[1] * scale for x, y, *_ in ordered])
    steps = gap * np.arange(len(ordered))
    placed = isotonic_regression(heights - steps).x + steps
    for (x, y, name, color), height, wanted in zip(ordered, heights, placed, strict=True):
        if x < right:
            axes.plot([x, right], [y, y], color=color, lw=0.7, ls=":")
        label(axes, right, y, name, color, dx=7, dy=wanted - height)
