"""Records of the view of games."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class GameEquilibrium(Record):
    """A flow of a congestion game with its distance from equilibrium.

    Attributes:
        flows: mass on each strategy, ``(s,)``.
        types: player type of each strategy.
        loads: of the resources, ``(e,)``.
        strategy_costs: ``(s,)``.
        demands: mass of each type, ``(t,)``.
        potential_history: Beckmann's potential at each iteration, ``(i,)``.
        gap_history: absolute gap at each iteration.
        potential: at the end.
        social_cost: ``sum_e l_e c_e`` at the end.
        gap: absolute Wardrop gap, a bound on potential - minimum.
        relative_gap: gap over ``sum_p f_p C_p``; NaN when this is not positive.
        average_excess: gap over the total mass.
    """

    schema: ClassVar[str] = "games/equilibrium"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "flows": ("s",),
        "types": ("s",),
        "loads": ("e",),
        "strategy_costs": ("s",),
        "demands": ("t",),
        "potential_history": ("i",),
        "gap_history": ("i",),
    }

    flows: np.ndarray
    types: np.ndarray
    loads: np.ndarray
    strategy_costs: np.ndarray
    demands: np.ndarray
    potential_history: np.ndarray
    gap_history: np.ndarray
    potential: float
    social_cost: float
    gap: float
    relative_gap: float
    average_excess: float


@dataclass(frozen=True, kw_only=True)
class TrafficAssignment(Record):
    """Link flows of a road network.

    Attributes:
        tail: start node of each link, ``(e,)``.
        head: end node.
        flow: traffic on each link.
        cost_per_unit: what a traveler pays on it, tolls of the marginal problem not included.
        gap_history: relative gap at each iteration, ``(i,)``.
        objective: ``"user equilibrium"`` or ``"system optimum"``.
        potential: what was minimized: ``sum int c`` at equilibrium, the total cost at the optimum.
        total_cost: ``sum_e x_e c_e``.
        gap: absolute, in units of cost times traffic; a bound on potential - minimum.
        relative_gap: ``(c.x - sum q dist) / c.x`` under the costs of the objective.
        average_excess: gap over total demand.
        used_paths: paths with flow; -1 when the solver keeps link flows only.
    """

    schema: ClassVar[str] = "games/traffic"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "tail": ("e",),
        "head": ("e",),
        "flow": ("e",),
        "cost_per_unit": ("e",),
        "gap_history": ("i",),
    }

    tail: np.ndarray
    head: np.ndarray
    flow: np.ndarray
    cost_per_unit: np.ndarray
    gap_history: np.ndarray
    objective: str
    potential: float
    total_cost: float
    gap: float
    relative_gap: float
    average_excess: float
    used_paths: int
