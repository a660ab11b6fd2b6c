"""A network and its data as a routing game: inputs send flow along signed paths, the loss prices the outputs.

Player type j is an input entry (all biases together are one more type); its strategies are the paths from j, with a sign;
the flow on a path is ``|v_p|``, the product of its weights; resources are pairs of a sample m and an output k, used at the
rate ``x_j^m A_p^m``. Loads are then the network's outputs. One routing serves all samples, as one set of weights does.
"""

from typing import Literal

import numpy as np

from isthmus._core.errors import HypothesisError
from isthmus._core.plan import Plan
from isthmus.games.braess import Level, braess_scan
from isthmus.games.certificate import PriceKind, certificate, exact_cost
from isthmus.games.congestion import CongestionGame
from isthmus.games.equilibrium import price_of_anarchy, social_optimum, wardrop_equilibrium
from isthmus.games.flows import kirchhoff_residual, path_flows
from isthmus.games.played import PlayedNetwork
from isthmus.games.solvers import Solver
from isthmus.games.strategies import strategy_game
from isthmus.results.games import BraessScan, Certificate, GameEquilibrium, PathFlows


class PathGame(PlayedNetwork):
    """The routing game of a network on its training data.

    Args:
        problem: network, data and loss; taken to float64 and evaluation mode.
        cost: ``"marginal"``: prices are ``dL/dyhat``, the loss is the potential, and equilibrium is optimality;
            ``"average"``: ``l c(l) = L(l) - L(0)``, the loss is the social cost (squared loss only).
        gates: ``"frozen"``: ReLU gates stay as they are at these parameters, so that statements are about one linear piece;
            ``"linear"``: insists that the network has no gates, so that they are about the network.
        signed: path values may have either sign, with a budget on the L1 norm (ordinary networks); False: all weights
            are nonnegative, and budgets are spent in full (linear networks only).

    Raises:
        UnsupportedLayer: the network is no path network.
        HypothesisError: average costs for a loss that is not squared, a loss not known to be convex, gates where
            ``"linear"`` was asked for, or negative weights in an unsigned game.
    """

    @property
    def kirchhoff_residual(self) -> float:
        """How exactly ``sum_in w dL/dw = sum_out w dL/dw`` holds at hidden units, relative to the largest side."""
        return kirchhoff_residual(self)

    def certificate(self, *, budgets: np.ndarray | None = None, prices: PriceKind = "bound", limit: float = 2e12) -> Certificate:
        """Loss, gap and what it certifies: ``L - L*_R <= gap = sum_j [used_j + R_j price_j]``.

        Args:
            budgets: R_j for each input entry and the biases, ``(t,)``; by default the network's own path norms pi_j. Rivals
                are all networks (with these gates) whose input-wise path norms stay within.
            prices: ``"bound"``: an upper bound on each price, valid and cheap; ``"exact"``: by branch and bound. Networks
                without gates are always exact.
            limit: for exact prices, the most floating-point operations that their worst case may take.

        Raises:
            InputError: a budget below the network's own path norm.
            BudgetError: exact prices may take more than `limit`.
        """
        return certificate(self, budgets=budgets, prices=prices, limit=limit)

    def plan(self) -> Plan:
        """What exact prices would cost at worst, after bounding: the number that `certificate(limit=)` is compared with."""
        return exact_cost(self)

    def flows(self, *, top: int = 40, seed: int = 0) -> PathFlows:
        """Flows through edges and units, conservation, normal form, counts, and the strongest paths.

        Args:
            top: how many single paths to list.
            seed: names the draws behind `share_for_90`.
        """
        return path_flows(self, top=top, seed=seed)

    def strategies(self, *, limit: int = 20_000) -> CongestionGame:
        """The game with its strategies written out, as a `CongestionGame`.

        Args:
            limit: most strategies.

        Raises:
            BudgetError: there are more; then only `certificate` and `flows` are within reach.
        """
        return strategy_game(self, limit=limit)

    def equilibrate(self, *, solver: Solver | None = None, tolerance: float = 1e-9) -> GameEquilibrium:
        """An equilibrium of the game at budgets pi_j: what the best network within them (and these gates) would output.

        Args:
            solver: as in `games.equilibrium.wardrop_equilibrium`.
            tolerance: on the gap, in units of the loss.
        """
        return wardrop_equilibrium(self.strategies(), solver=solver, tolerance=tolerance)

    def price_of_anarchy(self, *, shift: float | None = None, tolerance: float = 1e-9) -> float:
        """Social cost at equilibrium over its minimum, in the unsigned game with average costs.

        Args:
            shift: in units of the targets; every average cost ``(l / 2 - y)`` becomes ``(l / 2 - y + shift)``. It moves no
                equilibrium and makes costs nonnegative, but it changes the ratio: quote it. By default the largest target.
            tolerance: on both gaps.

        Raises:
            HypothesisError: the game is signed, or its costs are marginal.
        """
        if self.signed or self.costs.kind != "average":
            raise HypothesisError(
                "A price of anarchy is defined for PathGame(..., cost='average', signed=False): with signed paths a shift of the "
                "costs changes the equilibrium, and under marginal costs the loss is the potential, not the social cost."
            )
        size = float(self.problem.targets.max()) if shift is None else shift
        return price_of_anarchy(self.strategies(), shift=2 * size / self.problem.normalizer, tolerance=tolerance)

    def tolls(self, *, tolerance: float = 1e-9) -> np.ndarray:
        """``l* c'(l*)`` for each sample and output at the social optimum of average costs, ``(n, c)``.

        Charged on the outputs they make the best network within the budgets an equilibrium.

        Raises:
            HypothesisError: the costs are marginal.
        """
        best = social_optimum(self.strategies(), tolerance=tolerance)[0]
        marginal = self.costs.marginal().value(best.loads)
        return (marginal - self.costs.value(best.loads)).reshape(self.outputs.shape)

    def braess_scan(self, *, level: Level = "unit", on: Literal["train", "heldout"] = "train", limit: int = 512) -> BraessScan:
        """The loss without each unit, edge or layer: does removing a road help?

        Args:
            level: ``"unit"`` (neurons or channels), ``"edge"`` (weights), ``"layer"`` (a hidden map that keeps its shape is
                bypassed).
            on: training or test data.
            limit: the most removals, taken by flow, strongest first.

        Raises:
            InputError: no test data, or nothing of that level can be removed.
        """
        return braess_scan(self, level=level, on=on, limit=limit)
