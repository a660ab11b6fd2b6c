"""When did a signal along training change, if it did? Change points with bootstrap intervals."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from isthmus._core.errors import ShapeError
from isthmus._core.seeds import Seed, as_seed

Verdict = Literal["transient", "no transient", "unresolved"]
_DRAWS = 1000
_RATIO = 1.5


@dataclass(frozen=True)
class Transition:
    """A change point of one signal.

    Attributes:
        signal: its name.
        verdict: ``transient`` when the signal certainly falls, ``no transient`` when it certainly does not (or never
            leaves its floor), ``unresolved`` when the replicates do not decide.
        epoch: the change point, in epochs; NaN unless there is a transient.
        interval: 95 % bootstrap interval of it.
        before: mean level before it.
        after: mean level after it.
        replicates: columns that were resampled.
    """

    signal: str
    verdict: Verdict
    epoch: float
    interval: tuple[float, float]
    before: float
    after: float
    replicates: int


def find_transition(
    signal: str, epochs: np.ndarray, values: np.ndarray, *, floor: float = 0.0, seed: Seed | int = 0
) -> Transition:
    """The time at which a signal falls from one level to a lower one, or the answer that it does not.

    Fits a fall in the logarithm of time, ``level_1`` up to a, linear in ``log(epoch + first)`` from a to b, ``level_2``
    after, over all pairs of measured times a < b, by least squares; the change point is the (geometric) middle of a and
    b. Replicates (pairs of children, probe sets, seeds) are resampled as columns. The signal has a transient when its
    early level exceeds its late one by a factor 1.5 and by the floor in 97.5 % of the draws; it has none when it fails
    to in 97.5 % of them.

    Args:
        signal: its name.
        epochs: times, ``(t,)``, ascending.
        values: ``(t, replicates)``; NaN entries (excluded runs) are left out.
        floor: a fall smaller than this does not count (0.02 of 0-1 error is the usual line for a barrier).
        seed: names the bootstrap's draws.

    Returns:
        The transition. With fewer than four times or two replicates the verdict is `unresolved`.

    Raises:
        ShapeError: times and values do not fit.
    """
    epochs, values = np.asarray(epochs, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(epochs):
        raise ShapeError(f"Values of shape ({len(epochs)}, replicates) were needed, found {values.shape}.")
    kept = ~np.isnan(values).all(axis=1)
    epochs, values = epochs[kept], values[kept]
    whole = values[:, ~np.isnan(values).any(axis=0)]
    replicates = whole.shape[1]
    if len(epochs) < 4 or replicates < 2:
        return Transition(signal, "unresolved", np.nan, (np.nan, np.nan), np.nan, np.nan, replicates)
    shapes = _Shapes(epochs)
    place, before, after = shapes.fit(whole.mean(1)[None])
    draws = as_seed(seed).child("transition", signal).numpy().integers(0, replicates, (_DRAWS, replicates))
    places, befores, afters = shapes.fit(whole[:, draws].mean(2).T)
    falls = (befores - afters > floor) & (befores > _RATIO * afters) & (befores > afters)
    share = float(falls.mean())
    verdict: Verdict = "transient" if share >= 0.975 else "no transient" if share <= 0.025 else "unresolved"
    if verdict != "transient":
        return Transition(signal, verdict, np.nan, (np.nan, np.nan), float(before[0]), float(after[0]), replicates)
    low, high = np.quantile(places[falls], [0.025, 0.975])
    return Transition(signal, verdict, float(place[0]), (float(low), float(high)), float(before[0]), float(after[0]), replicates)


class _Shapes:
    """Every fall from 1 to 0 between two measured times, as a design to fit many curves at once."""

    def __init__(self, epochs: np.ndarray) -> None:
        positive = epochs[epochs > 0]
        clock = np.log(epochs + positive.min())
        spans = [(a, b) for a in range(len(epochs) - 1) for b in range(a + 1, len(epochs))]
        self.shapes = np.stack([np.clip((clock[b] - clock) / (clock[b] - clock[a]), 0, 1) for a, b in spans])
        self.centers = np.array([np.exp((clock[a] + clock[b]) / 2) - positive.min() for a, b in spans])

    def fit(self, curves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Change point, early and late level of each curve ``(curve, t)``, by least squares over all shapes."""
        centered = self.shapes - self.shapes.mean(1, keepdims=True)
        power = (centered**2).sum(1)
        slope = (curves - curves.mean(1, keepdims=True)) @ centered.T / power
        best = np.argmax(slope**2 * power, axis=1)
        rows = np.arange(len(curves))
        fall = slope[rows, best]
        late = curves.mean(1) - fall * self.shapes.mean(1)[best]
        return self.centers[best], late + fall, late
