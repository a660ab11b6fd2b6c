"""Evidence from numbers: a rate over sizes, or errors to floating point."""

from collections.abc import Sequence

import numpy as np

from isthmus._core.numerics import tolerance
from isthmus.claims import Evidence, fit_rate


def rate(
    quantity: str,
    predicted: str,
    sizes: np.ndarray,
    measured: np.ndarray,
    threshold: float,
    reason: str,
    *,
    names: tuple[str, str],
) -> Evidence:
    """A fitted exponent over sizes, ``measured (seed, size)``; `names` are those of the axes."""
    fitted = fit_rate(sizes, measured)
    return Evidence(
        quantity=quantity,
        predicted=predicted,
        estimate=fitted.slope,
        interval=fitted.interval,
        threshold=threshold,
        reason=reason,
        exact=False,
        axis=np.asarray(sizes, dtype=np.float64),
        axis_name=names[0],
        measured=measured,
        measured_name=names[1],
    )


def exact(quantity: str, errors: Sequence[float], terms: int) -> Evidence:
    """Errors that must be rounding of float64 sums over so many terms."""
    line = tolerance("float64", terms=terms, depth=8)
    return within(quantity, errors, line, "rounding of float64 sums over the units")


def within(quantity: str, errors: Sequence[float], line: float, reason: str) -> Evidence:
    """Deterministic errors, the worst against a line."""
    return Evidence.worst_of(np.array(errors)[:, None], quantity=quantity, predicted="0", threshold=line, reason=reason)
