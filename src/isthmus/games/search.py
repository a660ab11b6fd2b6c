"""Single paths of large price: a beam for lower bounds, branch and bound for the exact value."""

from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus._core.errors import BudgetError
from isthmus._core.plan import Plan
from isthmus.games.prices import Bound, Terms

_CHILDREN = 256
_FRONTIER = 2**23
_SLACK = 1e-12


@dataclass(frozen=True)
class Found:
    """For each type (the bias last), the best path found.

    Attributes:
        value: ``|C_p|``, ``(t,)``; zero where no path was found.
        cost: ``C_p`` with its sign.
        output: its output unit.
        units: its unit at each gate level, -1 before the level at which a bias path starts, ``(t, levels)``.
    """

    value: Tensor
    cost: Tensor
    output: Tensor
    units: Tensor


def beam_prices(terms: Terms, bound: Bound, joined: list[Tensor] | None, *, width: int = 4, outputs: int = 2) -> Found:
    """Lower bounds on all prices, each the price of an actual path, found by beam search.

    Args:
        terms: gates and costs.
        bound: tells which outputs are worth a try.
        joined: from `prices.adjacency`.
        width: paths kept at each level.
        outputs: tried for each input.
    """
    inputs, levels = terms.inputs.shape[1], len(terms.masks)
    tried = min(outputs, terms.costs.shape[1])
    ends = bound.blocks.topk(tried, dim=1).indices
    cost = torch.zeros(inputs + 1, dtype=torch.float64)
    output = torch.zeros(inputs + 1, dtype=torch.long)
    units = torch.full((inputs + 1, levels), -1, dtype=torch.long)
    block = max(1, _FRONTIER // (len(terms.costs) * width * tried))
    for start in range(0, inputs, block):
        types = torch.arange(start, min(start + block, inputs))
        pairs, goals = types.repeat_interleave(tried), ends[types].flatten()
        z = (terms.inputs[:, pairs] * terms.costs[:, goals] * terms.reach[pairs, goals]).T
        found, way = _beam(z, terms, joined, 0, goals, width, None if joined is None else joined[0][pairs])
        best = found.abs().reshape(-1, tried).argmax(dim=1) + torch.arange(len(types)) * tried
        cost[types], output[types], units[types] = found[best], goals[best], way[best]
    for entry in terms.entries:
        goals = torch.arange(terms.costs.shape[1])
        found, way = _beam(terms.bias_costs.T, terms, joined, entry, goals, width, None)
        k = int(found.abs().argmax())
        if abs(found[k]) > abs(cost[-1]):
            cost[-1], output[-1] = found[k], k
            units[-1] = torch.cat([torch.full((entry,), -1), way[k]])
    return Found(cost.abs(), cost, output, units)


def _beam(
    z: Tensor, terms: Terms, joined: list[Tensor] | None, first: int, goals: Tensor, width: int, allowed: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Signed costs ``(r,)`` and units ``(r, levels - first)`` of good paths for the rows of `z` ``(r, n)``."""
    rows = torch.arange(len(z))
    frontier, way = z[:, None, :], torch.zeros(len(z), 1, 0, dtype=torch.long)
    for level in range(first, len(terms.masks)):
        mask = terms.masks[level]
        up, down = frontier.clamp_min(0) @ mask, (-frontier).clamp_min(0) @ mask
        last = level == len(terms.masks) - 1
        score = (up - down).abs() if last else torch.maximum(up, down)
        if joined is not None:
            open_ = allowed[:, None, :] if way.shape[2] == 0 and allowed is not None else None
            open_ = joined[level][way[:, :, -1]] if way.shape[2] else open_
            score = score if open_ is None else score.masked_fill(~open_, -1.0)
            score = score.masked_fill(~joined[-1].T[goals][:, None, :], -1.0) if last else score
        size = mask.shape[1]
        top = score.flatten(1).topk(min(width, score.shape[1] * size), dim=1)
        origin, unit = top.indices // size, top.indices % size
        frontier = frontier[rows[:, None], origin] * mask.T[unit]
        way = torch.cat([way[rows[:, None], origin], unit[:, :, None]], dim=2)
        frontier = frontier * (top.values >= 0)[:, :, None]
    totals = frontier.sum(dim=2)
    best = totals.abs().argmax(dim=1)
    return totals[rows, best], way[rows, best]


def exact_plan(terms: Terms, bound: Bound, start: Found) -> Plan:
    """What `exact_prices` would do at worst: no block of (input, output) that survives the bounds can be pruned further."""
    blocks = int((bound.blocks > start.value[:-1, None] + _SLACK).sum()) + terms.costs.shape[1] * len(terms.entries)
    each, paths = 0.0, 1.0
    for mask in terms.masks:
        each += 4.0 * len(mask) * mask.shape[1] * paths
        paths *= mask.shape[1]
    size = 8.0 * len(terms.costs) * (_CHILDREN + max((m.shape[1] for m in terms.masks), default=0))
    return Plan(f"branch and bound over {blocks} blocks of (input, output)", blocks * each, size)


def exact_prices(terms: Terms, bound: Bound, joined: list[Tensor] | None, start: Found, *, limit: float) -> Found:
    """The exact prices, by bounding and pruning: blocks of (input, output), then units level by level.

    Args:
        terms: gates and costs.
        bound: upper bounds.
        joined: from `prices.adjacency`.
        start: lower bounds, from which pruning starts.
        limit: the most floating-point operations that the worst case may take.

    Raises:
        BudgetError: the worst case is above the limit.
    """
    plan = exact_plan(terms, bound, start)
    if plan.flops > limit:
        raise BudgetError(
            f"Exact prices may take {plan.flops:.2g} floating-point operations ({plan.method}), above the limit of {limit:.2g}. Use "
            "prices='bound' for an upper bound, fewer samples, or raise limit."
        )
    cost, output, units = start.cost.clone(), start.output.clone(), start.units.clone()
    for j in range(len(bound.blocks)):
        best = _Best(float(cost[j]), int(output[j]), tuple(units[j].tolist()))
        for k in bound.blocks[j].argsort(descending=True).tolist():
            if bound.blocks[j, k] <= abs(best.cost) + _SLACK:
                break
            z = (terms.inputs[:, j] * terms.costs[:, k] * terms.reach[j, k])[None]
            _branch(z, [()], 0, terms, joined, k, best, None if joined is None else joined[0][j])
        cost[j], output[j], units[j] = best.cost, best.output, torch.tensor(best.units)
    if terms.entries:
        best = _Best(float(cost[-1]), int(output[-1]), tuple(units[-1].tolist()))
        for entry in terms.entries:
            for k in range(terms.costs.shape[1]):
                prefix = (-1,) * entry
                _branch(terms.bias_costs[:, k][None], [prefix], entry, terms, joined, k, best, None)
        cost[-1], output[-1], units[-1] = best.cost, best.output, torch.tensor(best.units)
    return Found(cost.abs(), cost, output, units)


@dataclass
class _Best:
    """The best path so far."""

    cost: float
    output: int
    units: tuple[int, ...]


def _branch(
    z: Tensor,
    prefixes: list[tuple[int, ...]],
    level: int,
    terms: Terms,
    joined: list[Tensor] | None,
    goal: int,
    best: _Best,
    allowed: Tensor | None,
) -> None:
    """Extend prefixes with products `z` ``(s, n)`` by every unit of a level that may still beat the best."""
    if level == len(terms.masks):
        total = float(z[0].sum())
        if abs(total) > abs(best.cost):
            best.cost, best.output, best.units = total, goal, prefixes[0]
        return
    mask = terms.masks[level]
    up, down = z.clamp_min(0) @ mask, (-z).clamp_min(0) @ mask
    last = level == len(terms.masks) - 1
    score = (up - down).abs() if last else torch.maximum(up, down)
    if joined is not None:
        open_ = allowed if allowed is not None else None
        if prefixes[0] and prefixes[0][-1] >= 0:
            open_ = joined[level][torch.tensor([p[-1] for p in prefixes])]
        score = score if open_ is None else score.masked_fill(~open_, -1.0)
        score = score.masked_fill(~joined[-1][:, goal], -1.0) if last else score
    if last:
        where = int(score.argmax())
        row, unit = divmod(where, mask.shape[1])
        if score[row, unit] > abs(best.cost):
            best.cost, best.output, best.units = float(up[row, unit] - down[row, unit]), goal, (*prefixes[row], unit)
        return
    rows, columns = (score > abs(best.cost) + _SLACK).nonzero(as_tuple=True)
    order = score[rows, columns].argsort(descending=True)
    for part in order.split(_CHILDREN):
        part = part[score[rows[part], columns[part]] > abs(best.cost) + _SLACK]
        if not len(part):
            return
        children = z[rows[part]] * mask.T[columns[part]]
        longer = [(*prefixes[int(r)], int(c)) for r, c in zip(rows[part], columns[part], strict=True)]
        _branch(children, longer, level + 1, terms, joined, goal, best, None)
