"""A path game with its strategies written out, for solvers."""

import itertools
import math

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from isthmus._core.errors import BudgetError
from isthmus.games.congestion import CongestionGame
from isthmus.games.played import PlayedNetwork
from isthmus.games.prices import Terms, price_terms


def strategy_game(game: PlayedNetwork, *, limit: int) -> CongestionGame:
    """See `PathGame.strategies`.

    Paths that differ in open gates only act alike and are one strategy; so a linear network has one for each input,
    output and sign. In the signed game each type also has a strategy that uses nothing, for the budget it leaves unspent.
    """
    terms = price_terms(game.chain, game.problem.inputs, game.prices)
    size = _count(terms) * game.outputs.shape[1] * (2 if game.signed else 1)
    if size > limit or (terms.masks and not game.chain.dense):
        what = f"about {size:,} strategies" if size > limit else "gated convolutions, whose paths are not written out"
        raise BudgetError(
            f"The game has {what} (limit {limit:,}). Use certificate() and flows(), which never list paths; or a smaller network, or "
            "raise limit."
        )
    rates, types = _rates(terms)
    reach = np.concatenate([terms.reach.numpy(), np.ones((1, terms.reach.shape[1]), dtype=bool)])
    column, output = np.nonzero(reach[types])
    signs = np.ones(len(column))
    if game.signed:
        dumps = np.array([np.flatnonzero(types == t)[0] if (types == t).any() else 0 for t in range(len(game.demands))])
        kinds = np.concatenate([types[column], types[column], np.arange(len(game.demands))])
        column, output = np.concatenate([column, column, dumps]), np.concatenate([output, output, 0 * dumps])
        signs = np.concatenate([signs, -signs, np.zeros(len(dumps))])
        demands = game.demands.numpy()
    else:
        present = np.unique(types[column])
        kinds = np.searchsorted(present, types[column])
        demands = game.demands.numpy()[present]
    order = np.argsort(kinds, kind="stable")
    operator = _operator(rates, column[order], output[order], signs[order], game.outputs.shape[1])
    return CongestionGame(operator, kinds[order], demands, game.costs)


def _count(terms: Terms) -> int:
    widths = [mask.shape[1] for mask in terms.masks]
    return terms.inputs.shape[1] * math.prod(widths) + sum(math.prod(widths[entry:]) for entry in terms.entries)


def _rates(terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    """``x_j^m A^m`` for every choice of units, ``(n, q)``, and each column's type."""
    columns: list[Tensor] = []
    types: list[int] = []
    bias = terms.inputs.shape[1]
    for t in range(bias):
        for gate in _gates(terms, 0):
            columns.append(terms.inputs[:, t] * gate)
            types.append(t)
    for entry in terms.entries:
        for gate in _gates(terms, entry):
            columns.append(gate)
            types.append(bias)
    return torch.stack(columns, dim=1).numpy(), np.array(types)


def _gates(terms: Terms, first: int) -> list[Tensor]:
    ones = torch.ones(len(terms.inputs), dtype=torch.float64)
    units = (range(mask.shape[1]) for mask in terms.masks[first:])
    return [
        math.prod((mask[:, u] for mask, u in zip(terms.masks[first:], way, strict=True)), start=ones)
        for way in itertools.product(*units)
    ]


def _operator(rates: np.ndarray, column: np.ndarray, output: np.ndarray, signs: np.ndarray, outputs: int) -> LinearOperator:
    """Strategies by resources: row s is ``sign_s rates[:, column_s]`` at output_s; nothing dense is formed."""
    samples, width = rates.shape
    where = column * outputs + output

    def costs(resources: np.ndarray) -> np.ndarray:
        return signs * (rates.T @ resources.reshape(samples, outputs)).reshape(-1)[where]

    def loads(flows: np.ndarray) -> np.ndarray:
        table = np.bincount(where, signs * flows.reshape(-1), minlength=width * outputs).reshape(width, outputs)
        return (rates @ table).reshape(-1)

    return LinearOperator((len(column), samples * outputs), matvec=costs, rmatvec=loads, dtype=np.float64)  # pyright: ignore
