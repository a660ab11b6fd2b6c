"""Why a tangent kernel has zero modes."""

import torch
from torch import Tensor

from isthmus.model.problem import Problem


def degenerate_causes(problem: Problem) -> list[str]:
    """The known causes that are present, each with its consequence, in words."""
    causes, size = [], problem.samples * problem.outputs
    if problem.network.size < size:
        causes.append(
            f"{problem.network.size} parameters cannot move {size} outputs independently: at least {size - problem.network.size} "
            "modes are stuck"
        )
    causes += _repeated(problem)
    pairs, rank = _antipodes(problem.inputs)
    if pairs > rank:
        causes.append(
            f"{pairs} antipodal pairs x, -x span at most {rank} directions of a bias-free two-layer ReLU kernel: its smallest "
            "eigenvalue is 0 and the loss keeps a plateau"
        )
    return causes


def _repeated(problem: Problem) -> list[str]:
    rows = problem.inputs.reshape(problem.samples, -1)
    _, group = torch.unique(rows, dim=0, return_inverse=True)
    repeats = problem.samples - int(group.max()) - 1
    if not repeats:
        return []
    targets = problem.targets.reshape(problem.samples, -1)
    first = torch.zeros(int(group.max()) + 1, dtype=torch.long)
    first[group.flip(0).cpu()] = torch.arange(problem.samples - 1, -1, -1)
    clash = int((targets != targets[first.to(targets.device)[group]]).any(dim=1).sum())
    words = f"{repeats} inputs repeat an earlier one: each repetition adds a zero mode"
    return [words + (f", and {clash} of them carry another target, which no training can fit" if clash else "")]


def _antipodes(inputs: Tensor) -> tuple[int, int]:
    """Pairs ``x_i = -x_j`` with x nonzero, and the rank of the inputs."""
    rows = inputs.reshape(len(inputs), -1)
    if not rows.is_floating_point():
        return 0, 0
    rows = torch.unique(rows.double(), dim=0)
    scale = float(rows.abs().max()) or 1.0
    gaps = torch.cdist(rows, -rows) / scale
    near = (gaps <= 1e-12 * rows.shape[1]) & (rows.norm(dim=1) > 0)
    return int(near.triu(1).sum()), int(torch.linalg.matrix_rank(rows))
