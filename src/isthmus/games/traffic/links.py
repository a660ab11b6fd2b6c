"""Frank-Wolfe and its conjugate variants on link flows."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from isthmus.games.solvers import line_minimum
from isthmus.games.traffic.compiled import trace
from isthmus.games.traffic.network import RoadNetwork
from isthmus.games.traffic.paths import PathSet, relative_gap

_FULL_STEP = 0.9999
_LARGEST_WEIGHT = 0.99


@dataclass(frozen=True)
class ConjugateFrankWolfe:
    """Moves towards all-or-nothing targets; needs link flows only, reaches relative gaps of 1e-4 to 1e-6.

    Attributes:
        memory: earlier targets that a direction is made conjugate to, in the metric ``diag c'``: 0 is plain Frank-Wolfe,
            1 conjugate, 2 bi-conjugate.
        steps: iterations, each one shortest-path tree per origin.

    References:
        Mitradjieva and Lindberg 2013 for the conjugate directions.
    """

    memory: Literal[0, 1, 2] = 2
    steps: int = 2_000

    @property
    def name(self) -> str:
        """What records call it."""
        return ("Frank-Wolfe", "conjugate Frank-Wolfe", "bi-conjugate Frank-Wolfe")[self.memory]

    def solve(self, network: RoadNetwork, tolerance: float) -> tuple[np.ndarray, list[float], PathSet | None]:
        """Link flows, and the relative gap at each iteration; no path flows are kept."""
        costs, history, gaps = network.costs, _History(), []
        load, _ = _all_or_nothing(network, costs.value(np.zeros(network.links)))
        for _ in range(self.steps):
            price = costs.value(load)
            target, distance = _all_or_nothing(network, price)
            gaps.append(relative_gap(network, load, price, distance))
            if gaps[-1] <= tolerance:
                break
            goal = history.conjugate(load, target, costs.slope(load), self.memory)
            if price @ (goal - load) >= 0:
                history, goal = _History(), target
            move = goal - load
            length = line_minimum(lambda t, load=load, move=move: float(costs.value(load + t * move) @ move))
            load = np.maximum(load + length * move, 0.0)
            history = _History() if length >= _FULL_STEP else history.after(goal, length)
        return load, gaps, None


@dataclass(frozen=True)
class _History:
    """The last targets, newest first, and the last step."""

    targets: tuple[np.ndarray, ...] = field(default=())
    step: float = 0.0

    def after(self, goal: np.ndarray, step: float) -> "_History":
        return _History((goal, *self.targets[:1]), step)

    def conjugate(self, load: np.ndarray, target: np.ndarray, slope: np.ndarray, memory: int) -> np.ndarray:
        """The target whose direction is conjugate to the last `memory` ones."""
        bend = np.where(np.isfinite(slope), slope, 0.0)
        if memory == 0 or not self.targets:
            return target
        newest, steepest = self.targets[0] - load, target - load
        if memory == 1 or len(self.targets) == 1:
            top = newest @ (bend * steepest)
            bottom = top - newest @ (bend * newest)
            weight = float(np.clip(top / bottom, 0.0, _LARGEST_WEIGHT)) if bottom != 0 else 0.0
            return weight * self.targets[0] + (1 - weight) * target
        older = self.step * self.targets[0] + (1 - self.step) * self.targets[1] - load
        across, along = older @ (bend * (self.targets[1] - self.targets[0])), newest @ (bend * newest)
        if across == 0 or along == 0:
            return target
        raw = -(older @ (bend * steepest)) / across
        mu = max(0.0, raw)
        nu = max(0.0, -(newest @ (bend * steepest)) / along + raw * self.step / (1 - self.step))
        return (target + nu * self.targets[0] + mu * self.targets[1]) / (1 + mu + nu)


def _all_or_nothing(network: RoadNetwork, price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All demand on the cheapest paths at these prices: link flows, and the distances."""
    search = network.search
    distance, before = search.trees(price)
    pointer, links = trace(before, search.tail, search.row, network.destination)
    load = np.bincount(links, np.repeat(network.demand, np.diff(pointer)), minlength=network.links)
    return load, distance
