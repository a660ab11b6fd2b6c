"""What every linear operator must do. A new operator inherits this and writes two methods."""

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus._core.errors import DtypeError, ShapeError
from isthmus._core.numerics import tolerance
from isthmus.linops.operator import LinearOperator


class OperatorSuite:
    """Inherit as ``class TestMine(OperatorSuite)`` and give `operator` and `dense`; the rest is tested for you."""

    def operator(self) -> LinearOperator:
        """A fresh operator."""
        raise NotImplementedError

    def dense(self) -> Tensor:
        """The same matrix by another route."""
        raise NotImplementedError

    #: how far the other route is from exact, relative to the matrix's largest entry (finite differences: larger)
    slack = 1.0

    def close(self, found: Tensor, expected: Tensor) -> None:
        operator, matrix = self.operator(), self.dense()
        rounding = tolerance(operator.dtype, terms=max(operator.shape), depth=8)
        size = float(matrix.abs().max()) * max(operator.shape) ** 0.5 * max(float(expected.abs().max()), 1.0)
        torch.testing.assert_close(found, expected.to(found), rtol=0, atol=self.slack * rounding * max(size, 1e-30))

    def vectors(self, length: int, count: int | None = None, seed: int = 0) -> Tensor:
        shape = (length,) if count is None else (length, count)
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(self.operator().dtype)

    def test_shape_and_dtype_are_the_matrix_s(self) -> None:
        operator, matrix = self.operator(), self.dense()
        assert operator.shape == tuple(matrix.shape)
        assert operator.dtype == matrix.dtype
        assert operator.matvecs == 0

    def test_a_vector_is_multiplied(self) -> None:
        x = self.vectors(self.operator().shape[1])
        product = self.operator() @ x
        assert product.shape == (self.operator().shape[0],)
        assert product.dtype == self.operator().dtype
        self.close(product, self.dense() @ x)

    def test_columns_are_multiplied_like_vectors(self) -> None:
        x = self.vectors(self.operator().shape[1], 3)
        product = self.operator() @ x
        self.close(product, self.dense() @ x)
        one_by_one = self.operator()
        self.close(product, torch.stack([one_by_one @ column for column in x.unbind(1)], dim=1))

    def test_unit_vectors_give_the_matrix(self) -> None:
        self.close(self.operator() @ torch.eye(self.operator().shape[1], dtype=self.operator().dtype), self.dense())

    def test_no_columns_give_no_columns(self) -> None:
        assert (self.operator() @ self.vectors(self.operator().shape[1], 0)).shape == (self.operator().shape[0], 0)

    def test_it_is_linear(self) -> None:
        operator = self.operator()
        x, y = self.vectors(operator.shape[1]), self.vectors(operator.shape[1], seed=1)
        self.close(operator @ (2 * x - 3 * y), 2 * (operator @ x) - 3 * (operator @ y))

    def test_zero_goes_to_zero(self) -> None:
        assert not (self.operator() @ torch.zeros(self.operator().shape[1], dtype=self.operator().dtype)).any()

    def test_the_transpose_is_the_adjoint(self) -> None:
        operator = self.operator()
        x, y = self.vectors(operator.shape[1]), self.vectors(operator.shape[0], seed=1)
        assert operator.T.shape == operator.shape[::-1]
        self.close((y @ (operator @ x))[None], ((operator.T @ y) @ x)[None])
        self.close(operator.T @ self.vectors(operator.shape[0], 2), self.dense().T @ self.vectors(operator.shape[0], 2))

    def test_the_transpose_of_the_transpose_is_the_operator_itself(self) -> None:
        operator = self.operator()
        assert operator.T.T is operator

    @pytest.mark.parametrize("name", ["matvec", "rmatvec", "matmat", "rmatmat"])
    def test_scipy_sees_the_same_matrix(self, name: str) -> None:
        operator, matrix = self.operator().to_scipy(), self.dense().numpy()
        matrix = matrix.T if name.startswith("r") else matrix
        x = self.vectors(matrix.shape[1], None if name.endswith("vec") else 2).numpy()
        assert operator.dtype == matrix.dtype
        found = getattr(operator, name)(x)
        assert isinstance(found, np.ndarray)
        self.close(torch.from_numpy(found), torch.from_numpy(matrix @ x))

    def test_products_are_counted_by_column_both_ways(self) -> None:
        operator = self.operator()
        operator @ self.vectors(operator.shape[1])
        assert operator.matvecs == 1
        operator @ self.vectors(operator.shape[1], 4)
        assert operator.matvecs == 5
        operator.T @ self.vectors(operator.shape[0], 2)
        assert operator.matvecs == 7
        operator.to_scipy().matvec(self.vectors(operator.shape[1]).numpy())
        assert operator.matvecs == 8

    @pytest.mark.parametrize("make", [lambda n: (n + 1,), lambda n: (n + 1, 2), lambda n: (n, 2, 2), lambda n: ()])
    def test_a_wrong_shape_is_refused_and_not_counted(self, make) -> None:
        operator = self.operator()
        for side in (operator, operator.T):
            with pytest.raises(ShapeError, match="cannot multiply"):
                side @ torch.zeros(make(side.shape[1]), dtype=operator.dtype)
        assert operator.matvecs == 0

    def test_a_wrong_dtype_is_refused(self) -> None:
        other = torch.float32 if self.operator().dtype == torch.float64 else torch.float64
        with pytest.raises(DtypeError, match="float"):
            self.operator() @ self.vectors(self.operator().shape[1]).to(other)

    def test_the_vector_is_left_alone_and_strides_do_not_matter(self) -> None:
        operator = self.operator()
        wide = self.vectors(operator.shape[1], 5)
        before, strided = wide.clone(), wide[:, ::2]
        self.close(operator @ strided, operator @ strided.contiguous())
        assert torch.equal(wide, before)

    def test_a_product_repeats_bit_for_bit_and_carries_no_graph(self) -> None:
        operator, x = self.operator(), self.vectors(self.operator().shape[1])
        first = operator @ x
        assert torch.equal(first, operator @ x)
        assert not first.requires_grad
