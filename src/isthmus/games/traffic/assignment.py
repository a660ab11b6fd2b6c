"""User equilibrium, system optimum, price of anarchy and tolls of a road network."""

import time
from typing import Protocol

import numpy as np

from isthmus._core.status import Status
from isthmus.games.traffic.network import RoadNetwork
from isthmus.games.traffic.paths import GradientProjection, PathSet
from isthmus.model.problem import versions
from isthmus.results.games import TrafficAssignment
from isthmus.results.provenance import Cost, Provenance


class TrafficSolver(Protocol):
    """A method that assigns a network's demand to its links."""

    @property
    def name(self) -> str:
        """What records call it."""
        ...

    def solve(self, network: RoadNetwork, tolerance: float) -> tuple[np.ndarray, list[float], PathSet | None]:
        """Link flows, the relative gap at each iteration, and path flows where the method has them."""
        ...


def user_equilibrium(network: RoadNetwork, *, solver: TrafficSolver | None = None, tolerance: float = 1e-10) -> TrafficAssignment:
    """Flows at which no traveler has a cheaper path: the minimum of ``sum_e int_0^{x_e} c_e``.

    Args:
        network: roads and demand.
        solver: `GradientProjection` (default, to rounding error), `ConjugateFrankWolfe`, or `traffic.convex.ConvexProgram`.
        tolerance: on the relative gap ``(c.x - sum q dist) / c.x``.

    Returns:
        Link flows and costs, potential, total cost and gaps; `status` says whether the tolerance was met.
    """
    return _assigned(network, network, solver or GradientProjection(), tolerance, "user equilibrium")


def system_optimum(network: RoadNetwork, *, solver: TrafficSolver | None = None, tolerance: float = 1e-10) -> TrafficAssignment:
    """Flows of least total cost ``sum_e x_e c_e``, as the equilibrium under marginal costs.

    Args:
        network: roads and demand.
        solver: as in `user_equilibrium`.
        tolerance: on the relative gap under marginal costs.
    """
    priced = network.with_costs(network.costs.marginal())
    return _assigned(network, priced, solver or GradientProjection(), tolerance, "system optimum")


def traffic_anarchy(network: RoadNetwork, *, tolerance: float = 1e-10) -> float:
    """The price of anarchy: total cost at user equilibrium over the least total cost."""
    return user_equilibrium(network, tolerance=tolerance).total_cost / system_optimum(network, tolerance=tolerance).total_cost


def traffic_tolls(network: RoadNetwork, *, tolerance: float = 1e-10) -> np.ndarray:
    """``x*_e c'_e(x*_e)`` at the system optimum, ``(e,)``; with these tolls it is a user equilibrium."""
    flow = system_optimum(network, tolerance=tolerance).flow
    return network.costs.marginal().value(flow) - network.costs.value(flow)


def _assigned(
    network: RoadNetwork, priced: RoadNetwork, solver: TrafficSolver, tolerance: float, objective: str
) -> TrafficAssignment:
    started = time.perf_counter()
    flow, gaps, paths = solver.solve(priced, tolerance)
    price = priced.costs.value(flow)
    distance, _ = priced.search.trees(price)
    least = float(network.demand @ distance[priced.search.row, network.destination])
    absolute = float(price @ flow) - least
    relative = absolute / float(price @ flow) if price @ flow > 0 else 0.0
    return TrafficAssignment(
        tail=network.tail,
        head=network.head,
        flow=flow,
        cost_per_unit=network.costs.value(flow),
        gap_history=np.array(gaps),
        objective=objective,
        potential=priced.costs.potential(flow),
        total_cost=float(network.costs.value(flow) @ flow),
        gap=absolute,
        relative_gap=relative,
        average_excess=absolute / float(network.demand.sum()),
        used_paths=int((paths.flow > 0).sum()) if paths is not None else -1,
        status=Status.CONVERGED if relative <= tolerance else Status.MAX_STEPS,
        method=f"{solver.name}, {len(gaps)} iterations, tolerance {tolerance:g} on the relative gap",
        error="potential - minimum <= gap, by convexity",
        cost=Cost(matvecs=len(gaps), seconds=time.perf_counter() - started),
        provenance=Provenance(versions=versions(), dtype="float64", device="cpu"),
    )
