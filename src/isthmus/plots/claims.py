"""Figures of claims: what was measured against what was varied, for the claim and its control."""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus.plots.style import CONTRAST, MAIN, figure, label, styled
from isthmus.results.claims import ClaimResult


def plot_scaling(record: ClaimResult) -> Figure:
    """Measured quantity over the scale axis, for the claim and its control; each axis logarithmic where it is positive."""
    with styled():
        made, axes = figure(2.8)
        positive = bool((record.measured > 0).all() and (record.control_measured > 0).all())
        _curve(axes, record.scale_axis, record.measured, MAIN, "claim", geometric=positive)
        if record.control_axis.size:
            _curve(axes, record.control_axis, record.control_measured, CONTRAST, "control", geometric=positive)
        sizes = bool((record.scale_axis > 0).all() and (record.control_axis > 0).all())
        axes.set_xscale("log" if sizes else "linear")
        axes.set_yscale("log" if positive else "linear")
        axes.set_xticks(record.scale_axis, [f"{x:g}" for x in record.scale_axis])
        axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        axes.set_xlabel(record.axis_name + (" (log)" if sizes else ""))
        axes.set_ylabel("\n".join(textwrap.wrap(record.measured_name + (" (log)" if positive else ""), 34)))
        axes.margins(x=0.12)
        axes.grid(axis="y")
    return made


def _curve(axes: Axes, x: np.ndarray, values: np.ndarray, color: str, name: str, *, geometric: bool) -> None:
    mean = np.exp(np.log(values).mean(axis=0)) if geometric else values.mean(axis=0)
    for row in values:
        axes.plot(x, row, "o", color=color, ms=3, alpha=0.5)
    axes.plot(x, mean, color=color)
    label(axes, x[-1], mean[-1], name, color, dx=7)
