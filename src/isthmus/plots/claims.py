"""Figures of claims: what was measured against what was varied, for the claim and its control."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots.style import CONTRAST, MAIN, figure, label, styled
from isthmus.results.claims import ClaimResult


def plot_rate(record: ClaimResult) -> Figure:
    """Measured quantity over the scale axis, log-log, for the claim and its control."""
    with styled():
        made, axes = figure(2.8)
        _curve(axes, record.scale_axis, record.measured, MAIN, "claim")
        if record.control_axis.size:
            _curve(axes, record.control_axis, record.control_measured, CONTRAST, "control")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(record.scale_axis, [f"{x:g}" for x in record.scale_axis])
        axes.minorticks_off()
        axes.set_xlabel("width (log)")
        axes.set_ylabel("relative kernel change (log)")
        axes.margins(x=0.12)
        axes.grid(axis="y")
    return made


def _curve(axes: Axes, x: np.ndarray, values: np.ndarray, color: str, name: str) -> None:
    mean = np.exp(np.log(values).mean(axis=0))
    for row in values:
        axes.plot(x, row, "o", color=color, ms=3, alpha=0.5)
    axes.plot(x, mean, color=color)
    label(axes, x[-1], mean[-1], name, color, dx=7)
