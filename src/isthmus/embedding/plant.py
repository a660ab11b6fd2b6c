"""Targets that make given parameters an exact critical point."""

import torch
from torch import nn

from isthmus._core.errors import HypothesisError, InputError
from isthmus._core.numerics import rank_cutoff
from isthmus._core.seeds import Seed, as_seed
from isthmus.engine.memory import require_memory
from isthmus.linops.random import gaussian
from isthmus.model.derivatives import jacobian
from isthmus.model.problem import Problem


def plant(problem: Problem, *, size: float = 0.3, seed: Seed | int = 0) -> Problem:
    """The same network with targets ``y = f(w) - r``, r random with ``J^T r = 0`` and ``|r| = size``.

    The parameters w of the problem are then a critical point of the squared loss, of any architecture, to rounding. A
    small residual gives a minimum as a rule, a larger one saddles; which one it is, `certify` says.

    Args:
        problem: network at w, inputs; its targets and loss are replaced (squared loss, mean over entries).
        size: Euclidean norm of the residual over all samples and outputs.
        seed: names r.

    Returns:
        The planted problem, in float64.

    Raises:
        InputError: the size is negative.
        HypothesisError: the Jacobian has full row rank: no residual is orthogonal to all gradients.
        BudgetError: the Jacobian does not fit in memory.
    """
    if size < 0:
        raise InputError(f"The residual's norm must not be negative, found {size}.")
    problem = problem.eval().to(torch.float64)
    network = problem.network
    rows = problem.samples * problem.outputs
    require_memory(
        16 * rows * (network.size + rows), what=f"The Jacobian of {rows} outputs and its null space", instead="fewer samples"
    )
    matrix = jacobian(network, problem.inputs).reshape(rows, network.size)
    basis, values, _ = torch.linalg.svd(matrix, full_matrices=False)
    rank = int((values > rank_cutoff(float(values.max()), max(matrix.shape), torch.float64)).sum())
    if rank >= rows:
        raise HypothesisError(
            f"{problem.samples} samples x {problem.outputs} outputs = {rows} residuals, and the Jacobian has rank {rank}: no "
            f"residual is orthogonal to it. Use more than {-(-network.size // problem.outputs)} samples."
        )
    r = gaussian((rows,), as_seed(seed).child("plant"), torch.float64)
    for _ in range(3):
        r = r - basis[:, :rank] @ (basis[:, :rank].T @ r)
    r = size * r / r.norm()
    outputs = network(problem.inputs)
    shape = network.forward(network.parameters, problem.inputs[:1]).shape[1:]
    targets = (outputs - r.reshape(outputs.shape)).detach().reshape(-1, *shape)
    return Problem(network, problem.inputs, targets, nn.MSELoss(), name=f"{problem.name}, planted")
