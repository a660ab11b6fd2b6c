"""Preconditioned conjugate gradients for symmetric positive definite systems with several right-hand sides."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError, NumericalError, ShapeError
from isthmus._core.numerics import machine_epsilon
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.linops.operator import SymmetricOperator
from isthmus.linops.random import gaussian


@dataclass(frozen=True)
class Solved:
    """The solution of ``(A + shift I) X = B``.

    Attributes:
        solution: X, ``(n, k)``.
        residuals: ``|B - (A + shift I) X| / |B|`` of each column, recomputed with the operator at the end.
        steps: iterations of the slowest column.
        matvecs: products spent.
        status: CONVERGED, or MAX_STEPS when some column did not reach the tolerance.
    """

    solution: Tensor
    residuals: np.ndarray
    steps: int
    matvecs: int
    status: Status


def conjugate_gradient(
    operator: SymmetricOperator,
    right: Tensor,
    *,
    shift: float = 0.0,
    preconditioner: Callable[[Tensor], Tensor] | None = None,
    rtol: float = 1e-8,
    max_steps: int | None = None,
) -> Solved:
    """Solve ``(A + shift I) X = B`` for positive definite ``A + shift I``.

    All columns advance together, each with its own step lengths, so that every iteration is one block product.

    Args:
        operator: A, symmetric, ``(n, n)``.
        right: B, ``(n, k)``.
        shift: added to the diagonal.
        preconditioner: an approximation of the inverse, applied to ``(n, k)``; `nystrom_preconditioner` makes one.
        rtol: tolerance on each column's residual relative to its right-hand side; never below what rounding allows.
        max_steps: iterations allowed; ``2 n + 100`` by default.

    Returns:
        The solution; columns that did not converge are flagged by `status` and their residuals.

    Raises:
        ShapeError: `right` does not fit the operator.
        NumericalError: a product was not finite, or the matrix is not positive definite.
    """
    if right.ndim != 2 or len(right) != operator.shape[0]:
        raise ShapeError(f"Right-hand sides ({operator.shape[0]}, k) were needed, found {tuple(right.shape)}.")
    apply = preconditioner if preconditioner is not None else lambda block: block
    before, limit = operator.matvecs, max_steps if max_steps is not None else 2 * len(right) + 100
    norms = right.norm(dim=0).clamp_min(1e-300)
    goal = max(rtol, 4 * machine_epsilon(right.dtype)) * norms
    solution, rest = torch.zeros_like(right), right.clone()
    toward = apply(rest)
    direction, slope = toward.clone(), (rest * toward).sum(0)
    steps = 0
    while steps < limit and bool((active := rest.norm(dim=0) > goal).any()):
        image = operator @ direction + shift * direction
        bend = (direction * image).sum(0)
        _require_positive(bend[active])
        length = torch.where(active, slope / torch.where(active, bend, 1), 0)
        solution += length * direction
        rest -= length * image
        toward = apply(rest)
        fresh = (rest * toward).sum(0)
        direction = toward + torch.where(active, fresh / torch.where(active, slope, 1), 0) * direction
        slope, steps = fresh, steps + 1
    truth = right - (operator @ solution + shift * solution)
    residuals = (truth.norm(dim=0) / norms).cpu().numpy()
    done = bool((residuals <= 10 * (goal / norms).cpu().numpy()).all())
    return Solved(solution, residuals, steps, operator.matvecs - before, Status.CONVERGED if done else Status.MAX_STEPS)


def nystrom_preconditioner(operator: SymmetricOperator, rank: int, shift: float, *, seed: Seed) -> Callable[[Tensor], Tensor]:
    """An approximate inverse of ``A + shift I`` for positive semidefinite A, from `rank` products.

    A randomized Nyström approximation ``U diag(l) U^T`` of A is inverted exactly on its range and treated as its
    smallest eigenvalue off it: ``P^-1 = U (l_r + shift) / (l + shift) U^T + (I - U U^T)``.

    Args:
        operator: A, positive semidefinite.
        rank: columns of the sketch, at most n.
        shift: positive.
        seed: names the sketch.

    Raises:
        InputError: rank or shift is not positive.

    References:
        Frangella, Tropp, Udell 2021, "Randomized Nyström preconditioning" (the algorithm).
    """
    if rank < 1 or shift <= 0:
        raise InputError(f"rank and shift must be positive, found rank={rank}, shift={shift}.")
    size = operator.shape[0]
    test, _ = torch.linalg.qr(gaussian((size, min(rank, size)), seed, operator.dtype, operator.device))
    sketch = operator @ test
    nudge = machine_epsilon(operator.dtype) ** 0.75 * float(sketch.norm())
    sketch = sketch + nudge * test
    factor = torch.linalg.cholesky(_symmetric(test.T @ sketch))
    root = torch.linalg.solve_triangular(factor, sketch.T, upper=False).T
    basis, singular, _ = torch.linalg.svd(root, full_matrices=False)
    values = (singular.square() - nudge).clamp_min(0)
    shrink = (values[-1] + shift) / (values + shift) - 1

    def apply(block: Tensor) -> Tensor:
        return block + basis @ (shrink[:, None] * (basis.T @ block))

    return apply


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T) / 2


def _require_positive(bend: Tensor) -> None:
    if not bool(torch.isfinite(bend).all()):
        raise NumericalError(Status.NOT_FINITE, "an operator product in conjugate gradients")
    if bool((bend <= 0).any()):
        raise NumericalError(
            Status.BREAKDOWN, "conjugate gradients met a direction of no positive curvature: the matrix is not positive definite"
        )
