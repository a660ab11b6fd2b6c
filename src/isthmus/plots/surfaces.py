"""Figures of loss surfaces: planes with what lies on them, lines, and curved paths between networks."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from matplotlib.tri import Triangulation

from isthmus.plots.style import CONTRAST, MAIN, MUTED, WIDTH, figure, label, styled
from isthmus.results.curvature import LossLine
from isthmus.results.surfaces import AdaptiveLossPlane, CurveProfile, LossPlane, PlaneFrame

_LEVELS = 14
_WIDE = 10.0
#: what is written on the colored plane, whatever the page's theme
_DARK, _LIGHT = "#16191d", "#ffffff"


def plot_plane(record: LossPlane | AdaptiveLossPlane) -> Figure:
    """The loss as colored contours with the landmarks and the path on it; holes where it is not finite."""
    with styled():
        made, axes = figure(4.3)
        finite = record.loss[np.isfinite(record.loss)]
        if finite.size and finite.max() > finite.min():
            _contours(made, axes, record, finite)
        else:
            axes.annotate("no two finite losses differ here", (0.5, 0.5), xycoords="axes fraction", ha="center", color=MUTED)
        x, y = _where(record)
        odd = ~np.isfinite(record.loss)
        axes.plot(x[odd], y[odd], "x", color=MUTED, ms=3, mew=0.7)
        _marks(axes, record)
        axes.set_xlim(x.min(), x.max())
        axes.set_ylim(y.min(), y.max())
        axes.set_xlabel(record.axis_names[0])
        axes.set_ylabel(record.axis_names[1])
    return made


def _where(record: LossPlane | AdaptiveLossPlane) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(record, LossPlane):
        x, y = np.meshgrid(record.x, record.y, indexing="ij")
        return x, y
    return record.x, record.y


def _contours(made: Figure, axes: Axes, record: LossPlane | AdaptiveLossPlane, finite: np.ndarray) -> None:
    low, high = float(finite.min()), float(finite.max())
    wide = low > 0 and high / low > _WIDE
    norm = LogNorm(low, high) if wide else Normalize(low, high)
    levels = np.geomspace(low, high, _LEVELS) if wide else np.linspace(low, high, _LEVELS)
    levels[[0, -1]] = low, high
    x, y = _where(record)
    if isinstance(record, LossPlane):
        height = np.ma.masked_invalid(record.loss)
        filled = axes.contourf(x, y, height, levels, norm=norm, cmap="cividis")
        axes.contour(x, y, height, levels[1:-1], colors=_LIGHT, linewidths=0.4, alpha=0.6)
    else:
        mesh = Triangulation(x, y)
        mesh.set_mask((~np.isfinite(record.loss))[mesh.triangles].any(axis=1))
        height = np.where(np.isfinite(record.loss), record.loss, low)
        filled = axes.tricontourf(mesh, height, levels, norm=norm, cmap="cividis")
        axes.plot(x, y, ".", color=_LIGHT, ms=1.2, alpha=0.7)
    locator = LogLocator(10, subs=(1.0, 2.0, 5.0)) if wide else MaxNLocator(6)
    ticks = [tick for tick in locator.tick_values(low, high) if low <= tick <= high]
    bar = made.colorbar(filled, ax=axes, ticks=ticks, pad=0.02)
    bar.ax.set_yticklabels([f"{tick:g}" for tick in ticks])
    bar.ax.minorticks_off()
    words = "training" if record.data == "train" else "test"
    bar.set_label(f"{words} loss ({record.loss_name}{', log' if wide else ''})")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


def _marks(axes: Axes, record: PlaneFrame) -> None:
    if len(record.path):
        axes.plot(*record.path.T, "-", color=_LIGHT, lw=3, alpha=0.9)
        axes.plot(*record.path.T, ".-", color=CONTRAST, lw=1.3, ms=4)
    for (x, y), name in zip(record.landmarks, record.landmark_names, strict=True):
        axes.plot(x, y, "o", color=CONTRAST, mec=_LIGHT, mew=1.2, ms=8)
        right = x > np.mean(axes.get_xlim())
        axes.annotate(
            name,
            (x, y),
            (-9 if right else 9, 9),
            textcoords="offset points",
            ha="right" if right else "left",
            color=_DARK,
            fontsize=9,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": _LIGHT, "edgecolor": "none", "alpha": 0.8},
        )


def plot_line(record: LossLine) -> Figure:
    """Train and test loss along a line; nothing where they are not finite."""
    with styled():
        made, axes = figure(2.9)
        for values, color, words in ((record.test_loss, CONTRAST, "test"), (record.train_loss, MAIN, "training")):
            seen = np.flatnonzero(np.isfinite(values))
            if not len(seen):
                continue
            axes.plot(record.position, np.where(np.isfinite(values), values, np.nan), color=color)
            side, at = ("left", seen[0]) if color == CONTRAST else ("right", seen[-1])
            label(
                axes, float(record.position[at]), float(values[at]), words, color, dx=14 if side == "left" else -14, dy=6, ha=side
            )
        axes.set_xlabel("position along the direction")
        axes.set_ylabel("loss")
        axes.grid(axis="y")
    return made


def plot_curve(record: CurveProfile) -> Figure:
    """Training loss and error along the trained curve, and along the straight line between the same networks."""
    with styled():
        wanted = [name for name in ("train_loss", "train_error") if name in record.quantities]
        made = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        for place, name in enumerate(wanted):
            row, axes = record.quantities.index(name), made.add_subplot(1, len(wanted), place + 1)
            line, curve = record.line_values[row], record.values[row]
            axes.plot(record.line_position, line, color=CONTRAST)
            axes.plot(record.position, curve, color=MAIN, lw=2.4)
            top = int(np.nanargmax(line))
            label(axes, record.line_position[top], line[top], "straight line", CONTRAST, dx=0, dy=9, ha="center")
            middle = int(np.abs(record.position - 0.5).argmin())
            label(axes, 0.5, curve[middle], "trained curve", MAIN, dx=0, dy=10, ha="center")
            axes.set_title({"train_loss": "training loss", "train_error": "training error"}[name])
            axes.set_xticks([0, 0.5, 1], ["second", "halfway", "first"])
            high = float(np.nanmax([np.nanmax(line), np.nanmax(curve)]))
            axes.set_ylim(min(0.0, float(np.nanmin(curve))) - 0.02 * high, 1.2 * high)
            axes.grid(axis="y")
    return made
