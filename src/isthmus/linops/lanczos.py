"""Lanczos tridiagonalization with full reorthogonalization."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from isthmus._core.numerics import machine_epsilon
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


def lanczos(operator: SymmetricOperator, start: Float[Tensor, " p"], steps: int) -> Tridiagonal:
    """Run at most `steps` Lanczos steps from `start`.

    Each new vector is orthogonalized twice against all earlier ones, so that ghost eigenvalues do not appear.

    Args:
        operator: the symmetric operator.
        start: nonzero vector ``(p,)``.
        steps: Krylov dimension; never more than p.

    Returns:
        The tridiagonal matrix and the basis. Cost: `steps` products and ``4 steps^2 p`` flops; memory ``steps * p``.
    """
    size = operator.shape[0]
    steps = min(steps, size)
    basis = torch.empty(steps, size, dtype=operator.dtype, device=operator.device)
    alphas, betas = [], []
    current, scale = start / start.norm(), 0.0
    for step in range(steps):
        basis[step] = current
        image = operator @ current
        scale = max(scale, float(image.norm()))
        alphas.append(float(image.double() @ current.double()))
        remainder = orthogonalize(image, basis[: step + 1])
        betas.append(float(remainder.norm()))
        if betas[-1] <= size * machine_epsilon(operator.dtype) * max(scale, 1e-300):
            return _done(alphas, betas, basis[: step + 1], exhausted=True)
        current = remainder / betas[-1]
    return _done(alphas, betas, basis, exhausted=False)


def orthogonalize(vector: Float[Tensor, " p"], rows: Float[Tensor, "s p"]) -> Float[Tensor, " p"]:
    """`vector` minus its projection on orthonormal `rows` ``(s, p)``, done twice."""
    for _ in range(2):
        vector = vector - rows.T @ (rows @ vector)
    return vector


def _done(alphas: list[float], betas: list[float], basis: Tensor, *, exhausted: bool) -> Tridiagonal:
    return Tridiagonal(torch.tensor(alphas, dtype=torch.float64), torch.tensor(betas, dtype=torch.float64), basis, exhausted)
