"""The equilibrium certificate of a path game."""

import math
import time
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import BudgetError, HypothesisError, InputError, ShapeError
from isthmus._core.plan import Plan
from isthmus._core.status import Status
from isthmus.games.played import PlayedNetwork
from isthmus.games.prices import Bound, Terms, adjacency, bound_contributions, price_terms, upper_prices
from isthmus.games.search import Found, beam_prices, exact_plan, exact_prices
from isthmus.games.sums import weight_gradients
from isthmus.model.problem import provenance
from isthmus.results.games import Certificate
from isthmus.results.provenance import Cost

PriceKind = Literal["bound", "exact"]
_EQUILIBRIUM = 1e-6


def certificate(game: PlayedNetwork, *, budgets: np.ndarray | None, prices: PriceKind, limit: float) -> Certificate:
    """See `PathGame.certificate`."""
    started = time.perf_counter()
    limits = _budgets(game, budgets)
    terms = price_terms(game.chain, game.problem.inputs, game.prices)
    if not game.signed:
        return _unsigned(game, terms, limits, started)
    bound = upper_prices(terms)
    found, joined = _searched(game, terms, bound)
    if terms.masks and prices == "exact":
        found = exact_prices(terms, bound, joined, _required(found), limit=limit)
        by_sample = _path_contributions(terms, found, limits)
        return _record(game, terms, limits, found.value, found.output, by_sample, found, found.value, "exact", started)
    by_sample, kind = bound_contributions(terms, bound, limits), "upper_bound" if terms.masks else "exact"
    lower = found.value if found is not None else torch.zeros_like(bound.value)
    return _record(game, terms, limits, bound.value, bound.output, by_sample, found, lower, kind, started)


def exact_cost(game: PlayedNetwork) -> Plan:
    """See `PathGame.plan`."""
    terms = price_terms(game.chain, game.problem.inputs, game.prices)
    bound = upper_prices(terms)
    return exact_plan(terms, bound, _required(_searched(game, terms, bound)[0]))


def _budgets(game: PlayedNetwork, budgets: np.ndarray | None) -> Tensor:
    own = game.demands
    if budgets is None:
        return own
    given = torch.as_tensor(np.asarray(budgets), dtype=torch.float64)
    if given.shape != own.shape:
        raise ShapeError(
            f"Budgets have shape {tuple(given.shape)}; needed is one for each of {len(own) - 1} input entries and one for the biases."
        )
    short = given < own * (1 - 1e-9)
    if bool(short.any()):
        j = int(short.nonzero()[0])
        raise InputError(
            f"The budget of type {j} is {float(given[j]):.6g}, below the network's own path norm {float(own[j]):.6g}; then the network "
            "itself is no rival, and the gap certifies nothing. Raise it, or leave budgets out."
        )
    if not game.signed and bool((given > own * (1 + 1e-9)).any()):
        raise HypothesisError(
            "In the unsigned game budgets are spent in full: they are the network's own path norms. Leave them out."
        )
    return given


def _searched(game: PlayedNetwork, terms: Terms, bound: Bound) -> tuple[Found | None, list[Tensor] | None]:
    """Actual paths of large price, where single paths are within reach."""
    try:
        joined = adjacency(game.chain)
    except BudgetError:
        return None, None
    return beam_prices(terms, bound, joined), joined


def _required(found: Found | None) -> Found:
    if found is None:
        raise BudgetError(
            "Exact prices need the network's convolutions written out, which is too large here. Use prices='bound'."
        )
    return found


def _path_contributions(terms: Terms, paths: Found, budgets: Tensor) -> Tensor:
    """Each sample's share of ``sum_t budget_t |C_p(t)|`` for the paths found, ``(n,)``."""
    total = torch.zeros(len(terms.costs), dtype=torch.float64)
    for t in range(len(budgets)):
        is_input = t < terms.inputs.shape[1]
        costs = terms.costs if is_input else terms.bias_costs
        share = costs[:, paths.output[t]] * (terms.inputs[:, t] if is_input else 1.0)
        for level, unit in enumerate(paths.units[t].tolist()):
            share = share * terms.masks[level][:, unit] if unit >= 0 else share
        total += budgets[t] * torch.sign(paths.cost[t]) * share
    return total


