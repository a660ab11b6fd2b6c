"""Measurements over sizes and seeds, and the rules by which they become evidence."""

from dataclasses import dataclass

import numpy as np

from isthmus._core.intervals import mean_interval
from isthmus.claims import Evidence, fit_rate

Found = tuple[float, tuple[float, float]]


@dataclass(frozen=True)
class Table:
    """What was measured.

    Attributes:
        axis: sizes, ``(x,)``.
        axis_name: what they are.
        measured: ``(seed, x)``.
        measured_name: what that is.
    """

    axis: np.ndarray
    axis_name: str
    measured: np.ndarray
    measured_name: str

    def largest(self, reference: float) -> Found:
        """The largest ``|measured - reference|`` over the sizes: mean over seeds and its interval."""
        return _over_seeds(np.abs(self.measured - reference).max(axis=1))

    def highest(self) -> Found:
        """The largest measurement over the sizes."""
        return _over_seeds(self.measured.max(axis=1))

    def exponent_from(self, target: float) -> Found:
        """How far the exponent is from a target, with the interval that its own implies."""
        rate = fit_rate(self.axis, self.measured)
        slope, (low, high) = rate.slope, rate.interval
        far = max(abs(low - target), abs(high - target))
        near = 0.0 if low <= target <= high else min(abs(low - target), abs(high - target))
        return abs(slope - target), (near, far)

    def evidence(self, found: Found, quantity: str, predicted: str, threshold: float, reason: str) -> Evidence:
        """The evidence: the number found must not exceed the threshold."""
        return Evidence(
            quantity=quantity,
            predicted=predicted,
            estimate=found[0],
            interval=found[1],
            threshold=threshold,
            reason=reason,
            exact=False,
            axis=np.asarray(self.axis, dtype=np.float64),
            axis_name=self.axis_name,
            measured=self.measured,
            measured_name=self.measured_name,
        )


def _over_seeds(values: np.ndarray) -> Found:
    mean, low, high = mean_interval(values)
    return float(mean), (float(low), float(high))
