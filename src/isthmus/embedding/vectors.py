"""Units as vectors: own and outgoing weights, what they send to their reader, and the symmetry of their activation."""

import torch
from torch import Tensor, nn

from isthmus.model.problem import Problem
from isthmus.model.units import UnitGroup

_ODD = {"tanh", "erf", "sin", "asinh", "hardtanh", "softsign", "tanhshrink"}
_HOMOGENEOUS = {"relu", "leaky_relu"}


def is_odd(group: UnitGroup) -> bool:
    """Whether ``(p, u)`` and ``(-p, -u)`` are the same unit: one odd activation and nothing else on the way."""
    return _only(group, _ODD)


def is_homogeneous(group: UnitGroup) -> bool:
    """Whether ``(p, u)`` and ``(c p, u / c)`` are the same unit for c > 0."""
    return _only(group, _HOMOGENEOUS)


def _only(group: UnitGroup, names: set[str]) -> bool:
    found = {name.split("(")[0] for name in group.activations}
    plain = group.kind in ("dense neuron", "conv channel") and not group.state
    return plain and len(found) == 1 and found <= names


def unit_vectors(problem: Problem, group: UnitGroup) -> tuple[Tensor, Tensor]:
    """Own ``(m, d_p)`` and outgoing ``(m, d_u)`` entries of each unit, buffers of norms included, float64."""
    tensors, rows = {**problem.network.buffers, **problem.network.parameters}, []
    for slots in ((*group.incoming, *group.state), group.outgoing):
        parts = [tensors[s.tensor].movedim(s.axis, 0)[s.entries(group.size)].reshape(group.size, -1) for s in slots]
        rows.append(torch.cat([part.double() for part in parts], dim=1))
    return rows[0], rows[1]


def unit_outputs(problem: Problem, group: UnitGroup) -> Tensor | None:
    """What each unit sends to its reader, ``(n, m)``; None unless a single Linear reads single numbers."""
    if len(group.outgoing) != 1 or group.outgoing[0].inner * group.outgoing[0].outer != 1 or group.outgoing[0].offset:
        return None
    name = group.outgoing[0].tensor.removesuffix(".weight")
    reader = dict(problem.network.module.named_modules()).get(name)
    if not isinstance(reader, nn.Linear):
        return None
    caught: list[Tensor] = []
    handle = reader.register_forward_pre_hook(lambda _, arguments: caught.append(arguments[0].detach()))
    try:
        problem.network(problem.inputs)
    finally:
        handle.remove()
    return caught[0].reshape(-1, caught[0].shape[-1]) if len(caught) == 1 and caught[0].shape[-1] == group.size else None
