"""Nonatomic congestion games with consumption rates: loads, costs, potential and gap of a flow.

Player types j are continua of mass r_j; strategy p of type j carries a flow f_p >= 0 with ``sum_p f_p = r_j`` and uses
resource e at the rate a_pe. Loads are ``l_e = sum_p a_pe f_p``, strategy costs ``C_p = sum_e a_pe c_e(l)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from isthmus._core.errors import InputError, ShapeError
from isthmus.games.costs import Costs


@dataclass(frozen=True)
class WardropGap:
    """How far a flow is from equilibrium; zero exactly there.

    Attributes:
        absolute: ``sum_j [sum_{p in j} f_p C_p - r_j min_{p in j} C_p]``, a bound on potential - its minimum.
        relative: that over ``sum_p f_p C_p``; NaN when this is not positive, where a ratio says nothing.
        average_excess: that over ``sum_j r_j``.
        by_type: the terms, ``(t,)``.
    """

    absolute: float
    relative: float
    average_excess: float
    by_type: np.ndarray


class CongestionGame:
    """A congestion game with its strategies written out.

    Args:
        rates: consumption ``a_pe``, ``(s, e)``: an array, a sparse matrix, or a scipy LinearOperator.
        types: the player type of each strategy, ``(s,)``, numbered from 0.
        demands: mass r_j of each type, ``(t,)``.
        costs: of the resources.

    Raises:
        InputError: a negative or non-finite demand, or a type without a strategy.
        ShapeError: sizes that do not fit.
    """

    def __init__(
        self, rates: Any, types: Sequence[int] | np.ndarray, demands: Sequence[float] | np.ndarray, costs: Costs
    ) -> None:
        self.matrix = rates if sparse.issparse(rates) or isinstance(rates, LinearOperator) else np.atleast_2d(rates)
        self.rates = aslinearoperator(self.matrix)
        self.types = np.asarray(types, dtype=np.int64)
        self.demands = np.asarray(demands, dtype=np.float64)
        self.costs = costs
        if self.types.shape != (self.rates.shape[0],):
            raise ShapeError(f"There are {self.rates.shape[0]} strategies and {self.types.size} types; each needs one.")
        if not np.isfinite(self.demands).all() or (self.demands < 0).any():
            worst = int(np.argmin(np.where(np.isfinite(self.demands), self.demands, -np.inf)))
            raise InputError(f"The demand of type {worst} is {self.demands[worst]:g}; a mass is finite and at least 0.")
        count = np.bincount(self.types, minlength=len(self.demands))
        if len(count) != len(self.demands) or (count == 0).any():
            raise InputError(
                f"Every one of the {len(self.demands)} types needs a strategy; strategies exist for {np.unique(self.types)}."
            )

    def loads(self, flows: np.ndarray) -> np.ndarray:
        """``l = A^T f``, ``(e,)``."""
        return self.rates.rmatvec(flows)

    def strategy_costs(self, flows: np.ndarray) -> np.ndarray:
        """``C = A c(l)``, ``(s,)``; also the gradient of the potential in the flows."""
        return self.rates.matvec(self.costs.value(self.loads(flows)))

    def potential(self, flows: np.ndarray) -> float:
        """Beckmann's potential, convex; its minima are the equilibria."""
        return self.costs.potential(self.loads(flows))

    def social_cost(self, flows: np.ndarray) -> float:
        """``sum_p f_p C_p = sum_e l_e c_e``."""
        loads = self.loads(flows)
        return float(loads @ self.costs.value(loads))

    def gap(self, flows: np.ndarray) -> WardropGap:
        """The Wardrop gap, which is the Frank-Wolfe gap of the potential."""
        costs = self.strategy_costs(flows)
        best = np.full(len(self.demands), np.inf)
        np.minimum.at(best, self.types, costs)
        excess = np.zeros(len(self.demands))
        np.add.at(excess, self.types, flows * (costs - best[self.types]))
        absolute, total = float(excess.sum()), float(flows @ costs)
        mass = float(self.demands.sum())
        return WardropGap(absolute, absolute / total if total > 0 else np.nan, absolute / mass if mass > 0 else 0.0, excess)

    def uniform(self) -> np.ndarray:
        """Each type's mass spread evenly over its strategies."""
        return (self.demands / np.bincount(self.types))[self.types]

    def best_response(self, costs: np.ndarray) -> np.ndarray:
        """All of each type's mass on its cheapest strategy (the first of equals)."""
        order = np.lexsort((costs, self.types))
        first = order[np.searchsorted(self.types[order], np.arange(len(self.demands)))]
        flows = np.zeros(len(costs))
        flows[first] = self.demands
        return flows

    def with_costs(self, costs: Costs) -> "CongestionGame":
        """The same strategies and demands under other costs."""
        return CongestionGame(self.matrix, self.types, self.demands, costs)

    def without(self, strategies: Sequence[int] | np.ndarray) -> "CongestionGame":
        """The game with some strategies forbidden; each type must keep one."""
        keep = np.setdiff1d(np.arange(len(self.types)), strategies)
        if isinstance(self.matrix, LinearOperator):
            raise InputError("Strategies of a game given by a LinearOperator cannot be deleted; pass an array of rates.")
        return CongestionGame(self.matrix[keep], self.types[keep], self.demands, self.costs)