def _record(
    game: PlayedNetwork,
    terms: Terms,
    budgets: Tensor,
    value: Tensor,
    output: Tensor,
    by_sample: Tensor,
    found: Found | None,
    lower: Tensor,
    kind: str,
    started: float,
) -> Certificate:
    used, outputs = game.values.types, game.outputs
    by_input = used + budgets * value
    by_output = (game.prices * outputs).sum(dim=0)
    by_output.index_add_(0, output, budgets * value)
    path, gain, sign = _best(used, budgets, found, terms)
    gap = float(by_input.sum())
    norm = _gradient_norm(game)
    loss = game.costs.loss(outputs.numpy())
    node_gap = _node_gap(game) if not game.signed else float("nan")
    stationary = norm <= _EQUILIBRIUM * (1 + abs(loss)) if game.signed else node_gap <= _EQUILIBRIUM
    return Certificate(
        used=used.numpy().copy(),
        budgets=budgets.numpy().copy(),
        price_upper=value.numpy().copy(),
        price_lower=lower.numpy().copy(),
        gap_by_input=by_input.numpy(),
        gap_by_output=by_output.numpy(),
        gap_by_sample=((game.prices * outputs).sum(dim=1) + by_sample).numpy(),
        best_path=np.array(path, dtype=np.int64),
        best_path_gain=gain,
        best_path_sign=sign,
        loss=loss,
        potential=loss if game.costs.kind == "marginal" else game.costs.potential(outputs.numpy()),
        gap=gap,
        gap_lower=float((used + budgets * lower).sum()),
        path_norm=game.flow.total,
        gradient_norm=norm,
        node_gap=node_gap,
        rank_limit=_rank_limit(game),
        kind=kind,
        cost_kind=game.costs.kind,
        gates=game.gates,
        signed=game.signed,
        verdict=_verdict(gap <= _EQUILIBRIUM * (1 + abs(loss)), stationary, game.signed, _rank_limit(game)),
        status=Status.EXACT,
        method=f"path game, {game.costs.kind} costs, gates {game.gates}, prices {kind}, {len(terms.costs)} samples",
        error="potential - least potential within the budgets <= gap, by convexity",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(game.problem),
    )


def _best(used: Tensor, budgets: Tensor, found: Found | None, terms: Terms) -> tuple[list[int], float, int]:
    """The path whose type gains most by moving all of its budget there."""
    if found is None:
        return [], 0.0, 1
    gains = used + budgets * found.value
    t = int(gains.argmax())
    first = t if t < terms.inputs.shape[1] else -1
    path = [first, *found.units[t].tolist(), int(found.output[t])]
    return path, float(gains[t]), -1 if found.cost[t] > 0 else 1


def _unsigned(game: PlayedNetwork, terms: Terms, budgets: Tensor, started: float) -> Certificate:
    """Linear networks with nonnegative weights: ``gap = sum_j [used_j - R_j min_k G_kj]``."""
    rates = torch.cat([terms.inputs, torch.ones(len(terms.inputs), 1, dtype=torch.float64)], dim=1)
    slopes = rates.T @ terms.bias_costs
    allowed = torch.cat([terms.reach, torch.full((1, slopes.shape[1]), bool(terms.entries))])
    least, output = slopes.masked_fill(~allowed, torch.inf).min(dim=1)
    least = torch.where(torch.isfinite(least), least, 0.0)
    by_sample = -((rates * budgets) * terms.bias_costs[:, output]).sum(dim=1)
    found = Found(-least, least, output, torch.full((len(least), 0), -1))
    return _record(game, terms, budgets, -least, output, by_sample, found, -least, "exact", started)


def _gradient(game: PlayedNetwork) -> list[tuple[Tensor, Tensor | None]]:
    """The loss gradient in the chain's weights and biases, whatever the costs are."""
    marginal = game.costs if game.costs.kind == "marginal" else game.costs.marginal()
    slopes = torch.from_numpy(marginal.value(game.outputs.numpy()))
    return weight_gradients(game.chain, game.problem.inputs, slopes)


def _gradient_norm(game: PlayedNetwork) -> float:
    squares = [float(part.square().sum()) for pair in _gradient(game) for part in pair if part is not None]
    return float(np.sqrt(sum(squares)))


def _node_gap(game: PlayedNetwork) -> float:
    """Largest ``sum_u w_uv (g_uv - min_u g_uv)`` over units v: zero when every used arc of v has the least slope of its column."""
    worst = 0.0
    for step, (slope, _) in zip(game.chain.affines, _gradient(game), strict=True):
        weight, slope = step.weight.detach().transpose(0, 1).flatten(1), slope.transpose(0, 1).flatten(1)
        defect = (weight * (slope - slope.min(dim=1, keepdim=True).values)).sum(dim=1)
        worst = max(worst, float(defect.max()))
    return worst


def _rank_limit(game: PlayedNetwork) -> int:
    """Width of the narrowest level of a linear network when it is below inputs and outputs, else 0."""
    if not game.chain.linear:
        return 0
    widths = [math.prod(gate.shape) for gate in game.chain.gates]
    ends = min(math.prod(game.chain.shape), game.outputs.shape[1])
    return min((width for width in widths if width < ends), default=0)


def _verdict(equilibrium: bool, stationary: bool, signed: bool, rank_limit: int) -> str:
    if equilibrium:
        return "equilibrium"
    if not stationary:
        return "neither critical nor an equilibrium"
    critical = "critical" if signed else "critical (constrained)"
    limited = f" of the full game; a hidden level of width {rank_limit} limits the rank" if rank_limit else ""
    return f"{critical}, not an equilibrium{limited}"
