"""The Hessian and the Gauss-Newton matrix of a problem's loss as linear operators."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.linops.operator import SymmetricOperator
from isthmus.model.derivatives import GgnProduct, HessianProduct
from isthmus.model.problem import Problem
from isthmus.model.verification import verify_hessian, verify_symmetry

Matrix = Literal["hessian", "ggn"]


class CurvatureOperator(SymmetricOperator):
    """A second-derivative matrix ``(p, p)`` of the loss that was given, over all training samples.

    Attributes:
        matrix: ``"hessian"`` or ``"ggn"``.
        problem: whose loss it is.
    """

    def __init__(self, problem: Problem, matrix: Matrix, product: Callable[[Tensor], Tensor]) -> None:
        network = problem.network
        super().__init__(network.size, network.dtype, network.device)
        self.problem, self.matrix, self.product = problem, matrix, product

    def _matmat(self, columns: Tensor) -> Tensor:
        return self.product(columns[:, 0])[:, None] if columns.shape[1] == 1 else self.product(columns)

    def verify(self, seed: Seed) -> None:
        """Check symmetry, and for the Hessian one product against finite differences of the gradient.

        Raises:
            VerificationError: a check fails.
        """
        verify_symmetry(self.product, self.shape[0], seed=seed, dtype=self.dtype, device=self.device)
        if self.matrix == "hessian":
            verify_hessian(self.problem, seed=seed)


def hessian_operator(problem: Problem) -> CurvatureOperator:
    """``H = d^2 L / dw^2`` of the loss that was given, as an operator ``(p, p)``.

    Products go by double backward; the gradient's graph is kept between products when it fits in memory.

    Args:
        problem: network (deterministic per example), data and loss.

    Returns:
        The operator; ``.to_scipy()`` hands it to scipy's solvers.

    Raises:
        BatchCoupled: BatchNorm with batch statistics.
        NotTwiceDifferentiable: a layer has no second derivative.
    """
    return CurvatureOperator(problem, "hessian", HessianProduct(problem))


def ggn_operator(problem: Problem) -> CurvatureOperator:
    """``G = J^T H_out J``, the generalized Gauss-Newton matrix of the loss that was given.

    For cross-entropy it is the Fisher matrix of the model's own predictions, up to the loss's normalization; it is
    positive semidefinite for convex losses.

    Args:
        problem: network (deterministic per example), data and loss.

    Returns:
        The operator ``(p, p)``.

    Raises:
        BatchCoupled: BatchNorm with batch statistics.
    """
    return CurvatureOperator(problem, "ggn", GgnProduct(problem))


def curvature_operator(problem: Problem, matrix: Matrix) -> CurvatureOperator:
    """The operator by name.

    Raises:
        InputError: the name is unknown.
    """
    makers = {"hessian": hessian_operator, "ggn": ggn_operator}
    if matrix not in makers:
        raise InputError(f"matrix={matrix!r} is unknown; write 'hessian' or 'ggn'.")
    return makers[matrix](problem)
