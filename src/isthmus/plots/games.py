"""Figures of a network as a routing game."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from isthmus.plots.style import CONTRAST, GRID, INK, MAIN, MUTED, PALE, WIDTH, figure, label, step_axis, styled
from isthmus.results.games import BraessScan, GameTimeline, PathFlows

_NODE = 0.06
_SPACE = 0.012


def plot_gap(record: GameTimeline) -> Figure:
    """Gap, loss and gradient norm over training, and below them the path norm that the gap is measured against."""
    with styled():
        made = Figure(figsize=(WIDTH, 4.6), layout="constrained")
        upper, lower = made.subplots(2, 1, height_ratios=[2.4, 1], sharex=True)
        bottom = np.where(record.gap_lower > 0, record.gap_lower, record.gap)
        upper.fill_between(record.step, bottom, record.gap, color=MAIN, alpha=0.25, lw=0)
        curves = [(record.gap, MAIN, "gap"), (record.loss, INK, "loss"), (record.gradient_norm, CONTRAST, "gradient norm")]
        shown = [(values, color, name) for values, color, name in curves if (values > 0).any()]
        for values, color, _ in shown:
            upper.plot(record.step, np.where(values > 0, values, np.nan), color=color, marker="o", ms=2.5)
        upper.set_yscale("log")
        upper.set_ylabel("value (log)")
        for (values, color, name), shift in zip(shown, _apart([values for values, _, _ in shown]), strict=True):
            label(upper, record.step[-1], values[-1], name, color, dy=shift)
        if (record.gap_lower > 0).all() and record.kind == "upper_bound":
            middle = len(record.step) // 2
            label(upper, record.step[middle], bottom[middle], "what found paths show", MAIN, dx=0, dy=-9, ha="center")
        lower.plot(record.step, record.path_norm, color=MUTED, marker="o", ms=2.5)
        lower.set_yscale("log")
        lower.set_ylabel("path norm R\n(log)")
        for axes in (upper, lower):
            step_axis(axes, float(record.step[-1]))
            axes.grid(axis="y")
        upper.set_xlabel("")
    return made


def _apart(curves: list[np.ndarray]) -> list[float]:
    """Vertical shifts in points that keep labels of curves with close ends apart."""
    ends = np.log10([max(float(c[-1]), 1e-300) for c in curves])
    span = max(float(np.log10(max(c.max() for c in curves) / max(min(c[c > 0].min() for c in curves), 1e-300))), 0.3)
    order, shifts, last = np.argsort(ends), [0.0] * len(curves), -np.inf
    for i in order:
        height = ends[i] / span * 190
        place = max(height, last + 12)
        shifts[i], last = place - height, place
    return shifts


def plot_sankey(record: PathFlows, *, shown: int = 40) -> Figure:
    """The strongest paths as ribbons whose width is ``|v_p|``; blue carries its input with its sign, orange against it."""
    with styled():
        made = Figure(figsize=(WIDTH, 5.2), layout="constrained")
        axes = made.add_subplot()
        paths, values = record.top_paths[:shown], record.top_values[:shown]
        heights, order = _columns(paths, np.abs(values))
        bottoms = _stack(heights, order)
        for level, nodes in enumerate(heights):
            for node, height in nodes.items():
                axes.add_patch(Rectangle((level - _NODE / 2, bottoms[level][node]), _NODE, height, color=INK, lw=0))
                _name(axes, level, node, bottoms[level][node] + height / 2, len(heights) - 1, height)
        for level, low, high, height, color in _ribbons(paths, values, bottoms, order):
            _ribbon(axes, level, low, high, height, color)
        axes.set_xlim(-0.42, len(heights) - 1 + 0.42)
        axes.set_ylim(0, max(b[n] + h for b, nodes in zip(bottoms, heights, strict=True) for n, h in nodes.items()) + _SPACE)
        axes.set_xticks(range(len(heights)), _level_names(len(heights)))
        axes.tick_params(length=0)
        axes.set_yticks([])
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
    return made


def _columns(paths: np.ndarray, size: np.ndarray) -> tuple[list[dict[int, float]], list[list[int]]]:
    """Height of every node at each level (-1 is the bias, drawn right before the level at which its paths start), and their order."""
    total, levels = float(size.sum()), paths.shape[1]
    heights: list[dict[int, float]] = [{} for _ in range(levels)]
    place: list[dict[int, float]] = [{} for _ in range(levels)]
    for path, amount in zip(paths, size / total, strict=True):
        for level in range(_start(path), levels):
            heights[level][int(path[level])] = heights[level].get(int(path[level]), 0.0) + float(amount)
    order = [sorted(heights[-1], key=lambda n: n)]
    place[-1] = {n: float(i) for i, n in enumerate(order[0])}
    for level in range(levels - 2, -1, -1):
        for node in heights[level]:
            through = (paths[:, level] == node) & np.array([_start(p) <= level for p in paths])
            after = [place[level + 1][int(n)] for n in paths[through, level + 1]]
            place[level][node] = float(np.average(after, weights=size[through]))
        ranked = sorted(heights[level], key=lambda n: place[level][n])
        place[level] = {n: i * len(order[-1]) / len(ranked) for i, n in enumerate(ranked)}
        order.append(ranked)
    return heights, order[::-1]


def _start(path: np.ndarray) -> int:
    """First level at which a path is drawn: its input, or the bias right before its first unit."""
    return max(0, int(np.argmax(path >= 0)) - 1)


def _stack(heights: list[dict[int, float]], order: list[list[int]]) -> list[dict[int, float]]:
    tallest = max(1 + _SPACE * (len(nodes) - 1) for nodes in heights)
    bottoms = []
    for nodes, ranked in zip(heights, order, strict=True):
        gap = (tallest - sum(nodes.values())) / (len(ranked) + 1)
        y, found = gap, {}
        for node in ranked:
            found[node] = y
            y += nodes[node] + gap
        bottoms.append(found)
    return bottoms


def _ribbons(
    paths: np.ndarray, values: np.ndarray, bottoms: list[dict[int, float]], order: list[list[int]]
) -> Iterator[tuple[int, float, float, float, str]]:
    """Level, left and right lower edge, height and color of each ribbon, stacked at both ends in the order of the other end."""
    size = np.abs(values) / np.abs(values).sum()
    for level in range(paths.shape[1] - 1):
        here = [i for i in range(len(paths)) if _start(paths[i]) <= level]
        rank = [{n: r for r, n in enumerate(order[k])} for k in (level, level + 1)]
        left, right = {}, {}
        ends: dict[int, list[float]] = {}
        for side, filled, other in ((0, left, 1), (1, right, 0)):
            for i in sorted(here, key=lambda i: (rank[other][int(paths[i, level + other])], i)):
                node = int(paths[i, level + side])
                base = bottoms[level + side][node] + filled.get(node, 0.0)
                filled[node] = filled.get(node, 0.0) + float(size[i])
                ends.setdefault(i, []).append(base)
        for i in here:
            yield level, ends[i][0], ends[i][1], float(size[i]), MAIN if values[i] > 0 else CONTRAST


def _ribbon(axes: Axes, level: int, low: float, high: float, height: float, color: str) -> None:
    a, b, middle = level + _NODE / 2, level + 1 - _NODE / 2, level + 0.5
    points = [(a, low), (middle, low), (middle, high), (b, high), (b, high + height), (middle, high + height),
              (middle, low + height), (a, low + height), (a, low)]  # fmt: skip
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    axes.add_patch(PathPatch(Path(points, codes), facecolor=color, alpha=0.45, lw=0))


def _name(axes: Axes, level: int, node: int, middle: float, last: int, height: float) -> None:
    text = "bias" if node < 0 else f"{node}"
    side = -1 if level == 0 else 1
    inner = 0 < level < last
    if inner and height < 0.022:
        return
    axes.annotate(
        text,
        (level + side * _NODE / 2, middle),
        (3 * side, 0),
        textcoords="offset points",
        ha="right" if side < 0 else "left",
        va="center",
        fontsize=7,
        color=INK if not inner else MUTED,
    )


def _level_names(count: int) -> list[str]:
    return ["input", *(_hidden(level, count - 3) for level in range(count - 2)), "output"]


def plot_units(flows: PathFlows, scan: BraessScan | None) -> Figure:
    """Left: which units carry the flow. Right: what removing one does to the loss on the scan's data."""
    with styled():
        made = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        left, *rest = np.atleast_1d(made.subplots(1, 1 if scan is None else 2)).tolist()
        last = int(flows.unit_layer.max())
        for layer in range(last + 1):
            shares = np.cumsum(np.sort(flows.unit_flow[flows.unit_layer == layer])[::-1]) / flows.path_norm
            at, color = np.arange(1, len(shares) + 1) / len(shares), MAIN if layer == last else PALE
            left.plot(at, shares, color=color)
            if layer == last:
                spot = len(shares) // 3
                label(left, at[spot], shares[spot], _hidden(layer, last), color, dx=-4, dy=6, ha="right")
            elif layer == 0:
                spot = 2 * len(shares) // 3
                label(left, at[spot], shares[spot], _hidden(layer, last), color, dx=4, dy=-8)
        left.plot([0, 1], [0, 1], color=GRID, lw=1)
        left.set_xlabel("share of units, strongest first")
        left.set_ylabel("share of the path flow")
        left.set_ylim(0, 1.02)
        if scan is not None:
            _removals(rest[0], flows, scan)
    return made


