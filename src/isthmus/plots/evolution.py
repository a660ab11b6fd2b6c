"""Figures of kernel evolution: barrier, velocity, alignment and after-kernel on one time axis; separating twins."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus._core.intervals import mean_interval
from isthmus.plots.style import CONTRAST, MAIN, MUTED, PALE, WIDTH, epoch_axis, figure, label, styled
from isthmus.results.evolution import AfterKernel, EvolutionCurves, EvolutionSummary, LinearizedChildren, Spawning
from isthmus.results.kernel import KernelTimeline

_BARRIER = {True: ("barrier_train_error", "barrier\n(train error)"), False: ("barrier_train_loss", "barrier\n(train loss)")}
_WORDS = {"barrier_train_error": "barrier", "hamming": "activation patterns", "weights": "weights of children"}


def plot_evolution(kernel: KernelTimeline, children: Spawning, summary: EvolutionSummary, after: AfterKernel | None) -> Figure:
    """Barrier between children, kernel velocity, alignment and after-kernel error against one logarithmic time."""
    with styled():
        learned = after is not None and not np.isnan(after.solved_error).any()
        rows = 4 if learned else 3
        made = Figure(figsize=(WIDTH, 1.45 * rows + 0.6), layout="constrained")
        panels = [made.add_subplot(rows, 1, i + 1) for i in range(rows)]
        _barrier(panels[0], children)
        _band(panels[1], kernel.velocity_epoch + kernel.velocity_interval / 2, kernel.velocity)
        panels[1].set_ylabel("kernel velocity\n(per epoch)")
        _band(panels[2], kernel.epoch, kernel.label_alignment)
        panels[2].set_ylabel("alignment\nwith labels")
        if learned and after is not None:
            _after(panels[3], after)
        later = kernel.epoch[kernel.epoch > 0]
        for index, axes in enumerate(panels):
            axes.set_ylim(bottom=0)
            epoch_axis(axes, float(kernel.epoch[-1]), float(later.min()) if later.size else 1.0)
            axes.grid(axis="y")
            axes.tick_params(labelbottom=index == rows - 1)
            if index < 3:
                _change(axes, summary, index)
        panels[-1].set_xlabel("epoch (log scale)")
    return made


def _barrier(axes: Axes, children: Spawning) -> None:
    name, words = _BARRIER[not np.isnan(children.measure("barrier_train_error")).all()]
    values = children.measure(name)
    for pair in values.T:
        axes.plot(children.spawn_epoch, pair, "o", color=MAIN, ms=3, alpha=0.5)
    good = ~np.isnan(values)
    mean = np.where(good, values, 0).sum(1) / np.maximum(good.sum(1), 1)
    axes.plot(children.spawn_epoch, mean, color=MAIN)
    if children.independent.shape[1]:
        level = float(children.independent[children.measures.index(name)].mean())
        axes.axhline(level, color=MUTED, lw=1, ls=":")
        label(axes, children.spawn_epoch[-1], level, "other initializations", MUTED, dx=0, dy=-7, ha="right")
    axes.set_ylabel(words)


def _after(axes: Axes, after: AfterKernel) -> None:
    axes.plot(after.epoch, after.network_error, color=PALE)
    label(axes, after.epoch[1], after.network_error[1], "network", MUTED, dx=4, dy=6)
    axes.plot(after.epoch, after.solved_error, color=CONTRAST, marker="o", ms=3)
    label(axes, after.epoch[0], after.solved_error[0], "solved kernel", CONTRAST, dx=6, dy=-9)
    axes.axhline(after.final_error, color=MUTED, lw=1, ls=":")
    axes.set_ylabel("test error of the\nkernel of that time")


def _change(axes: Axes, summary: EvolutionSummary, index: int) -> None:
    signals = ("barrier between children", "kernel velocity", "missing alignment")
    if signals[index] not in summary.signals:
        return
    row = summary.signals.index(signals[index])
    if summary.verdicts[row] == "transient":
        place, low, high = summary.change[row]
        axes.axvspan(low, high, color=CONTRAST, alpha=0.18, lw=0)
        axes.axvline(place, color=CONTRAST, lw=1.2)


def _band(axes: Axes, x: np.ndarray, values: np.ndarray) -> None:
    if not values.size:
        return
    mean = values.mean(axis=0)
    if len(values) > 1:
        bar = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        axes.fill_between(x, mean - 2 * bar, mean + 2 * bar, color=MAIN, alpha=0.25, lw=0)
    axes.plot(x, mean, color=MAIN, marker="o", ms=2.5)


def plot_twin_separation(summary: EvolutionSummary) -> Figure:
    """Distance of perturbed twins over time, logarithmic, one line a perturbation."""
    with styled():
        made, axes = figure(2.7)
        for size, rate, row in zip(summary.twin_size, summary.divergence_rate, summary.twin_distance, strict=True):
            axes.plot(summary.twin_epoch, row, color=MAIN, marker="o", ms=2.5)
            words = f"start {size:g}" + (
                "" if np.isnan(rate) else f": ×e every {1 / rate:.2g} epochs" if rate > 0 else ": no growth"
            )
            label(axes, summary.twin_epoch[0], row[0], words, MUTED, dx=34)
        axes.set_yscale("log")
        axes.margins(y=0.12)
        axes.set_xlabel("epoch")
        axes.set_ylabel("distance of twins\n|w - w'| / |w₀| (log)")
        axes.grid(axis="y")
    return made


def plot_linearized(record: LinearizedChildren, final_error: float) -> Figure:
    """Test error of linearized children against the time of linearization, beside the network's own child."""
    with styled():
        made, axes = figure(2.7)
        axes.plot(record.epoch, record.linear_error, color=CONTRAST, marker="o", ms=4)
        label(axes, record.epoch[0], record.linear_error[0], "linearized child", CONTRAST, dx=6, dy=16)
        axes.plot(record.epoch, record.centered_error, color=CONTRAST, marker="s", ms=3, ls=":", lw=1)
        axes.plot(record.epoch, record.child_error[:, 0], color=MAIN, marker="o", ms=4)
        label(axes, record.epoch[0], record.child_error[0, 0], "network's own child", MAIN, dx=6, dy=8)
        axes.axhline(final_error, color=MUTED, lw=1, ls=":")
        axes.set_xlabel("epoch of linearization")
        axes.set_ylabel("test error")
        axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
        axes.grid(axis="y")
    return made


