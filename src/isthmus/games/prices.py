"""The best price that a deviating path from each input could get: bounds, and the exact value by branch and bound.

The price of type j is ``max_p |sum_m A_p^m x_j^m g_mk|`` over its paths p (to output k, with gates A). Gates couple samples,
so it does not decompose over layers. For every gate level l,

    price(j, k) <= max_{h in level l} max( sum_m A_h^m (x_j^m g_mk)_+ , sum_m A_h^m (x_j^m g_mk)_- ),

because the other gates of a path only remove terms; the least of these over the levels is the bound used here. It is never
above the bound without gates, ``max(sum_m z_+, sum_m z_-)``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.games.chain import Affine, Chain, Gate
from isthmus.games.sums import hop_matrices

_BLOCK = 2**23


@dataclass(frozen=True)
class Terms:
    """What prices are made of.

    Attributes:
        inputs: ``x_j^m``, ``(n, d)``.
        costs: ``g_mk``, ``(n, c)``, zero where no open path leads from an input to the output.
        bias_costs: ``g_mk`` for the paths of biases.
        masks: gates of the levels that are not open by kind, ``(n, units)`` each.
        entries: the levels at which paths of biases start; `len(masks)` for those that meet no gate.
        reach: whether some path joins input and output, ``(d, c)``.
    """

    inputs: Tensor
    costs: Tensor
    bias_costs: Tensor
    masks: list[Tensor]
    entries: list[int]
    reach: Tensor

    def products(self, types: slice) -> Tensor:
        """``z = x_j^m g_mk`` for some inputs, ``(n, j, c)``, zero where no path leads."""
        return (self.inputs[:, types, None] * self.costs[:, None, :]) * self.reach[types]


def price_terms(chain: Chain, inputs: Tensor, costs: Tensor) -> Terms:
    """Collect gates, reachability and costs of a chain on some inputs.

    Args:
        chain: gated.
        inputs: ``(n, ...)``, float64.
        costs: ``(n, c)``.
    """
    every = chain.masks(inputs)
    bare = without_biases(chain)
    with torch.no_grad():
        passed = bare.run(torch.ones_like(inputs), masks=every) > 0
        size = inputs[0].numel()
        reach = torch.ones(size, costs.shape[1], dtype=torch.bool)
        if not chain.dense:
            parts = torch.eye(size, dtype=torch.float64).split(max(1, _BLOCK // max(size, 1)))
            reach = torch.cat([bare.run(part.reshape(-1, *chain.shape)) > 0 for part in parts])
    shut = [index for index, gate in enumerate(chain.gates) if gate.kind != "open"]
    entries, level = set(), 0
    for step in chain.steps:
        if isinstance(step, Gate):
            level += int(step.kind != "open")
        elif isinstance(step, Affine) and step.bias is not None:
            entries.add(level)
    return Terms(inputs.flatten(1), costs * passed, costs, [every[i] for i in shut], sorted(entries), reach)


def without_biases(chain: Chain) -> Chain:
    """Ones for all weights, no biases: its outputs count paths from the inputs."""
    bare = chain.with_weights(torch.ones_like)
    for step in bare.affines:
        step.bias = None
    return bare


def adjacency(chain: Chain) -> list[Tensor] | None:
    """Which units of consecutive gate levels (inputs first, outputs last) are joined; None when all are.

    Raises:
        BudgetError: a convolution unrolled is too large.
    """
    if chain.dense:
        return None
    found: list[Tensor] = []
    running: Tensor | None = None
    for gate, (matrix, _) in zip([*chain.gates, None], hop_matrices(without_biases(chain)), strict=True):
        joined = torch.from_numpy(matrix.T > 0).double()
        running = joined if running is None else ((running @ joined) > 0).double()
        if gate is None or gate.kind != "open":
            found.append(running > 0)
            running = None
    return found


@dataclass(frozen=True)
class Bound:
    """Upper bounds on prices, and what each is made of.

    Attributes:
        blocks: bound for each input and output, ``(d, c)``.
        value: for each type, the largest of its blocks; the bias last, ``(t,)``.
        output: where it is, ``(t,)``.
        level: the gate level that gave it; -1 for the bound without gates.
        unit: the unit there.
        sign: +1 when the positive parts gave it.
        entry: for the bias, the level at which its paths start; 0 for inputs.
    """

    blocks: Tensor
    value: Tensor
    output: Tensor
    level: Tensor
    unit: Tensor
    sign: Tensor
    entry: Tensor


def upper_prices(terms: Terms) -> Bound:
    """Upper bounds on all prices; exact when there are no gates.

    Cost: ``4 n d c sum_l units_l`` floating-point operations.
    """
    outputs = terms.costs.shape[1]
    width = max(1, _BLOCK // (len(terms.costs) * outputs))
    rows = []
    for start in range(0, terms.inputs.shape[1], width):
        z = terms.products(slice(start, start + width))
        rows.append(_bounds(z.flatten(1), terms.masks, 0))
    blocks = torch.cat(rows, dim=1)
    table = blocks.reshape(len(blocks), -1, outputs)
    best = table[0].argmax(dim=1)
    chosen = table[:, torch.arange(len(best)), best]
    bias, output, entry = _bias_bound(terms)
    columns = torch.cat([chosen, bias[:, None]], dim=1)
    return Bound(
        blocks=table[0],
        value=columns[0],
        output=torch.cat([best, torch.tensor([output])]),
        level=columns[1].long(),
        unit=columns[2].long(),
        sign=columns[3],
        entry=torch.cat([torch.zeros(len(best), dtype=torch.long), torch.tensor([entry])]),
    )


def _bias_bound(terms: Terms) -> tuple[Tensor, int, int]:
    best, output, entry = torch.tensor([0.0, -1.0, 0.0, 1.0], dtype=torch.float64), 0, len(terms.masks)
    for level in terms.entries:
        found = _bounds(terms.bias_costs, terms.masks, level)
        k = int(found[0].argmax())
        if found[0, k] > best[0]:
            best, output, entry = found[:, k], k, level
    return best, output, entry


def _bounds(z: Tensor, masks: list[Tensor], first: int) -> Tensor:
    """For each column of `z`: least bound over the levels from `first` on, its level, unit and sign; ``(4, columns)``."""
    if first == len(masks):
        total = z.sum(dim=0)
        return torch.stack([total.abs(), torch.full_like(total, -1), torch.zeros_like(total), _signs(total)])
    positive, negative = z.clamp_min(0), (-z).clamp_min(0)
    up, down = positive.sum(dim=0), negative.sum(dim=0)
    best = torch.stack([torch.maximum(up, down), torch.full_like(up, -1), torch.zeros_like(up), _signs(up - down)])
    for level in range(first, len(masks)):
        up, unit_up = (positive.T @ masks[level]).max(dim=1)
        down, unit_down = (negative.T @ masks[level]).max(dim=1)
        unit = torch.where(up >= down, unit_up, unit_down).double()
        here = torch.stack([torch.maximum(up, down), torch.full_like(up, level), unit, _signs(up - down)])
        best = torch.where(here[0] < best[0], here, best)
    return best


def _signs(values: Tensor) -> Tensor:
    return torch.where(values >= 0, 1.0, -1.0).double()


def bound_contributions(terms: Terms, bound: Bound, budgets: Tensor) -> Tensor:
    """Each sample's share of ``sum_t budget_t bound_t``, ``(n,)``."""
    total = torch.zeros(len(terms.costs), dtype=torch.float64)
    for start in range(0, len(budgets) - 1, 256):
        rows = torch.arange(start, min(start + 256, len(budgets) - 1))
        picked = terms.costs[:, bound.output[rows]] * terms.reach[rows, bound.output[rows]]
        total += _parts(terms, bound, terms.inputs[:, rows] * picked, rows) @ budgets[rows]
    last = torch.tensor([len(budgets) - 1])
    if terms.entries:
        total += _parts(terms, bound, terms.bias_costs[:, bound.output[last]], last) @ budgets[last]
    return total


def _parts(terms: Terms, bound: Bound, z: Tensor, rows: Tensor) -> Tensor:
    signed = z * bound.sign[rows]
    parts = signed.clone()
    for column, row in enumerate(rows.tolist()):
        if int(bound.entry[row]) == len(terms.masks):
            continue
        parts[:, column] = signed[:, column].clamp_min(0)
        level = int(bound.level[row])
        if level >= 0:
            parts[:, column] *= terms.masks[level][:, int(bound.unit[row])]
    return parts