def _removals(axes: Axes, flows: PathFlows, scan: BraessScan) -> None:
    share = scan.flow / flows.path_norm
    helps = scan.change < 0
    axes.plot(share[~helps], scan.change[~helps], "o", ms=3, color=MAIN, alpha=0.7)
    axes.plot(share[helps], scan.change[helps], "o", ms=3, color=CONTRAST, alpha=0.8)
    axes.axhline(0, color=MUTED, lw=0.8)
    data = "held-out" if scan.on == "heldout" else "training"
    axes.set_xlabel("share of flow through the unit")
    axes.set_ylabel(f"change of {data} loss\nwithout the unit")
    span = max(float(np.abs(scan.change).max()), 1e-12)
    axes.set_yscale("symlog", linthresh=span / 100)
    axes.set_title(f"{int(helps.sum())} of {len(helps)} removals lower it", color=CONTRAST)


def _hidden(layer: int, last: int) -> str:
    return f"hidden {layer + 1}" if last else "hidden"


def plot_kirchhoff(flows: PathFlows) -> Figure:
    """What flows into each hidden unit against what flows out of it."""
    with styled():
        made, axes = figure(2.9)
        both = np.concatenate([flows.incoming, flows.outgoing])
        ends = [float(both.min()), float(both.max())]
        axes.plot(ends, ends, color=PALE, lw=1)
        axes.plot(flows.incoming, flows.outgoing, "o", ms=3.5, color=MAIN, alpha=0.7)
        axes.set_xlabel("into the unit: Σ w ∂L/∂w + b ∂L/∂b")
        axes.set_ylabel("out of the unit:\nΣ w ∂L/∂w")
        axes.locator_params(nbins=5)
    return made
