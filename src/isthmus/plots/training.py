"""Figures of a training run."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots.style import CONTRAST, INK, MAIN, MUTED, WIDTH, label, step_axis, styled
from isthmus.results.training import TrainingHistory


def plot_history(record: TrainingHistory) -> Figure:
    """Loss, and 0-1 error where the targets are classes, over optimizer steps, on training and test data."""
    with styled():
        panels = [("train_loss", "test_loss", f"loss ({record.loss_name})")]
        if not np.isnan(record.train_error).all():
            panels.append(("train_error", "test_error", "share of wrong labels"))
        made = Figure(figsize=(WIDTH, 2.5 * len(panels)), layout="constrained")
        for index, (train, test, name) in enumerate(panels):
            axes = made.add_subplot(len(panels), 1, index + 1)
            _pair(axes, record.step, getattr(record, train), getattr(record, test))
            axes.set_ylabel(name)
            step_axis(axes, float(record.step[-1]))
            if index < len(panels) - 1:
                axes.set_xlabel("")
            if "error" in train:
                axes.set_ylim(bottom=0)
                _interval(axes, record)
    return made


def _pair(axes: Axes, step: np.ndarray, train: np.ndarray, test: np.ndarray) -> None:
    axes.plot(step, train, color=MAIN)
    has_test = not np.isnan(test).all()
    span = np.nanmax([train, test]) - np.nanmin([train, test]) if has_test else 1.0
    apart = 0 if not has_test or abs(train[-1] - test[-1]) > 0.06 * span else 6
    lower_train = not has_test or train[-1] <= test[-1]
    label(axes, step[-1], train[-1], "train", MAIN, dy=-apart if lower_train else apart)
    if has_test:
        axes.plot(step, test, color=CONTRAST)
        label(axes, step[-1], test[-1], "test", CONTRAST, dy=apart if lower_train else -apart)
    values = np.concatenate([train, test[np.isfinite(test)]])
    if values.min() > 0 and values.max() / values.min() > 50:
        axes.set_yscale("log")
        axes.set_ylabel(axes.get_ylabel() + ", log")
    axes.grid(axis="y")
    axes.axhline(0, color=INK, lw=0)


def _interval(axes: Axes, record: TrainingHistory) -> None:
    low, high = record.test_error_interval
    if np.isfinite(low):
        last = record.test_error[-1]
        axes.errorbar(record.step[-1], last, [[last - low], [high - last]], color=MUTED, capsize=3, lw=1)
