"""Figures of the symmetry view: what the units are, how many copies there are, and what joins them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots.style import CONTRAST, INK, MAIN, MUTED, PALE, WIDTH, figure, label, styled
from isthmus.results.symmetry import UNIT_KINDS, PathProfile, UnitTaxonomy

#: color and mark of each kind of unit: copies share a value, the orange ones leave nothing
MARKS = {
    "distinct": (PALE, "o"), "copy": (MAIN, "o"), "opposite": (MAIN, "D"), "channel": (MAIN, "^"), "parked": (CONTRAST, "o"),
    "zero group": (CONTRAST, "s"), "dead": (CONTRAST, "x"), "constant": (CONTRAST, "_"),
}  # fmt: skip
_FLOOR = 1e-8


def plot_taxonomy(record: UnitTaxonomy) -> Figure:
    """One strip per layer: the units by the size of what they send, marked by what they are."""
    with styled():
        count = len(record.layers)
        made = Figure(figsize=(WIDTH, 1.5 * count + 0.7), layout="constrained")
        for index, name in enumerate(record.layers):
            axes = made.add_subplot(count, 1, index + 1)
            _strip(axes, record.kind[record.layer == index], np.maximum(record.strength[record.layer == index], _FLOOR))
            axes.set_title(f"layer {name}: {record.widths[index]} units, {record.minimal[index]} needed")
            if index < count - 1:
                axes.set_xlabel("")
    return made


def _strip(axes: Axes, kind: np.ndarray, strength: np.ndarray) -> None:
    order = np.argsort(-strength, kind="stable")
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(1, len(order) + 1)
    present = [name for i, name in enumerate(UNIT_KINDS) if (kind == i).any()]
    for name in present:
        chosen = kind == UNIT_KINDS.index(name)
        color, mark = MARKS[name]
        axes.plot(rank[chosen], strength[chosen], mark, color=color, ms=4, ls="none")
    axes.set_yscale("log")
    axes.set_ylim(max(strength.min() / 3, _FLOOR / 2), 3)
    axes.set_xlim(0, len(kind) + 1)
    axes.set_ylabel("effect of unit\n(log)")
    axes.set_xlabel("hidden unit, by effect")
    axes.grid(axis="y")
    for position, name in enumerate(present):
        number, (color, _) = int((kind == UNIT_KINDS.index(name)).sum()), MARKS[name]
        ink = MUTED if color == PALE else color
        text = f"{number} {name}{'s' if name == 'zero group' and number > 1 else ''}"
        axes.annotate(
            text, (0.01, 0.06), (0, 11 * position), xycoords="axes fraction", textcoords="offset points", color=ink, fontsize=9
        )


def plot_counts(record: UnitTaxonomy) -> Figure:
    """Decimal logarithms of the numbers of copies and subspaces, as bars."""
    with styled():
        rows = [
            ("orders of the units\n(isolated copies at minimal width)", record.log10_orders, MAIN),
            ("subspaces of equal minima\nat this width", record.log10_minima, MAIN),
            ("the same with one more\nunit a layer, all connected", record.log10_joined, MAIN),
            ("symmetry-induced critical\nsubspaces, from narrower widths", record.log10_critical, CONTRAST),
        ]
        rows = [row for row in rows if np.isfinite(row[1])]
        made, axes = figure(0.55 * len(rows) + 0.8)
        for position, (_, value, color) in enumerate(rows):
            axes.barh(-position, value, height=0.55, color=color)
            label(axes, value, -position, f"10^{value:.1f}", INK)
        axes.set_yticks([-i for i in range(len(rows))], [name for name, _, _ in rows])
        axes.set_xlabel("decimal logarithm of the number")
        axes.set_xlim(0, max(value for _, value, _ in rows) * 1.16 + 0.5)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return made


def plot_path(record: PathProfile) -> Figure:
    """The loss along the path of equal function, and along the straight line between the same ends."""
    with styled():
        made, axes = figure(2.9)
        along = record.position / record.position[-1]
        axes.plot(record.line_position, record.line_loss, color=CONTRAST)
        axes.plot(along, record.loss, color=MAIN, lw=2.4)
        knots = np.arange(len(record.segment_maximum) + 1) / len(record.segment_maximum)
        axes.plot(knots, np.interp(knots, along, record.loss), "|", color=MAIN, ms=7)
        top = int(record.line_loss.argmax())
        label(axes, record.line_position[top], record.line_loss[top], "straight line", CONTRAST, dx=0, dy=9, ha="center")
        label(axes, 0.5, record.loss.max(), f"path of {len(knots) - 1} straight segments", MAIN, dx=0, dy=9, ha="center")
        axes.set_xticks([0, 0.5, 1], ["network", "halfway", "reordered copy"])
        axes.set_ylabel(f"training loss ({record.loss_name})")
        low, high = float(min(record.loss.min(), record.line_loss.min())), float(max(record.loss.max(), record.line_loss.max()))
        room = max(high - low, 1e-3 * abs(high), 1e-30)
        axes.set_ylim(low - 0.12 * room, high + 0.22 * room)
        axes.grid(axis="y")
    return made
