"""One look for all figures: ink that follows the page's theme, two colors with meaning, greys for the rest.

Figures are drawn with sentinel colors that the report replaces by CSS variables in the SVG, so that one file serves
light and dark pages. Saved on their own, the sentinels are sensible colors.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1f2328"
MUTED = "#6e7782"
GRID = "#d6dae0"
MAIN = "#0b6e99"
CONTRAST = "#c4501b"
PALE = "#9aa3ad"

#: sentinel color -> CSS variable of the page
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", MAIN: "--main", CONTRAST: "--contrast", PALE: "--pale"}

WIDTH = 6.6
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "isthmus",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.grid": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "axes.titlelocation": "left",
    "axes.formatter.useoffset": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the house style; matplotlib's own settings are restored after."""
    with mpl.rc_context(_STYLE):
        yield


def figure(height: float) -> tuple[Figure, Axes]:
    """One figure with one pair of axes."""
    made = Figure(figsize=(WIDTH, height), layout="constrained")
    return made, made.add_subplot()


def step_axis(axes: Axes, last: float) -> None:
    """Optimizer steps on a log axis that also shows step 0."""
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    axes.set_xlim(0, last * 1.02)
    powers = [10**k for k in range(7) if 10**k <= last]
    axes.set_xticks([0, *powers], ["0", *(f"{p:,}" for p in powers)])
    axes.minorticks_off()
    axes.set_xlabel("optimizer step (log scale from 1)")


def epoch_axis(axes: Axes, last: float, first: float) -> None:
    """Epochs on a log axis that also shows 0."""
    axes.set_xscale("symlog", linthresh=first, linscale=0.4)
    axes.set_xlim(0, last * 1.02)
    powers = [x for x in (0.01, 0.1, 1, 10, 100, 1000) if first <= x <= last]
    axes.set_xticks([0, *powers], ["0", *(f"{p:g}" for p in powers)])
    axes.minorticks_off()


def label(axes: Axes, x: float, y: float, text: str, color: str, *, dx: float = 4, dy: float = 0, ha: str = "left") -> None:
    """A direct label beside a point of a curve."""
    axes.annotate(text, (x, y), (dx, dy), textcoords="offset points", color=color, ha=ha, va="center", fontsize=9)
