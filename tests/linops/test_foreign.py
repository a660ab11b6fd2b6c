"""Operators of other libraries: scipy's, arrays, and one that behaves like curvlinops'."""

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.sparse.linalg import LinearOperator as ScipyOperator
from scipy.sparse.linalg import aslinearoperator
from torch import Tensor

from isthmus._core.errors import DtypeError, InputError, ShapeError
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.linops.eigen import top_eigenpairs
from isthmus.linops.operator import DenseOperator, as_symmetric
from isthmus.linops.slq import stochastic_lanczos_quadrature
from isthmus.linops.traces import hutch_plus_plus, hutchinson_trace
from tests.linops.spectra import symmetric

SPECTRUM = np.r_[7.0, 5, 4.5, np.linspace(-2, 2, 117)]


class LikeCurvlinops:
    """What curvlinops' PyTorchLinearOperator shows: shape, dtype, device, and ``@`` on torch vectors and matrices only."""

    def __init__(self, matrix: Tensor) -> None:
        self.shape, self.dtype, self.device, self._matrix = tuple(matrix.shape), matrix.dtype, matrix.device, matrix

    def __matmul__(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor):
            raise TypeError(f"torch tensors only, found {type(x)}")
        return (self._matrix @ x).requires_grad_()


FOREIGN = {
    "scipy LinearOperator": lambda m: ScipyOperator(m.shape, matvec=lambda x: m.numpy() @ x, dtype=np.float64),
    "scipy aslinearoperator": lambda m: aslinearoperator(m.numpy()),
    "scipy sparse array": lambda m: scipy.sparse.csr_array(m.numpy()),
    "numpy array": lambda m: m.numpy(),
    "torch tensor": lambda m: m,
    "like curvlinops": LikeCurvlinops,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_every_solver_takes_it_and_gives_what_it_gives_for_ours(name: str) -> None:
    matrix = symmetric(SPECTRUM)
    foreign, own = FOREIGN[name](matrix), DenseOperator(matrix)
    pairs = top_eigenpairs(foreign, 3, rtol=1e-9, seed=Seed(0))
    np.testing.assert_allclose(pairs.values, [7, 5, 4.5], atol=1e-8)
    assert pairs.status is Status.CONVERGED
    assert not pairs.vectors.requires_grad
    one, other = (stochastic_lanczos_quadrature(a, steps=6, probes=2, seed=Seed(1)) for a in (foreign, own))
    np.testing.assert_allclose(one.nodes, other.nodes, atol=1e-10)
    assert one.matvecs == 12
    for estimate in (
        lambda a: hutchinson_trace(a, probes=5, seed=Seed(2)),
        lambda a: hutch_plus_plus(a, products=9, seed=Seed(2)),
    ):
        assert estimate(foreign).value == pytest.approx(estimate(own).value, abs=1e-9)


def test_single_precision_stays_single() -> None:
    found = top_eigenpairs(symmetric(SPECTRUM).float().numpy(), 2, rtol=1e-4, seed=Seed(0))
    assert found.vectors.dtype is torch.float32
    np.testing.assert_allclose(found.values, [7, 5], atol=1e-3)


def test_ours_is_taken_as_it_is() -> None:
    own = DenseOperator(symmetric(SPECTRUM))
    assert as_symmetric(own) is own


def test_an_operator_that_is_not_symmetric_leaves_flagged() -> None:
    matrix = symmetric(SPECTRUM) + torch.triu(torch.ones(120, 120, dtype=torch.float64))
    found = top_eigenpairs(matrix, 3, rtol=1e-6, seed=Seed(0))
    assert found.status is Status.MAX_STEPS
    assert not found.converged.all()


def test_what_is_no_symmetric_operator_is_refused() -> None:
    with pytest.raises(ShapeError, match="square"):
        as_symmetric(np.zeros((3, 4)))
    with pytest.raises(DtypeError, match="complex128"):
        as_symmetric(np.zeros((3, 3), dtype=complex))
    with pytest.raises(DtypeError, match="int64"):
        as_symmetric(torch.zeros(3, 3, dtype=torch.int64))
    with pytest.raises(InputError, match="shape, dtype and @"):
        as_symmetric([[1.0]])
