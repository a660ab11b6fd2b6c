"""Rates over sizes with intervals over seeds."""

from dataclasses import dataclass

import numpy as np

from isthmus._core.errors import InputError
from isthmus._core.intervals import mean_interval


@dataclass(frozen=True)
class Rate:
    """A fitted exponent: mean over seeds and its 95 % Student interval."""

    slope: float
    interval: tuple[float, float]


def fit_rate(sizes: np.ndarray, measured: np.ndarray) -> Rate:
    """The exponent s of ``measured ~ size^s``: least squares in log-log for each seed, then mean and interval over seeds.

    Args:
        sizes: positive, ``(x,)``, at least four different ones.
        measured: positive and finite, ``(seed, x)``, at least two seeds.

    Raises:
        InputError: fewer than four sizes or two seeds, or a number that is not positive and finite.
    """
    different = len(np.unique(sizes))
    if different < 4 or len(measured) < 2:
        raise InputError(f"A rate needs at least 4 sizes and 2 seeds, found {different} and {len(measured)}.")
    for numbers in (np.asarray(sizes), np.asarray(measured)):
        if not ((numbers > 0) & np.isfinite(numbers)).all():
            raise InputError("A rate needs positive sizes and measurements; one is zero, negative, infinite or not a number.")
    slopes = np.polyfit(np.log(sizes), np.log(measured).T, 1)[0]
    mean, low, high = mean_interval(slopes)
    return Rate(float(mean), (float(low), float(high)))
