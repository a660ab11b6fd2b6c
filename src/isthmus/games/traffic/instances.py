"""Networks from theory, and a generated grid."""

import numpy as np

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus.games.costs import MonomialCosts
from isthmus.games.traffic.network import RoadNetwork


def pigou(degree: float = 1.0) -> RoadNetwork:
    """Two parallel links with costs 1 and ``x^degree``, and one unit of demand."""
    costs = MonomialCosts(np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([1.0, degree]))
    return RoadNetwork(2, np.array([0, 0]), np.array([1, 1]), costs, np.array([0]), np.array([1]), np.array([1.0]), name="Pigou")


def braess(demand: float = 6.0, *, bridge: bool = True) -> RoadNetwork:
    """Braess's network: costs 10x, 50 + x, 50 + x, 10x, and the bridge 10 + x that makes everybody worse off."""
    return _diamond((0.0, 50.0, 50.0, 0.0, 10.0), (10.0, 1.0, 1.0, 10.0, 1.0), demand, bridge, "Braess")


def wheatstone(*, bridge: bool = True) -> RoadNetwork:
    """The Wheatstone bridge with costs x, 1, 1, x, a free bridge, and one unit of demand: price of anarchy 4/3."""
    return _diamond((0.0, 1.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.0, 1.0, 0.0), 1.0, bridge, "Wheatstone")


def _diamond(constant: tuple[float, ...], coefficient: tuple[float, ...], demand: float, bridge: bool, name: str) -> RoadNetwork:
    """Links s-a, s-b, a-t, b-t and the bridge a-b."""
    links = 5 if bridge else 4
    tail, head = np.array([0, 0, 1, 2, 1])[:links], np.array([1, 2, 3, 3, 2])[:links]
    costs = MonomialCosts(np.array(constant)[:links], np.array(coefficient)[:links], np.ones(links))
    return RoadNetwork(4, tail, head, costs, np.array([0]), np.array([3]), np.array([demand]), name=name)


def generated_grid(rows: int, columns: int, *, zones: int, saturation: float = 1.0, seed: Seed | int = 0) -> RoadNetwork:
    """A grid of two-way streets with BPR costs ``t0 (1 + .15 (x / capacity)^4)`` and demand between all pairs of zones.

    Args:
        rows: of nodes.
        columns: of nodes.
        zones: nodes, drawn at random, between all pairs of which there is demand: ``zones (zones - 1)`` pairs.
        saturation: mean traffic over mean capacity if everybody drove straight; congestion grows with it.
        seed: names times, capacities, zones and demand.

    Raises:
        InputError: fewer than two zones, or more than there are nodes.
    """
    if not 2 <= zones <= rows * columns:
        raise InputError(f"A grid of {rows} x {columns} nodes takes 2 to {rows * columns} zones, found {zones}.")
    random = as_seed(seed).child("grid").numpy()
    node = np.arange(rows * columns).reshape(rows, columns)
    pairs = np.concatenate(
        [np.stack([a.ravel(), b.ravel()], axis=1) for a, b in ((node[:, :-1], node[:, 1:]), (node[:-1], node[1:]))]
    )
    tail, head = np.concatenate([pairs, pairs[:, ::-1]]).T
    free, capacity = random.uniform(1, 3, len(tail)), random.uniform(0.5, 1.5, len(tail))
    chosen = np.sort(random.choice(rows * columns, zones, replace=False))
    origin, destination = (grid.ravel() for grid in np.meshgrid(chosen, chosen, indexing="ij"))
    apart = origin != destination
    origin, destination = origin[apart], destination[apart]
    demand = random.exponential(1.0, len(origin))
    hops = np.abs(origin // columns - destination // columns) + np.abs(origin % columns - destination % columns)
    demand *= saturation * capacity.sum() / (demand @ hops)
    costs = MonomialCosts(free, 0.15 * free / capacity**4, np.full(len(tail), 4.0))
    return RoadNetwork(rows * columns, tail, head, costs, origin, destination, demand, name=f"grid {rows} x {columns}")
