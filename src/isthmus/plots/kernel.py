"""Figures of the kernel over training."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots.style import MAIN, MUTED, WIDTH, epoch_axis, styled
from isthmus.results.kernel import KernelTimeline


def plot_timeline(record: KernelTimeline) -> Figure:
    """Velocity, distance, alignment, effective rank and scale of the kernel on one time axis."""
    with styled():
        panels = [
            ("velocity\n(per epoch)", record.velocity_epoch + record.velocity_interval / 2, record.velocity),
            ("distance S\nfrom start", record.epoch, record.distance),
            ("label\nalignment", record.epoch, record.label_alignment),
            ("effective\nrank", record.epoch, record.effective_rank),
            ("scale\n|K|/|K₀|", record.epoch, record.scale),
        ]
        panels = [panel for panel in panels if panel[2].size]
        made = Figure(figsize=(WIDTH, 1.32 * len(panels) + 0.5), layout="constrained")
        later = record.epoch[record.epoch > 0]
        first = float(later.min()) if later.size else 1.0
        last = float(max(record.epoch[-1], first))
        for index, (name, x, values) in enumerate(panels):
            axes = made.add_subplot(len(panels), 1, index + 1)
            _band(axes, x, values)
            axes.set_ylabel(name)
            epoch_axis(axes, last, first)
            axes.grid(axis="y")
            if index < len(panels) - 1:
                axes.tick_params(labelbottom=False)
            if name.startswith("scale"):
                axes.set_yscale("log")
                axes.set_ylabel(name + ", log")
            else:
                axes.set_ylim(bottom=0)
        axes.set_xlabel("epoch (log scale)")
    return made


def _band(axes: Axes, x: np.ndarray, values: np.ndarray) -> None:
    mean = values.mean(axis=0)
    if len(values) > 1:
        bar = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        axes.fill_between(x, mean - 2 * bar, mean + 2 * bar, color=MAIN, alpha=0.25, lw=0)
    axes.plot(x, mean, color=MAIN, marker="o", ms=2.5)


def plot_pairwise(record: KernelTimeline) -> Figure:
    """The distance S between the kernels of any two times."""
    return plot_map(record.epoch, record.pairwise)


def plot_map(epoch: np.ndarray, pairwise: np.ndarray) -> Figure:
    """A symmetric map over pairs of times, evenly spaced whatever the times are."""
    with styled():
        made = Figure(figsize=(WIDTH * 0.78, 4.2), layout="constrained")
        axes = made.add_subplot()
        count = len(epoch)
        edges = np.arange(count + 1) - 0.5
        image = axes.pcolormesh(
            edges, edges, pairwise, cmap="cividis", vmin=0, edgecolors="face", linewidth=0.2, rasterized=False
        )
        shown = np.unique(np.linspace(0, count - 1, min(count, 7)).round().astype(int))
        names = [f"{epoch[i]:.2g}" for i in shown]
        axes.set_xticks(shown, names)
        axes.set_yticks(shown, names)
        axes.set_aspect("equal")
        axes.set_xlabel("epoch")
        axes.set_ylabel("epoch")
        bar = made.colorbar(image, ax=axes, shrink=0.85)
        bar.set_label("kernel distance S")
        bar.outline.set_edgecolor(MUTED)  # pyright: ignore[reportCallIssue]
    return made
