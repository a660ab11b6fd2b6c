"""Equilibrium, social optimum, price of anarchy and tolls of a congestion game."""

import time

import numpy as np

from isthmus._core.errors import InputError
from isthmus._core.status import Status
from isthmus.games.congestion import CongestionGame
from isthmus.games.solvers import ProjectedGradient, Solver
from isthmus.model.problem import versions
from isthmus.results.games import GameEquilibrium
from isthmus.results.provenance import Cost, Provenance


def wardrop_equilibrium(
    game: CongestionGame, *, solver: Solver | None = None, tolerance: float = 1e-9, start: np.ndarray | None = None
) -> GameEquilibrium:
    """A Wardrop equilibrium: a flow at which no used strategy is dearer than another of its type.

    It minimizes Beckmann's potential ``Phi = sum_e int_0^{l_e} c_e``. Loads are unique where costs strictly increase;
    flows need not be.

    Args:
        game: the game.
        solver: `ProjectedGradient` (default), `MirrorDescent` or `FrankWolfe`.
        tolerance: on the absolute gap, which bounds ``Phi - min Phi``; in units of cost times mass.
        start: first flow; uniform by default.

    Returns:
        Flows, loads, costs, potential and gap, in float64; `status` says whether the tolerance was met.
    """
    started = time.perf_counter()
    method: Solver = solver or ProjectedGradient()
    first = game.uniform() if start is None else np.asarray(start, dtype=np.float64)
    flows, potentials, gaps = method.solve(game, tolerance, first)
    gap = game.gap(flows)
    return GameEquilibrium(
        flows=flows,
        types=game.types,
        loads=game.loads(flows),
        strategy_costs=game.strategy_costs(flows),
        demands=game.demands,
        potential_history=np.array(potentials),
        gap_history=np.array(gaps),
        potential=game.potential(flows),
        social_cost=game.social_cost(flows),
        gap=gap.absolute,
        relative_gap=gap.relative,
        average_excess=gap.average_excess,
        status=Status.CONVERGED if gap.absolute <= tolerance else Status.MAX_STEPS,
        method=f"{method.name}, {len(gaps) - 1} steps, tolerance {tolerance:g} on the absolute gap",
        error="potential - minimum <= gap, by convexity",
        cost=Cost(matvecs=len(gaps) - 1, seconds=time.perf_counter() - started),
        provenance=Provenance(versions=versions(), dtype="float64", device="cpu"),
    )


def social_optimum(
    game: CongestionGame, *, solver: Solver | None = None, tolerance: float = 1e-9
) -> tuple[GameEquilibrium, float]:
    """The flow of least social cost, as the equilibrium under marginal costs ``c + l c'``, and that cost.

    Args:
        game: the game; its costs must have marginal costs that are a gradient.
        solver: as in `wardrop_equilibrium`.
        tolerance: bound on social cost - its minimum.

    Returns:
        The equilibrium of the marginal game, and the social cost of its flow in `game` itself.
    """
    found = wardrop_equilibrium(game.with_costs(game.costs.marginal()), solver=solver, tolerance=tolerance)
    return found, game.social_cost(found.flows)


def price_of_anarchy(game: CongestionGame, *, shift: float = 0.0, tolerance: float = 1e-9) -> float:
    """Social cost at equilibrium over its minimum, with `shift` added to every resource's cost.

    Args:
        game: the game.
        shift: a constant that makes costs nonnegative. It moves no equilibrium while total loads are fixed, but it
            changes this ratio: quote it with the number.
        tolerance: on both gaps.

    Raises:
        InputError: the least social cost is not positive, where a ratio says nothing.
    """
    shifted = game.with_costs(game.costs.shifted(shift))
    selfish = wardrop_equilibrium(shifted, tolerance=tolerance).social_cost
    best = social_optimum(shifted, tolerance=tolerance)[1]
    if best <= 0:
        raise InputError(
            f"The least social cost is {best:.6g} with shift={shift:g}, so a price of anarchy has no meaning. Pass a shift "
            "that makes every cost nonnegative, and quote it."
        )
    return selfish / best


def marginal_tolls(game: CongestionGame, *, tolerance: float = 1e-9) -> np.ndarray:
    """``l*_e c'_e(l*_e)`` at the social optimum, ``(e,)``: charged on the resources, they make it an equilibrium."""
    best = social_optimum(game, tolerance=tolerance)[0]
    return game.costs.marginal().value(best.loads) - game.costs.value(best.loads)
