"""A road network with its demand, and shortest paths in it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import networkx as nx
import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from isthmus._core.errors import BudgetError, InputError, ShapeError
from isthmus.games.congestion import CongestionGame
from isthmus.games.costs import MonomialCosts


@dataclass(frozen=True)
class RoadNetwork:
    """Links with monomial costs, and a demand for each pair of an origin and a destination.

    Nodes below `first_thru` are zones: a trip may start or end there, never pass through. They are honored by moving
    their outgoing links to a copy of the node at which only searches start.

    Attributes:
        nodes: how many; numbered from 0.
        tail: start node of each link, ``(e,)``.
        head: end node, ``(e,)``; parallel links are allowed.
        costs: of the links; constants nonnegative.
        origin: of each demand, ``(od,)``.
        destination: of each demand, ``(od,)``.
        demand: nonnegative, ``(od,)``; demands of zero or from a node to itself are dropped.
        first_thru: nodes with a smaller number are never passed through.
        name: what messages call it.

    Raises:
        InputError: a node out of range, a negative demand or cost, or a destination that cannot be reached.
        ShapeError: arrays of different lengths.
    """

    nodes: int
    tail: np.ndarray
    head: np.ndarray
    costs: MonomialCosts
    origin: np.ndarray
    destination: np.ndarray
    demand: np.ndarray
    first_thru: int = 0
    name: str = "road network"

    def __post_init__(self) -> None:
        for name, kind in (("tail", int), ("head", int), ("origin", int), ("destination", int), ("demand", float)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.int64 if kind is int else np.float64))
        self._require_sizes()
        self._require_values()
        keep = (self.demand > 0) & (self.origin != self.destination)
        order = np.lexsort((self.destination[keep], self.origin[keep]))
        for name in ("origin", "destination", "demand"):
            object.__setattr__(self, name, getattr(self, name)[keep][order])
        self._require_reachable()

    @property
    def links(self) -> int:
        """Number of links."""
        return len(self.tail)

    def with_costs(self, costs: MonomialCosts) -> Self:
        """The same roads and demand under other costs."""
        changes = {**{k: getattr(self, k) for k in self.__dataclass_fields__}, "costs": costs}
        return type(self)(**changes)

    def without_link(self, link: int) -> Self:
        """The network with one link closed.

        Raises:
            InputError: a destination is cut off.
        """
        keep = np.arange(self.links) != link
        costs = MonomialCosts(self.costs.constant[keep], self.costs.coefficient[keep], self.costs.power[keep])
        changes = {k: getattr(self, k) for k in self.__dataclass_fields__}
        return type(self)(**{**changes, "tail": self.tail[keep], "head": self.head[keep], "costs": costs})

    @cached_property
    def search(self) -> "SearchGraph":
        """The graph that shortest paths are searched in."""
        return SearchGraph(self)

    def path_game(self, *, limit: int = 10_000) -> CongestionGame:
        """The same game with every simple path written out, for small networks.

        Args:
            limit: the largest number of paths.

        Raises:
            BudgetError: there are more.
        """
        graph = nx.MultiDiGraph()
        graph.add_nodes_from(range(self.search.size))
        for link, (tail, head) in enumerate(zip(self.search.tail, self.head, strict=True)):
            graph.add_edge(int(tail), int(head), key=link)
        rows, columns, types = [], [], []
        for od, (start, end) in enumerate(zip(self.search.starts[self.search.row], self.destination, strict=True)):
            edges: Any = nx.all_simple_edge_paths(graph, int(start), int(end))
            for path in edges:
                if len(types) == limit:
                    raise BudgetError(
                        f"{self.name} has more than {limit:,} simple paths. Use user_equilibrium(network), which generates paths "
                        "as they are needed, or raise limit."
                    )
                rows += [len(types)] * len(path)
                columns += [edge for _, _, edge in path]
                types.append(od)
        rates = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(types), self.links))
        return CongestionGame(rates, types, self.demand, self.costs)

    def _require_sizes(self) -> None:
        if len(self.tail) != len(self.head) or len(self.tail) != len(self.costs.constant):
            raise ShapeError(
                f"{self.name}: {len(self.tail)} tails, {len(self.head)} heads and {len(self.costs.constant)} costs; one each per link."
            )
        if not len(self.origin) == len(self.destination) == len(self.demand):
            raise ShapeError(f"{self.name}: origin, destination and demand must have one entry per pair.")
        ends = np.concatenate([self.tail, self.head, self.origin, self.destination])
        if ends.size and (ends.min() < 0 or ends.max() >= self.nodes):
            raise InputError(f"{self.name}: node {ends.min() if ends.min() < 0 else ends.max()} is outside 0..{self.nodes - 1}.")

    def _require_values(self) -> None:
        bad = ~np.isfinite(self.demand) | (self.demand < 0)
        if bad.any():
            od = int(np.argmax(bad))
            raise InputError(
                f"{self.name}: the demand from node {self.origin[od]} to node {self.destination[od]} is {self.demand[od]:g}; "
                "demands are finite and at least 0."
            )
        if (self.costs.constant < 0).any():
            link = int(np.argmin(self.costs.constant))
            raise InputError(
                f"{self.name}: link {link} costs {self.costs.constant[link]:g} when empty; shortest paths need costs of at least 0."
            )

    def _require_reachable(self) -> None:
        if not self.demand.size:
            raise InputError(f"{self.name} has no positive demand between two different nodes; there is nothing to assign.")
        distance, _ = self.search.trees(self.costs.value(np.zeros(self.links)))
        lost = ~np.isfinite(distance[self.search.row, self.destination])
        if lost.any():
            od = int(np.argmax(lost))
            raise InputError(
                f"{self.name}: no path leads from node {self.origin[od]} to node {self.destination[od]}, which {self.demand[od]:g} "
                f"want to travel ({int(lost.sum())} pairs are cut off; nodes below {self.first_thru} may not be passed through)."
            )


class SearchGraph:
    """Shortest-path trees from all origins, by scipy's Dijkstra, as predecessor links.

    Attributes:
        size: nodes, with the copies of zones.
        tail: start node of each link here, ``(e,)``.
        starts: one node for each distinct origin, ``(o,)``.
        row: for each demand, the index of its origin in `starts`, ``(od,)``.
    """

    def __init__(self, network: RoadNetwork) -> None:
        closed = network.first_thru
        self.size = network.nodes + closed
        self.tail = np.where(network.tail < closed, network.tail + network.nodes, network.tail)
        origins, self.row = np.unique(network.origin, return_inverse=True)
        self.starts = np.where(origins < closed, origins + network.nodes, origins)
        keys = self.tail * self.size + network.head
        self._pairs, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        self._parallel = len(self._pairs) < network.links
        self._first, self._inverse = first, inverse
        self._heads = (self._pairs % self.size).astype(np.int32)
        self._pointers = np.searchsorted(self._pairs, np.arange(self.size + 1) * self.size).astype(np.int32)

    def trees(self, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances ``(o, node)`` and the last link of each shortest path, -1 at the start and where none leads."""
        chosen = self._cheapest(costs)
        graph = sparse.csr_array((costs[chosen], self._heads, self._pointers), shape=(self.size, self.size))
        distance, before = dijkstra(graph, indices=self.starts, return_predecessors=True)
        known = before >= 0
        keys = before.astype(np.int64) * self.size + np.arange(self.size)
        links = np.full(before.shape, -1, dtype=np.int64)
        links[known] = chosen[np.searchsorted(self._pairs, keys[known])]
        return distance, links

    def _cheapest(self, costs: np.ndarray) -> np.ndarray:
        """For each pair of nodes that a link joins, the cheapest such link."""
        if not self._parallel:
            return self._first
        order = np.lexsort((costs, self._inverse))
        return order[np.searchsorted(self._inverse[order], np.arange(len(self._pairs)))]
