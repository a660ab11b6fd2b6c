"""Figures of claims on every kind of axis; warnings are errors here, and matplotlib warns of an axis that cannot be drawn."""

from io import StringIO

import numpy as np
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG

from isthmus._core.status import Status
from isthmus.plots.claims import plot_scaling
from isthmus.results.claims import ClaimResult
from isthmus.results.provenance import Cost, Provenance


def result(axis: list[float], measured: list[list[float]]) -> ClaimResult:
    return ClaimResult(
        scale_axis=np.array(axis),
        measured=np.array(measured),
        control_axis=np.array(axis),
        control_measured=np.array(measured) + 1,
        axis_name="epoch",
        measured_name="error",
        claim="c",
        paper="p",
        statement="s",
        source="derived here",
        kind="statistical",
        verdict="consistent",
        control_verdict="fails",
        evidence="",
        control_evidence="",
        unmet="",
        scale="smoke",
        status=Status.ESTIMATED,
        method="m",
        error="e",
        cost=Cost(),
        provenance=Provenance(),
    )


@pytest.mark.parametrize(("axis", "scale"), [([0.0, 3.6], "linear"), ([8.0, 16.0, 32.0], "log")])
def test_an_axis_with_zero_is_linear(axis: list[float], scale: str) -> None:
    made = plot_scaling(result(axis, [[0.5 + i for i in range(len(axis))]] * 2))
    FigureCanvasSVG(made).print_svg(StringIO())
    axes = made.axes[0]
    low, high = axes.get_xlim()
    assert axes.get_xscale() == scale and low < axis[0] and high > axis[-1]
    assert ("(log)" in axes.get_xlabel()) == (scale == "log")


def test_a_value_that_is_not_positive_is_drawn_on_a_linear_axis() -> None:
    made = plot_scaling(result([1.0, 2.0], [[-1.0, 0.5]]))
    assert made.axes[0].get_yscale() == "linear"
