"""Lanczos tridiagonalization that keeps its basis orthogonal."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from isthmus._core.seeds import Seed
from isthmus.linops.krylov import KrylovSpace
from isthmus.linops.operator import SymmetricOperator


@dataclass(frozen=True)
class Tridiagonal:
    """``A Q = Q T + beta_s q_{s+1} e_s^T`` after s steps.

    Attributes:
        alphas: diagonal of T, ``(s,)`` float64.
        betas: off-diagonal, the last one being the norm of the remainder, ``(s,)`` float64.
        basis: orthonormal rows ``q_1 .. q_s``, ``(s, p)``.
        exhausted: whether the Krylov space was complete before all steps were done.
    """

    alphas: Float64[Tensor, " s"]
    betas: Float64[Tensor, " s"]
    basis: Float[Tensor, "s p"]
    exhausted: bool


def lanczos(operator: SymmetricOperator, start: Float[Tensor, " p"], steps: int, *, seed: Seed) -> Tridiagonal:
    """Run at most `steps` Lanczos steps from `start`.

    The basis stays orthogonal to rounding's two-thirds power (see `KrylovSpace`), so that ghost eigenvalues do not appear.

    Args:
        operator: the symmetric operator.
        start: nonzero vector ``(p,)``.
        steps: Krylov dimension; never more than p.
        seed: names the watchers over the basis's orthogonality; the result depends on it only in rounding.

    Returns:
        The tridiagonal matrix and the basis. Cost: `steps` products, and ``10 p`` to ``4 steps p`` flops beside each;
        memory ``steps * p``.
    """
    space = KrylovSpace(operator, min(steps, operator.shape[0]), seed)
    space.start(start)
    while space.filled < space.capacity and not space.exhausted:
        space.extend()
    matrix, exhausted = torch.from_numpy(space.projected[: space.filled, : space.filled]), space.exhausted
    last = 0.0 if exhausted else float(space.residuals(np.eye(space.filled)[:, -1:])[0])
    betas = torch.cat([matrix.diagonal(1), torch.tensor([last], dtype=torch.float64)])
    return Tridiagonal(matrix.diagonal().clone(), betas, space.basis[: space.filled], exhausted)
