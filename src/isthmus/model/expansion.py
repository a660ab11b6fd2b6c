"""Layers that torch runs as one function, run so that the products inside them can be seen.

Attention runs torch's own Python code; recurrent layers run by their formula, step by step.
"""

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

#: torch's own code for attention, with the check for overrides off, so that it runs while the mode is on
attention = FunctionType(
    F.multi_head_attention_forward.__code__,
    {**vars(F), "has_torch_function": lambda _: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)


def _lstm(gates: Tensor, own: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    i, f, g, o = (gates + own).chunk(4, dim=-1)
    cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def _gru(gates: Tensor, own: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (r, z, n), (hr, hz, hn) = gates.chunk(3, dim=-1), own.chunk(3, dim=-1)
    keep = (z + hz).sigmoid()
    return ((1 - keep) * (n + (r + hr).sigmoid() * hn).tanh() + keep * state[0],)


#: torch's recurrent functions and one step of each: (input's share, state's share, state) -> state, hidden first
CELLS: dict[Any, Callable[[Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]] = {
    torch.lstm: _lstm,
    torch.gru: _gru,
    torch.rnn_tanh: lambda gates, own, _: ((gates + own).tanh(),),
    torch.rnn_relu: lambda gates, own, _: ((gates + own).relu(),),
}


def expandable(args: tuple) -> bool:
    """Whether a recurrent call has padded inputs and no projection (packed sequences and projections have no rule)."""
    if len(args) != 9 or not isinstance(args[3], bool):
        return False
    weights, biases, layers, both = args[2], args[3], args[4], args[7]
    return len(weights) == layers * (2 if both else 1) * (4 if biases else 2)


def recurrent(
    cell: Callable[[Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]],
    inputs: Tensor,
    state: Any,
    weights: Sequence[Tensor],
    biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    both: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """A recurrent layer by its formula; the same outputs as torch's fused one."""
    states = (state,) if isinstance(state, Tensor) else tuple(state)
    per, directions = 4 if biases else 2, 2 if both else 1
    axis, hidden, finals = 1 if batch_first else 0, inputs, []
    for layer in range(layers):
        sides = []
        for direction in range(directions):
            index = layer * directions + direction
            w_in, w_own, *b = weights[index * per : (index + 1) * per]
            gates = F.linear(hidden, w_in, b[0] if b else None).unbind(axis)
            now = tuple(s[index] for s in states)
            seen = []
            for gate in reversed(gates) if direction else gates:
                now = cell(gate, F.linear(now[0], w_own, b[1] if b else None), now)
                seen.append(now[0])
            sides.append(torch.stack(seen[::-1] if direction else seen, dim=axis))
            finals.append(now)
        hidden = torch.cat(sides, dim=-1)
    return hidden, *(torch.stack([final[k] for final in finals]) for k in range(len(states)))
