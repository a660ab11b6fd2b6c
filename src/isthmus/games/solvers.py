"""Solvers of a congestion game whose strategies are written out: three ways to the minimum of its potential."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from isthmus.games.congestion import CongestionGame

_GROW = 1.5
_SHRINK = 0.9


class Solver(Protocol):
    """A method that moves a flow towards equilibrium."""

    @property
    def name(self) -> str:
        """What records call it."""
        ...

    def solve(self, game: CongestionGame, tolerance: float, flows: np.ndarray) -> tuple[np.ndarray, list[float], list[float]]:
        """The final flow, and potential and absolute gap along the way."""
        ...


@dataclass(frozen=True)
class ProjectedGradient:
    """Accelerated projected gradient on the product of simplices, with restart; the default, to high accuracy.

    Attributes:
        steps: at most so many.
    """

    steps: int = 20_000
    name: str = "accelerated projected gradient"

    def solve(self, game: CongestionGame, tolerance: float, flows: np.ndarray) -> tuple[np.ndarray, list[float], list[float]]:
        """Steps ``f+ = P(y - C(y) / L)`` with Nesterov's extrapolation; L is adapted by the change of the gradient."""
        bound, momentum, ahead = 1.0, 1.0, flows
        potentials, gaps = [game.potential(flows)], [game.gap(flows).absolute]
        for _ in range(self.steps):
            if gaps[-1] <= tolerance:
                break
            slope = game.strategy_costs(ahead)
            moved, bound = _descend(game, ahead, slope, bound)
            restart = float((ahead - moved) @ (moved - flows)) > 0
            following = 1.0 if restart else (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            weight = 0.0 if restart else (momentum - 1) / following
            ahead, flows, momentum = moved + weight * (moved - flows), moved, following
            potentials.append(game.potential(flows))
            gaps.append(game.gap(flows).absolute)
        return flows, potentials, gaps


def _descend(game: CongestionGame, ahead: np.ndarray, slope: np.ndarray, bound: float) -> tuple[np.ndarray, float]:
    """One projected step whose curvature along the step is at most `bound`, which grows until it is."""
    bound *= _SHRINK
    while True:
        moved = project_to_simplices(ahead - slope / bound, game.types, game.demands)
        step = moved - ahead
        bend = float(step @ (game.strategy_costs(moved) - slope))
        if bend <= bound * float(step @ step) * (1 + 1e-9) or not step.any():
            return moved, bound
        bound *= _GROW


@dataclass(frozen=True)
class MirrorDescent:
    """Exponentiated gradient (replicator dynamics): ``f_p <- f_p exp(-step C_p)``, renormalized to each type's mass.

    Attributes:
        step: of the first iteration; halved for good whenever the potential would rise.
        steps: at most so many.
    """

    step: float = 1.0
    steps: int = 50_000
    name: str = "mirror descent (replicator dynamics)"

    def solve(self, game: CongestionGame, tolerance: float, flows: np.ndarray) -> tuple[np.ndarray, list[float], list[float]]:
        """From a flow that uses every strategy; a strategy at zero would stay there."""
        rate = self.step
        potentials, gaps = [game.potential(flows)], [game.gap(flows).absolute]
        for _ in range(self.steps):
            if gaps[-1] <= tolerance:
                break
            costs = game.strategy_costs(flows)
            moved = _reweighted(game, flows, rate * costs)
            value = game.potential(moved)
            if value > potentials[-1] + 1e-14 * (1 + abs(potentials[-1])):
                rate /= 2
                continue
            flows = moved
            potentials.append(value)
            gaps.append(game.gap(flows).absolute)
        return flows, potentials, gaps


def _reweighted(game: CongestionGame, flows: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    low = np.full(len(game.demands), np.inf)
    np.minimum.at(low, game.types, exponents)
    raw = flows * np.exp(low[game.types] - exponents)
    total = np.bincount(game.types, raw, minlength=len(game.demands))
    return raw * (game.demands / np.where(total > 0, total, 1.0))[game.types]


@dataclass(frozen=True)
class FrankWolfe:
    """Moves towards the best response, with an exact line search; the baseline, slow at high accuracy.

    Attributes:
        steps: at most so many.
    """

    steps: int = 5_000
    name: str = "Frank-Wolfe"

    def solve(self, game: CongestionGame, tolerance: float, flows: np.ndarray) -> tuple[np.ndarray, list[float], list[float]]:
        """Bisection on the slope of the potential along each direction."""
        potentials, gaps = [game.potential(flows)], [game.gap(flows).absolute]
        for _ in range(self.steps):
            if gaps[-1] <= tolerance:
                break
            direction = game.best_response(game.strategy_costs(flows)) - flows
            start, move = game.loads(flows), game.loads(direction)
            length = line_minimum(lambda t, start=start, move=move: float(game.costs.value(start + t * move) @ move))
            flows = flows + length * direction
            potentials.append(game.potential(flows))
            gaps.append(game.gap(flows).absolute)
        return flows, potentials, gaps


def line_minimum(slope: Callable[[float], float], steps: int = 60) -> float:
    """The point of ``[0, 1]`` at which a convex function with this slope is least, by bisection."""
    if slope(1.0) <= 0:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return (low + high) / 2


def project_to_simplices(point: np.ndarray, types: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """The nearest flow with ``f >= 0`` and the given mass for each type (sort and threshold, all types at once)."""
    order = np.lexsort((-point, types))
    sorted_types, values = types[order], point[order]
    starts = np.searchsorted(sorted_types, np.arange(len(masses)))
    total = np.cumsum(values)
    before = np.where(starts > 0, total[starts - 1], 0.0)
    rank = np.arange(len(values)) - starts[sorted_types] + 1
    threshold = (total - before[sorted_types] - masses[sorted_types]) / rank
    support = np.bincount(sorted_types, values > threshold, minlength=len(masses)).astype(np.int64)
    last = starts + np.maximum(support, 1) - 1
    return np.maximum(point - threshold[last][types], 0.0)
