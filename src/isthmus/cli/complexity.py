"""The verb `isthmus complexity`."""

import json
import math
import sys
from typing import Annotated

from cyclopts import Parameter

from isthmus._core.errors import HypothesisError, InputError
from isthmus.learning.complexity import CONSTANT, Complexity, bounds, sample_complexity, width_complexity
from isthmus.learning.leap import leap
from isthmus.learning.series import PowerSeries, polynomial, power_series, truncated, truncation_degree


def complexity(
    function: str,
    *,
    radius: float = 1.0,
    eps: float = 0.1,
    constant: float = CONSTANT,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Complexity measures of a smooth function, or the leap of a Boolean one; no training.

    Parameters
    ----------
    function
        sin, cos, exp, erf, gelu, tanh, sigmoid, softplus or silu; a polynomial as c0,c1,c2,...; or leap:1+1.2+1.2.3, the
        monomials of a Boolean function with coordinates joined by dots.
    radius
        R of the measures.
    eps
        Accuracy of the width measure and of the bounds.
    constant
        The theory's unspecified "sufficiently large" C*.
    as_json
        Print JSON.
    """
    values = _leap(function.removeprefix("leap:")) if function.startswith("leap:") else _measures(function, radius, eps, constant)
    if as_json:
        sys.stdout.write(json.dumps({k: v if math.isfinite(v) else str(v) for k, v in values.items()}) + "\n")
        return 0
    for name, value in values.items():
        sys.stdout.write(f"{name:48s} {value if isinstance(value, int) else f'{value:.6g}'}\n")
    if not function.startswith("leap:"):
        sys.stdout.write(
            f"C* = {constant:g}. Bounds are the theory's shape with unknown constants: orders only, not a prediction.\n"
        )
    return 0


def _leap(text: str) -> dict[str, float]:
    value = leap([set(monomial.split(".")) - {""} for monomial in text.split("+")])
    return {"leap": value, "merged staircase (1: yes, 0: no)": int(value <= 1)}


def _measures(function: str, radius: float, eps: float, constant: float) -> dict[str, float]:
    series = _series(function)
    samples, width = (
        sample_complexity(series, radius, constant=constant),
        width_complexity(series, radius, eps=eps, constant=constant),
    )
    values = {"log10 C_s": samples.log10, "log10 C_eps": width.log10}
    values |= _truncation(series, radius, eps, constant, samples, width)
    if math.isfinite(samples.log10) and math.isfinite(width.log10) and samples.log10 > width.log10:
        sys.stderr.write("note: C_s exceeds C_eps here; the usual order needs a larger C* or a smaller eps.\n")
    found = bounds(series, series, eps=eps, constant=constant) if radius == 1 else None
    if found is not None:
        values["log10 steps, two-layer class"] = found.steps_two_layer
        values["log10 samples, three-layer class"] = found.samples_three_layer
    return values


def _truncation(
    series: PowerSeries, radius: float, eps: float, constant: float, samples: Complexity, width: Complexity
) -> dict[str, float]:
    """Where a measure diverges: the Taylor polynomial within eps, if there is one on [0, R], and its measures."""
    if math.isfinite(samples.log10) and math.isfinite(width.log10):
        return {}
    try:
        degree = truncation_degree(series, eps, bound=radius)
    except (HypothesisError, InputError) as reason:
        sys.stderr.write(f"note: {reason}\n")
        return {}
    short = truncated(series, degree)
    return {
        f"degree of the Taylor polynomial within {eps:g}": degree,
        "log10 C_s of that polynomial": sample_complexity(short, radius, constant=constant).log10,
        "log10 C_eps of that polynomial": width_complexity(short, radius, eps=eps, constant=constant).log10,
    }


def _series(function: str) -> PowerSeries:
    if "," not in function:
        return power_series(function)
    try:
        return polynomial([float(part) for part in function.split(",")], function)
    except ValueError as fault:
        raise InputError(f"{function!r} is no list of coefficients c0,c1,c2,... ({fault}).") from fault