def plot_curves(record: EvolutionCurves) -> Figure:
    """Barrier, activation patterns, kernel velocity, alignment and solved kernels over time: mean and 95 % interval over seeds."""
    with styled():
        rows = [
            (
                f"barrier\n({record.measures[0].removeprefix('barrier_').replace('_', ' ')})",
                record.spawn_epoch,
                record.landscape[0],
            ),
            ("Hamming distance\nof patterns", record.spawn_epoch, record.landscape[record.measures.index("hamming")]),
            ("kernel velocity\n(per epoch)", record.motion_epoch, record.velocity),
            ("alignment\nwith labels", record.motion_epoch, record.alignment),
            ("test error of the\nkernel of that time", record.solved_epoch, record.solved_error),
        ]
        rows = [row for row in rows if row[2].size and not np.isnan(row[2]).any()]
        made = Figure(figsize=(WIDTH, 1.35 * len(rows) + 0.9), layout="constrained")
        panels = [made.add_subplot(len(rows), 1, i + 1) for i in range(len(rows))]
        last = float(max(x[-1] for _, x, _ in rows))
        first = float(min(x[x > 0].min() for _, x, _ in rows))
        for index, (axes, (words, x, values)) in enumerate(zip(panels, rows, strict=True)):
            _seed_band(axes, x, values)
            axes.set_ylabel(words)
            axes.set_ylim(bottom=0)
            epoch_axis(axes, last, first)
            axes.grid(axis="y")
            axes.tick_params(labelbottom=index == len(rows) - 1)
            _decided(axes, record)
        if rows[-1][2] is record.solved_error:
            level = float(record.final_error.mean())
            panels[-1].axhline(level, color=MUTED, lw=1, ls=":")
            label(panels[-1], first, level, "finished network", MUTED, dy=7)
        panels[0].set_title(f"{record.subject}; {record.landscape.shape[1]} seeds, {record.scale} scale")
        panels[-1].set_xlabel("epoch (log scale)")
    return made


def _seed_band(axes: Axes, x: np.ndarray, values: np.ndarray) -> None:
    mean, low, high = mean_interval(values)
    if len(values) > 1:
        axes.fill_between(x, low, high, color=MAIN, alpha=0.25, lw=0)
    axes.plot(x, mean, color=MAIN, marker="o", ms=2.5)


def _decided(axes: Axes, record: EvolutionCurves) -> None:
    """The barrier's change point, through all panels."""
    if record.verdicts[0] == "transient":
        place, low, high = record.change[0]
        axes.axvspan(low, high, color=CONTRAST, alpha=0.18, lw=0)
        axes.axvline(place, color=CONTRAST, lw=1.2)


def plot_together(record: EvolutionCurves) -> Figure:
    """The same measures, each rescaled to run from its least to its largest value, drawn together."""
    with styled():
        made, axes = figure(3.2)
        named = zip(record.measures, record.landscape, strict=True)
        lines = [(_WORDS.get(name, name), record.spawn_epoch, curve, MAIN) for name, curve in named]
        lines += [("kernel velocity", record.motion_epoch, record.velocity, CONTRAST)]
        lines += [("missing alignment", record.motion_epoch, -record.alignment, CONTRAST)]
        if record.solved_error.size:
            lines.append(("solved kernel's error", record.solved_epoch, record.solved_error, CONTRAST))
        styles = {MAIN: iter(("-", "--", ":", "-.", (0, (1, 3)))), CONTRAST: iter(("-", "--", ":"))}
        for words, x, values, color in lines:
            mean = values.mean(0)
            axes.plot(
                x, (mean - mean.min()) / max(np.ptp(mean), 1e-300), color=color, ls=next(styles[color]), lw=1.5, label=words
            )
        axes.legend(frameon=False, fontsize=8, loc="upper right")
        epoch_axis(axes, float(max(x[-1] for _, x, _, _ in lines)), float(record.spawn_epoch[record.spawn_epoch > 0].min()))
        axes.set_xlabel("epoch (log scale)")
        axes.set_ylabel("rescaled to 0 to 1")
        axes.grid(axis="y")
    return made
