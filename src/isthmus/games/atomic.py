"""Atomic congestion games: finitely many players, each choosing one strategy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isthmus._core.errors import InputError
from isthmus.games.costs import MonomialCosts


@dataclass(frozen=True)
class AtomicGame:
    """Players of weight one; a strategy is a set of resources, and each resource costs ``c_e(number of users)``.

    Attributes:
        strategies: for each player, its strategies as collections of resource indices.
        costs: of the resources.
    """

    strategies: Sequence[Sequence[Sequence[int]]]
    costs: MonomialCosts

    def __post_init__(self) -> None:
        if not self.strategies or any(len(mine) == 0 for mine in self.strategies):
            raise InputError("Every player needs at least one strategy.")

    def loads(self, profile: Sequence[int]) -> np.ndarray:
        """Users of each resource, ``(e,)``."""
        used = [e for mine, choice in zip(self.strategies, profile, strict=True) for e in mine[choice]]
        return np.bincount(np.array(used, dtype=np.int64), minlength=len(self.costs.constant)).astype(np.float64)

    def potential(self, profile: Sequence[int]) -> float:
        """Rosenthal's potential ``sum_e sum_{i=1}^{n_e} c_e(i)``; a player's gain from a change is its decrease."""
        loads = self.loads(profile)
        return float(sum(self.costs.value(np.minimum(loads, i))[loads >= i].sum() for i in range(1, int(loads.max()) + 1)))

    def player_costs(self, profile: Sequence[int]) -> np.ndarray:
        """What each player pays, ``(players,)``."""
        paid = self.costs.value(self.loads(profile))
        return np.array([paid[list(mine[c])].sum() for mine, c in zip(self.strategies, profile, strict=True)])

    def best_response(self, profile: Sequence[int], player: int) -> tuple[int, float]:
        """The player's cheapest strategy against the others, and what it would pay."""
        others = list(profile)
        loads = self.loads(others) - _indicator(self.strategies[player][profile[player]], len(self.costs.constant))
        paid = [
            float(self.costs.value(loads + _indicator(option, len(loads)))[list(option)].sum())
            for option in self.strategies[player]
        ]
        best = int(np.argmin(paid))
        return best, paid[best]


def pure_equilibrium(game: AtomicGame, profile: Sequence[int] | None = None) -> tuple[list[int], int]:
    """A pure Nash equilibrium by best responses, which must end because each lowers Rosenthal's potential.

    Args:
        game: the game.
        profile: where to start; everybody's first strategy by default.

    Returns:
        The profile, and how many moves led there.
    """
    chosen, moves, settled = list(profile or [0] * len(game.strategies)), 0, 0
    player = 0
    while settled < len(game.strategies):
        best, paid = game.best_response(chosen, player)
        if paid < game.player_costs(chosen)[player] - 1e-12:
            chosen[player], moves, settled = best, moves + 1, 0
        else:
            settled += 1
        player = (player + 1) % len(game.strategies)
    return chosen, moves


def _indicator(resources: Sequence[int], size: int) -> np.ndarray:
    marks = np.zeros(size)
    marks[list(resources)] = 1.0
    return marks
