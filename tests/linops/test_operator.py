"""The operators that are there already conform."""

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus._core.errors import ShapeError
from isthmus._core.seeds import Seed
from isthmus.linops.eigen import top_eigenpairs
from isthmus.linops.flatten import ParameterLayout
from isthmus.linops.operator import Deflated, DenseOperator, LinearOperator
from tests.conformance.operators import OperatorSuite
from tests.linops.spectra import symmetric


def random(rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype)


class Outer(LinearOperator):
    """``u v^T``: a rectangular operator, written as a user would."""

    def __init__(self, u: Tensor, v: Tensor) -> None:
        super().__init__((len(u), len(v)), u.dtype)
        self.u, self.v = u, v

    def _matmat(self, columns: Tensor) -> Tensor:
        return self.u[:, None] * (self.v @ columns)

    def _rmatmat(self, columns: Tensor) -> Tensor:
        return self.v[:, None] * (self.u @ columns)


class TestDense(OperatorSuite):
    def operator(self) -> LinearOperator:
        return DenseOperator(self.dense())

    def dense(self) -> Tensor:
        matrix = random(7, 7, torch.float64)
        return matrix + matrix.T


class TestDenseSingle(OperatorSuite):
    def operator(self) -> LinearOperator:
        return DenseOperator(self.dense())

    def dense(self) -> Tensor:
        matrix = random(9, 9, torch.float32)
        return matrix + matrix.T


class TestDeflated(OperatorSuite):
    known = torch.linalg.qr(random(7, 2, torch.float64))[0]

    def operator(self) -> LinearOperator:
        return Deflated(TestDense().operator(), self.known, shift=-3.0)

    def dense(self) -> Tensor:
        projector = self.known @ self.known.T
        rest = torch.eye(7, dtype=torch.float64) - projector
        return rest @ TestDense().dense() @ rest - 3 * projector


def test_pairs_that_follow_the_known_ones() -> None:
    spectrum = -1.0 - np.arange(60) / 10
    matrix = symmetric(spectrum)
    first = top_eigenpairs(matrix, 3, rtol=1e-10, seed=Seed(0))
    following = top_eigenpairs(Deflated(matrix, first.vectors, shift=2 * spectrum.min()), 2, rtol=1e-8, seed=Seed(0))
    np.testing.assert_allclose(following.values, spectrum[3:5], atol=1e-6)


def test_what_cannot_be_deflated_is_refused() -> None:
    matrix = random(5, 5, torch.float64)
    with pytest.raises(ShapeError, match="length 5"):
        Deflated(matrix, torch.eye(4, dtype=torch.float64))
    with pytest.raises(ShapeError, match="Orthonormal"):
        Deflated(matrix, 2 * torch.eye(5, dtype=torch.float64))


class TestRectangular(OperatorSuite):
    def operator(self) -> LinearOperator:
        return Outer(random(5, 1, torch.float64)[:, 0], random(8, 1, torch.float64)[:, 0])

    def dense(self) -> Tensor:
        return torch.outer(random(5, 1, torch.float64)[:, 0], random(8, 1, torch.float64)[:, 0])


@pytest.mark.parametrize("shape", [(3, 4), (3,), (2, 2, 2)])
def test_a_dense_operator_needs_a_square(shape: tuple) -> None:
    with pytest.raises(ShapeError, match="square"):
        DenseOperator(torch.zeros(shape))


def test_flattening_keeps_order_and_comes_back() -> None:
    params = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(7.0), "c": torch.arange(2.0)}
    layout = ParameterLayout.of(params)
    flat = layout.flatten(dict(reversed(params.items())))
    assert flat.tolist() == [0, 1, 2, 3, 4, 5, 7, 0, 1]
    assert layout.size == 9
    back = layout.unflatten(flat)
    assert list(back) == ["b", "a", "c"]
    assert all(torch.equal(back[k], params[k]) for k in params)
    back["a"].fill_(-1)
    assert flat[6] == -1, "pieces are views"
    for wrong in (torch.zeros(8), torch.zeros(9, 1)):
        with pytest.raises(ShapeError, match="9"):
            layout.unflatten(wrong)
