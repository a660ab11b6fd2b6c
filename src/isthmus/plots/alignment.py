"""Figure of alignment: lines between two runs, as they are and with their units aligned."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots.style import CONTRAST, MAIN, MUTED, WIDTH, label, styled
from isthmus.results.symmetry_alignment import AlignedBarriers

_TITLES = {"train_loss": "training loss", "train_error": "training error", "test_loss": "test loss"}


def plot_alignment(record: AlignedBarriers) -> Figure:
    """Loss and error along the line from runs of other initializations, unaligned and aligned by the first method."""
    with styled():
        wanted = [name for name in ("train_loss", "train_error") if name in record.quantities]
        made = Figure(figsize=(WIDTH, 3.0), layout="constrained")
        for position, name in enumerate(wanted):
            axes = made.add_subplot(1, len(wanted), position + 1)
            _panel(axes, record, record.quantities.index(name))
            axes.set_title(_TITLES[name])
    return made


def _panel(axes: Axes, record: AlignedBarriers, row: int) -> None:
    middle = len(record.alpha) // 2
    for values, color, name in ((record.before, CONTRAST, "as they are"), (record.after[0], MAIN, "aligned")):
        for pair in values[:, row]:
            axes.plot(record.alpha, pair, color=color, lw=0.8, alpha=0.55)
        mean = values[:, row].mean(axis=0)
        axes.plot(record.alpha, mean, color=color, lw=2.2)
        label(axes, record.alpha[middle], float(values[:, row, middle].max()), name, color, dx=0, dy=9, ha="center")
    ends = record.before[:, row].mean(axis=0)
    axes.plot([0, 1], [ends[0], ends[-1]], color=MUTED, lw=1, ls=":")
    top = max(float(record.before[:, row].max()), float(record.after[0, :, row].max()))
    axes.set_ylim(min(0.0, float(record.before[:, row].min())), 1.12 * top)
    axes.set_xticks([0, 0.5, 1], ["other run", "halfway", "run"])
    axes.grid(axis="y")
