"""Traces and norms from random products, each with its standard error."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.linops.operator import Operator, SymmetricOperator, as_symmetric
from isthmus.linops.random import gaussian, rademacher


@dataclass(frozen=True)
class Estimate:
    """A Monte-Carlo mean with its standard error over `probes` draws, and the products it took."""

    value: float
    standard_error: float
    probes: int
    matvecs: int


def hutchinson_trace(operator: Operator, *, probes: int, seed: Seed) -> Estimate:
    """``trace A = E z^T A z`` over random signs z, with its standard error; variance ``2 (|A|_F^2 - sum_i A_ii^2)`` a draw.

    Args:
        operator: symmetric: ours, or anything with ``shape``, ``dtype`` and ``@`` on torch or numpy vectors.
        probes: draws, at least two.
        seed: names the draws.

    Returns:
        Mean and standard error. Cost: one product a draw; vectors are drawn and multiplied one at a time.

    Raises:
        InputError: fewer than two probes, from which no standard error follows.
    """
    matrix = as_symmetric(operator)
    _require_two(probes)
    return _mean([_quadratic(matrix, sign) for sign in _signs(matrix, probes, seed)], probes)


def hutch_plus_plus(operator: Operator, *, products: int, seed: Seed) -> Estimate:
    """The trace by Hutch++ (Meyer, Musco, Musco, Woodruff 2021): a sketch's part exactly, the rest by random signs.

    ``trace A = trace Q^T A Q + E z^T P A P z`` with Q an orthonormal basis of ``A S`` for random signs S and
    ``P = I - Q Q^T``: unbiased given Q. For a positive semidefinite matrix the error falls like 1 / products instead of
    its square root; it pays where few eigenvalues carry the trace, and costs a third of the probes where none do.

    Args:
        operator: symmetric, as in `hutchinson_trace`.
        products: in all, at least 6: a third each for the sketch, for its part, and for the probes of the rest.
        seed: names the draws.

    Returns:
        The trace and the standard error of its random part. Memory: ``products / 3`` vectors.

    Raises:
        InputError: fewer than six products.
    """
    if products < 6:
        raise InputError(f"Hutch++ needs at least six products (two for each of its parts), found {products}.")
    matrix, third = as_symmetric(operator), products // 3
    width = min(third, matrix.shape[0])
    sketch = torch.stack([matrix @ sign for sign in _signs(matrix, width, seed.child("sketch"))], dim=1)
    basis = torch.linalg.qr(sketch)[0]
    held = sum(_quadratic(matrix, column) for column in basis.unbind(1))
    if width == matrix.shape[0]:
        return Estimate(held, 0.0, 0, 2 * width)
    rests = (sign - basis @ (basis.T @ sign) for sign in _signs(matrix, third, seed.child("rest")))
    rest = _mean([_quadratic(matrix, vector) for vector in rests], third)
    return Estimate(held + rest.value, rest.standard_error, third, third + 2 * width)


def frobenius_norm(operator: Operator, *, probes: int, seed: Seed) -> Estimate:
    """``|A|_F = sqrt(E |A z|^2)`` over Gaussian z; the standard error by the delta method, ``se(|A|_F^2) / (2 |A|_F)``.

    Args:
        operator: symmetric, as in `hutchinson_trace`.
        probes: draws, at least two.
        seed: names the draws.

    Returns:
        Norm and standard error; biased downwards by ``se^2 / (2 |A|_F)``, the concavity of the root. The spectral norm is
        `top_eigenpairs` with ``which="LM"``, one pair.

    Raises:
        InputError: fewer than two probes.
    """
    matrix = as_symmetric(operator)
    _require_two(probes)
    shape = (matrix.shape[0],)
    draws = (gaussian(shape, seed.child("probe", i), matrix.dtype, matrix.device) for i in range(probes))
    square = _mean([float((matrix @ z).double().square().sum()) for z in draws], probes)
    norm = float(np.sqrt(square.value))
    return Estimate(norm, square.standard_error / (2 * norm) if norm > 0 else 0.0, probes, probes)


def _signs(matrix: SymmetricOperator, count: int, seed: Seed) -> Iterator[Tensor]:
    return (rademacher((matrix.shape[0],), seed.child("probe", i), matrix.dtype, matrix.device) for i in range(count))


def _require_two(probes: int) -> None:
    if probes < 2:
        raise InputError(f"A standard error needs at least two probes, found {probes}.")


def _quadratic(matrix: SymmetricOperator, vector: Tensor) -> float:
    return float((vector * (matrix @ vector)).sum(dtype=torch.float64))


def _mean(values: list[float], products: int) -> Estimate:
    numbers = np.array(values)
    return Estimate(float(numbers.mean()), float(numbers.std(ddof=1) / np.sqrt(len(numbers))), len(numbers), products)
