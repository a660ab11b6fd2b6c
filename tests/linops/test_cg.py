"""Conjugate gradients against a dense solve."""

import numpy as np
import pytest
import torch

from isthmus._core.errors import InputError, NumericalError, ShapeError
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.linops.cg import conjugate_gradient, nystrom_preconditioner
from isthmus.linops.operator import DenseOperator


def decaying(size: int = 80, seed: int = 0) -> torch.Tensor:
    """A positive semidefinite matrix with eigenvalues 1, 1/4, 1/9, ..."""
    basis, _ = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))
    return (basis / torch.arange(1, size + 1, dtype=torch.float64) ** 2) @ basis.T


def sides(size: int = 80, count: int = 3) -> torch.Tensor:
    return torch.randn(size, count, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_solution_equals_dense_solve() -> None:
    matrix, right, shift = decaying(), sides(), 1e-3
    exact = torch.linalg.solve(matrix + shift * torch.eye(80, dtype=torch.float64), right)
    for apply in (None, nystrom_preconditioner(DenseOperator(matrix), 20, shift, seed=Seed(0))):
        found = conjugate_gradient(DenseOperator(matrix), right, shift=shift, preconditioner=apply, rtol=1e-12)
        assert found.status is Status.CONVERGED
        assert (found.solution - exact).norm() <= 1e-8 * exact.norm()
        assert found.residuals.max() <= 1e-11


def test_preconditioner_saves_steps() -> None:
    operator, right, shift = DenseOperator(decaying(300)), sides(300), 1e-5
    plain = conjugate_gradient(operator, right, shift=shift)
    apply = nystrom_preconditioner(operator, 60, shift, seed=Seed(0))
    helped = conjugate_gradient(operator, right, shift=shift, preconditioner=apply)
    assert helped.steps < plain.steps / 3


def test_columns_of_zeros_and_of_eigenvectors_stop_alone() -> None:
    matrix = decaying()
    _, vectors = torch.linalg.eigh(matrix)
    right = torch.stack([torch.zeros(80, dtype=torch.float64), vectors[:, -1], sides()[:, 0]], dim=1)
    found = conjugate_gradient(DenseOperator(matrix), right, shift=1e-2)
    assert found.solution[:, 0].norm() == 0
    assert torch.isfinite(found.solution).all()
    torch.testing.assert_close(found.solution[:, 1], vectors[:, -1] / 1.01)


def test_unconverged_is_flagged() -> None:
    found = conjugate_gradient(DenseOperator(decaying()), sides(), shift=1e-6, max_steps=3)
    assert found.status is Status.MAX_STEPS
    assert found.residuals.max() > 1e-6


def test_indefinite_and_non_finite_are_errors() -> None:
    with pytest.raises(NumericalError, match="not positive definite"):
        conjugate_gradient(DenseOperator(-decaying()), sides())
    with pytest.raises(NumericalError, match="not finite"):
        conjugate_gradient(DenseOperator(decaying() * np.nan), sides())
    with pytest.raises(ShapeError, match="Right-hand sides"):
        conjugate_gradient(DenseOperator(decaying()), sides(3))
    with pytest.raises(InputError, match="positive"):
        nystrom_preconditioner(DenseOperator(decaying()), 5, 0.0, seed=Seed(0))
