"""Lanczos on many symmetric matrices at once, one per row of a batch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus._core.numerics import machine_epsilon


@dataclass(frozen=True)
class Extremes:
    """The ends of each spectrum.

    Attributes:
        low: smallest Ritz value of each matrix, ``(m,)``, never below the true smallest eigenvalue.
        high: largest Ritz value, never above the true largest.
        low_vectors: unit vectors, ``(m, d)``.
        high_vectors: unit vectors.
        low_residuals: ``|A v - lambda v|``, a bound on the distance to the nearest eigenvalue.
        high_residuals: the same at the other end.
        products: batched products made.
    """

    low: Tensor
    high: Tensor
    low_vectors: Tensor
    high_vectors: Tensor
    low_residuals: Tensor
    high_residuals: Tensor
    products: int


def batched_extremes(product: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> Extremes:
    """Smallest and largest eigenvalue of each of m symmetric matrices by full-orthogonalization Lanczos.

    Args:
        product: ``(m, d) -> (m, d)``, row by row the product with that row's matrix.
        start: nonzero rows, ``(m, d)``.
        steps: Krylov dimension, at most d.

    Returns:
        Both ends with residuals. Cost: `steps` batched products; memory ``steps m d``.
    """
    rows, size = start.shape
    steps = min(steps, size)
    basis = start.new_zeros(steps, rows, size)
    matrix = torch.zeros(rows, steps, steps, dtype=torch.float64, device=start.device)
    current = start / start.norm(dim=1, keepdim=True)
    last = torch.zeros(rows, dtype=torch.float64, device=start.device)
    for step in range(steps):
        basis[step] = current
        image = product(current)
        matrix[:, step, step] = (image * current).sum(1).double()
        rest = image
        for _ in range(2):
            rest = rest - torch.einsum("sm,smd->md", torch.einsum("smd,md->sm", basis[: step + 1], rest), basis[: step + 1])
        length = rest.norm(dim=1)
        alive = length > size * machine_epsilon(start.dtype) * image.norm(dim=1).clamp_min(1e-300)
        last = torch.where(alive, length, 0).double()
        if step + 1 < steps:
            matrix[:, step, step + 1] = matrix[:, step + 1, step] = last
            current = torch.where(alive[:, None], rest / length.clamp_min(1e-300)[:, None], 0)
    return _ends(matrix, basis, last, steps)


def _ends(matrix: Tensor, basis: Tensor, last: Tensor, steps: int) -> Extremes:
    """Ritz values; directions that were never reached (a Krylov space that ended early) do not count."""
    reached = (basis.abs().amax(2) > 0).T
    scale = matrix.abs().amax((1, 2)) + 1
    rounding = machine_epsilon(basis.dtype) * matrix.abs().amax((1, 2))
    results = []
    for sign in (1.0, -1.0):
        padded = matrix + torch.diag_embed(torch.where(reached, 0.0, sign * 1e3 * scale[:, None]))
        values, vectors = torch.linalg.eigh(padded)
        pick = 0 if sign > 0 else -1
        mix = vectors[:, :, pick]
        results.append((values[:, pick], torch.einsum("ms,smd->md", mix.to(basis), basis), last * mix[:, -1].abs() + rounding))
    (low, low_vectors, low_rest), (high, high_vectors, high_rest) = results
    return Extremes(low, high, low_vectors, high_vectors, low_rest, high_rest, steps)
