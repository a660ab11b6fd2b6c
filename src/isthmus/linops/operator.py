"""Linear operators on torch vectors: a shape, a product, a count of products."""

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor

from isthmus._core.errors import DtypeError, InputError, ShapeError
from isthmus._core.numerics import machine_epsilon


class Operator(Protocol):
    """What every function here takes: a shape, a dtype, and ``@`` on vectors of torch or of numpy."""

    shape: Any
    dtype: Any

    def __matmul__(self, other: Any, /) -> Any:
        """The product with a vector."""
        ...


class LinearOperator(ABC):
    """A matrix ``(rows, columns)`` known by its products.

    Attributes:
        shape: rows and columns.
        dtype: of the vectors it takes and gives.
        device: of those vectors.
        matvecs: columns multiplied so far, by the operator or its transpose.
    """

    def __init__(self, shape: tuple[int, int], dtype: torch.dtype, device: torch.device | str = "cpu") -> None:
        self.shape, self.dtype, self.device = shape, dtype, torch.device(device)
        self.matvecs = 0

    @abstractmethod
    def _matmat(self, columns: Tensor) -> Tensor:
        """``A X`` for ``X`` of shape ``(columns, k)``."""

    @abstractmethod
    def _rmatmat(self, columns: Tensor) -> Tensor:
        """``A^T X`` for ``X`` of shape ``(rows, k)``."""

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """``A x`` or ``A X``.

        Raises:
            ShapeError: the vector's length is not the number of columns.
            DtypeError: the vector has another dtype than the operator.
        """
        if vectors.ndim not in (1, 2) or vectors.shape[0] != self.shape[1]:
            raise ShapeError(f"An operator of shape {self.shape} cannot multiply {tuple(vectors.shape)}.")
        if vectors.dtype != self.dtype:
            raise DtypeError(f"An operator in {self.dtype} cannot multiply {vectors.dtype}; write vector.to({self.dtype}).")
        columns = vectors[:, None] if vectors.ndim == 1 else vectors
        self.matvecs += columns.shape[1]
        product = self._matmat(columns)
        return product[:, 0] if vectors.ndim == 1 else product

    @property
    def T(self) -> "LinearOperator":
        """The transpose."""
        return _Transposed(self)

    def to_scipy(self) -> scipy.sparse.linalg.LinearOperator:
        """The same operator on numpy vectors, for scipy's solvers."""

        def forward(x: np.ndarray) -> np.ndarray:
            return (self @ torch.from_numpy(np.array(x)).to(self.device, self.dtype)).cpu().numpy()

        def backward(x: np.ndarray) -> np.ndarray:
            return (self.T @ torch.from_numpy(np.array(x)).to(self.device, self.dtype)).cpu().numpy()

        dtype = np.dtype(str(self.dtype).removeprefix("torch."))
        products: dict[str, Any] = {"matvec": forward, "rmatvec": backward, "matmat": forward, "rmatmat": backward}
        return scipy.sparse.linalg.LinearOperator(shape=self.shape, dtype=dtype, **products)


class SymmetricOperator(LinearOperator):
    """A square operator that equals its transpose."""

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device | str = "cpu") -> None:
        super().__init__((size, size), dtype, device)

    def _rmatmat(self, columns: Tensor) -> Tensor:
        return self._matmat(columns)

    @property
    def T(self) -> LinearOperator:
        """Itself."""
        return self


class DenseOperator(SymmetricOperator):
    """A symmetric matrix that is there in full.

    Raises:
        ShapeError: the matrix is not square.
    """

    def __init__(self, matrix: Tensor) -> None:
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ShapeError(f"A square matrix was needed, found {tuple(matrix.shape)}.")
        super().__init__(len(matrix), matrix.dtype, matrix.device)
        self.matrix = matrix

    def _matmat(self, columns: Tensor) -> Tensor:
        return self.matrix @ columns


