"""What a check measured, what was predicted, and the rule that compares them."""

import enum
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from isthmus._core.intervals import mean_interval


class Verdict(enum.Enum):
    """The five verdicts, fixed for good."""

    HOLDS = "holds"
    CONSISTENT = "consistent"
    FAILS = "fails"
    INAPPLICABLE = "inapplicable"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Predicted against measured.

    Attributes:
        quantity: what was measured, in words.
        predicted: the predicted value, in words.
        estimate: the measured number that the rule looks at.
        interval: its 95 % interval over seeds; equal to the estimate twice when the check is exact.
        rule: ``"at most"``: the number must not exceed the threshold.
        threshold: where the rule draws the line.
        reason: why the line is there.
        exact: whether passing means `holds` (to floating point) or `consistent` (statistically).
        axis: what was varied, ``(x,)``.
        axis_name: what that is, in words ("width"); "" when nothing was varied, and then no figure is drawn.
        measured: all measurements, ``(seed, x)``.
        measured_name: what these are, in words with units; the vertical axis of the claim's figure.
    """

    quantity: str
    predicted: str
    estimate: float
    interval: tuple[float, float]
    rule: Literal["at most"] = "at most"
    threshold: float
    reason: str
    exact: bool
    axis: np.ndarray
    axis_name: str = ""
    measured: np.ndarray
    measured_name: str = ""

    @classmethod
    def over_seeds(
        cls,
        values: np.ndarray,
        *,
        quantity: str,
        predicted: str,
        threshold: float,
        reason: str,
        axis: np.ndarray | None = None,
        axis_name: str = "",
        measured: np.ndarray | None = None,
        measured_name: str = "",
    ) -> Self:
        """Statistical evidence from one number a seed, ``(seed,)``: its mean and 95 % Student interval.

        `measured` and `axis` are given when more was measured than the number that the rule looks at.
        """
        mean, low, high = mean_interval(values)
        return cls(
            quantity=quantity,
            predicted=predicted,
            estimate=float(mean),
            interval=(float(low), float(high)),
            threshold=threshold,
            reason=reason,
            exact=False,
            axis=np.zeros(1) if axis is None else axis,
            axis_name=axis_name,
            measured=np.asarray(values)[:, None] if measured is None else measured,
            measured_name=measured_name,
        )

    @classmethod
    def worst_of(
        cls,
        values: np.ndarray,
        *,
        quantity: str,
        predicted: str,
        threshold: float,
        reason: str,
        axis: np.ndarray | None = None,
        axis_name: str = "",
        measured_name: str = "",
    ) -> Self:
        """Exact evidence: the largest of all measurements, ``(seed, x)``, must not exceed the threshold."""
        worst = float(values.max())
        return cls(
            quantity=quantity,
            predicted=predicted,
            estimate=worst,
            interval=(worst, worst),
            threshold=threshold,
            reason=reason,
            exact=True,
            axis=np.zeros(1) if axis is None else axis,
            axis_name=axis_name,
            measured=values,
            measured_name=measured_name,
        )

    @property
    def verdict(self) -> Verdict:
        """`holds` or `consistent` when the whole interval obeys the rule, `fails` when none of it does."""
        low, high = self.interval
        if not (np.isfinite(low) and np.isfinite(high)):
            return Verdict.INCONCLUSIVE
        if high <= self.threshold:
            return Verdict.HOLDS if self.exact else Verdict.CONSISTENT
        return Verdict.FAILS if low > self.threshold else Verdict.INCONCLUSIVE

    @property
    def words(self) -> str:
        """Predicted, measured and the rule, in one line."""
        low, high = self.interval
        spread = "" if self.exact else f" [{low:.3g}, {high:.3g}]"
        seeds = f"{len(self.measured)} seed{'s' if len(self.measured) > 1 else ''}"
        return (
            f"{self.quantity}: {self.estimate:.3g}{spread} over {seeds}; predicted {self.predicted}; "
            f"rule: {self.rule} {self.threshold:.3g} ({self.reason})."
        )
