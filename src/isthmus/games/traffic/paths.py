"""Gradient projection over paths that are generated as they are needed: the default traffic solver."""

from dataclasses import dataclass

import numpy as np

from isthmus.games.traffic.compiled import known, sweep, trace
from isthmus.games.traffic.network import RoadNetwork

_LATE = 1e-4


@dataclass(frozen=True)
class PathSet:
    """Paths with flow, grouped by demand; see `compiled` for the layout."""

    pointer: np.ndarray
    links: np.ndarray
    owner: np.ndarray
    flow: np.ndarray

    def first(self, demands: int) -> np.ndarray:
        """Where each demand's paths begin, ``(od + 1,)``."""
        return np.searchsorted(self.owner, np.arange(demands + 1))

    def load(self, links: int) -> np.ndarray:
        """Link flows, ``(e,)``."""
        return np.bincount(self.links, np.repeat(self.flow, np.diff(self.pointer)), minlength=links)


@dataclass(frozen=True)
class GradientProjection:
    """Column generation with Newton shifts between paths; reaches rounding error.

    Each iteration recomputes link flows from path flows, adds every demand's present shortest path if it is new, drops
    paths without flow, and makes `rounds` Gauss-Seidel sweeps.

    Attributes:
        steps: iterations, each one shortest-path tree per origin.
        rounds: sweeps in an iteration once the relative gap is below 1e-4, where few new paths come; a tenth of that before.
    """

    steps: int = 500
    rounds: int = 100
    name: str = "gradient projection over generated paths"

    def solve(self, network: RoadNetwork, tolerance: float) -> tuple[np.ndarray, list[float], PathSet | None]:
        """Link flows, the relative gap at each iteration, and the path flows behind them."""
        costs, search = network.costs, network.search
        paths, gaps = None, []
        for _ in range(self.steps):
            load = paths.load(network.links) if paths is not None else np.zeros(network.links)
            price = costs.value(load)
            distance, before = search.trees(price)
            if paths is not None:
                gaps.append(relative_gap(network, load, price, distance))
                if gaps[-1] <= tolerance:
                    break
            pointer, links = trace(before, search.tail, search.row, network.destination)
            if paths is None:
                paths = PathSet(pointer, links, np.arange(len(network.demand)), network.demand.copy())
                continue
            paths = _merged(paths, pointer, links)
            arrays = (costs.constant, costs.coefficient, costs.power)
            rounds = self.rounds if gaps and gaps[-1] < _LATE else max(1, self.rounds // 10)
            sweep(paths.pointer, paths.links, paths.first(len(network.demand)), paths.flow, load, *arrays, rounds)
        load = paths.load(network.links) if paths is not None else np.zeros(network.links)
        return load, gaps, paths


def relative_gap(network: RoadNetwork, load: np.ndarray, price: np.ndarray, distance: np.ndarray) -> float:
    """``(c.x - sum_od q dist) / c.x``."""
    total = float(price @ load)
    least = float(network.demand @ distance[network.search.row, network.destination])
    return (total - least) / total if total > 0 else 0.0


def _merged(paths: PathSet, pointer: np.ndarray, links: np.ndarray) -> PathSet:
    """The paths with flow, and the new path of each demand that does not have it among them."""
    demands = len(pointer) - 1
    used = _gathered(paths, np.flatnonzero(paths.flow > 0))
    new = np.flatnonzero(~known(used.pointer, used.links, used.first(demands), pointer, links))
    both = PathSet(
        np.concatenate([used.pointer, pointer[1:] + used.pointer[-1]]),
        np.concatenate([used.links, links]),
        np.concatenate([used.owner, np.arange(demands)]),
        np.concatenate([used.flow, np.zeros(demands)]),
    )
    chosen = np.concatenate([np.arange(len(used.flow)), new + len(used.flow)])
    return _gathered(both, chosen[np.argsort(both.owner[chosen], kind="stable")])


def _gathered(paths: PathSet, chosen: np.ndarray) -> PathSet:
    """Some of the paths, in this order."""
    length = np.diff(paths.pointer)[chosen]
    pointer = np.concatenate([[0], np.cumsum(length)])
    where = np.repeat(paths.pointer[:-1][chosen] - pointer[:-1], length) + np.arange(pointer[-1])
    return PathSet(pointer, paths.links[where], paths.owner[chosen], paths.flow[chosen])