class Deflated(SymmetricOperator):
    """``P A P + shift V V^T`` with ``P = I - V V^T``: A without eigenvectors that are known, whose eigenvalue becomes `shift`.

    For the pairs that follow some that were found: a shift at the other end of the spectrum keeps the known ones away.

    Args:
        operator: symmetric, ours or another library's.
        vectors: what is known, orthonormal columns ``(p, j)``.
        shift: their eigenvalue from now on.

    Raises:
        ShapeError: the columns have another length, or are not orthonormal.
    """

    def __init__(self, operator: Operator, vectors: Tensor, shift: float = 0.0) -> None:
        self._inner = as_symmetric(operator)
        super().__init__(self._inner.shape[0], self._inner.dtype, self._inner.device)
        if vectors.ndim != 2 or vectors.shape[0] != self.shape[0]:
            raise ShapeError(f"Columns of length {self.shape[0]} were needed, found {tuple(vectors.shape)}.")
        slack = (vectors.T @ vectors - torch.eye(vectors.shape[1]).to(vectors)).abs().max() if vectors.shape[1] else 0
        if slack > machine_epsilon(self.dtype) ** 0.5:
            raise ShapeError(
                f"Orthonormal columns were needed; these are off by {float(slack):.2g}. Take torch.linalg.qr(vectors)[0]."
            )
        self._vectors, self._shift = vectors.to(self.device, self.dtype), shift

    def _matmat(self, columns: Tensor) -> Tensor:
        known = self._vectors @ (self._vectors.T @ columns)
        image = self._inner @ (columns - known)
        return image - self._vectors @ (self._vectors.T @ image) + self._shift * known


class _Transposed(LinearOperator):
    def __init__(self, inner: LinearOperator) -> None:
        super().__init__((inner.shape[1], inner.shape[0]), inner.dtype, inner.device)
        self._inner = inner

    @property
    def T(self) -> LinearOperator:
        return self._inner

    def _matmat(self, columns: Tensor) -> Tensor:
        self._inner.matvecs += columns.shape[1]
        return self._inner._rmatmat(columns)

    def _rmatmat(self, columns: Tensor) -> Tensor:
        return self._inner._matmat(columns)


class _Foreign(SymmetricOperator):
    """Another library's symmetric operator (curvlinops, scipy, a dense array), column by column."""

    def __init__(self, inner: Operator, dtype: torch.dtype, device: torch.device, *, numpy: bool) -> None:
        super().__init__(int(inner.shape[0]), dtype, device)
        self._inner, self._numpy = inner, numpy

    def _matmat(self, columns: Tensor) -> Tensor:
        products = [self._product(column.contiguous()) for column in columns.unbind(1)]
        return torch.stack(products, dim=1) if products else torch.empty_like(columns)

    def _product(self, column: Tensor) -> Tensor:
        if not self._numpy:
            return (self._inner @ column).detach().reshape(-1)
        return torch.from_numpy(np.asarray(self._inner @ column.numpy()).reshape(-1)).to(self.dtype)


def as_symmetric(operator: Operator) -> SymmetricOperator:
    """The operator itself if it is ours, else its products wrapped: torch's where its dtype is torch's, else numpy's.

    Whether a foreign operator is symmetric is the caller's word; the eigensolver compares its result with one more
    product, so that pairs of one that is not leave flagged.

    Raises:
        InputError: it has no shape, dtype or ``@``.
        ShapeError: it is not square.
        DtypeError: its numbers are not float32 or float64.
    """
    if isinstance(operator, SymmetricOperator):
        return operator
    if not all(hasattr(operator, name) for name in ("shape", "dtype", "__matmul__")):
        raise InputError(
            f"A symmetric operator has shape, dtype and @; {type(operator).__name__} lacks one of them. Pass a tensor, an array, "
            "a scipy LinearOperator, a curvlinops operator, or an object with these three."
        )
    if len(operator.shape) != 2 or operator.shape[0] != operator.shape[1]:
        raise ShapeError(f"A symmetric operator is square; this one has shape {tuple(operator.shape)}.")
    numpy = not isinstance(operator.dtype, torch.dtype)
    name = str(np.dtype(operator.dtype)) if numpy else str(operator.dtype).removeprefix("torch.")
    if name not in ("float32", "float64"):
        raise DtypeError(f"An operator of float32 or float64 was needed, found {name}.")
    return _Foreign(operator, getattr(torch, name), torch.device(getattr(operator, "device", "cpu")), numpy=numpy)
