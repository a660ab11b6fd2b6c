"""Products, eigenvalues, reductions over outputs, the conjugate kernel: against the dense kernel."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isthmus._core.errors import BatchCoupled, InputError, ShapeError, UnsupportedLayer
from isthmus._core.status import Status
from isthmus.kernel import (
    JacobianContraction,
    NtkVectorProducts,
    OutputIndex,
    RandomOutputs,
    Structured,
    conjugate_kernel,
    empirical_ntk,
    kernel_ridge,
    ntk_eigenvalues,
    ntk_operator,
)
from isthmus.linops.operator import SymmetricOperator
from tests.model.architectures import ARCHITECTURES, make
from tests.reference.kernels import dense_ntk

METHODS = [Structured(), JacobianContraction(), NtkVectorProducts()]
NAMES = ["mlp", "cnn with batch norm", "transformer encoder", "embedding tied to output", "lstm"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("outputs", ["full", "trace"])
def test_products_equal_the_dense_kernel_s(name: str, outputs: str) -> None:
    module, inputs = make(name, 5)
    one, other = inputs[:3], inputs[3:]
    for sides in ((one, None), (one, other)):
        operator = ntk_operator(module, *sides, outputs=outputs)
        dense = torch.from_numpy(empirical_ntk(module, *sides, outputs=outputs).matrix.copy())
        assert operator.shape == tuple(dense.shape)
        block = torch.randn(dense.shape[1], 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(operator @ block, dense @ block, rtol=1e-9, atol=1e-10 * float(dense.abs().max()))
        back = torch.randn(dense.shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(operator.T @ back, dense.T @ back, rtol=1e-9, atol=1e-10 * float(dense.abs().max()))


@pytest.mark.parametrize("name", ["mlp", "transformer encoder"])
def test_eigenvalues_equal_the_dense_kernel_s(name: str) -> None:
    module, inputs = make(name, 6)
    found = ntk_eigenvalues(module, inputs, 4, rtol=1e-8)
    exact = np.linalg.eigvalsh(empirical_ntk(module, inputs).matrix)[::-1][:4]
    np.testing.assert_allclose(found.values, exact, rtol=1e-7)
    assert found.status is Status.CONVERGED


def test_ridge_regression_by_products_alone() -> None:
    module, inputs = make("mlp", 12)
    y = np.random.default_rng(0).normal(size=36)
    operator, dense = ntk_operator(module, inputs), empirical_ntk(module, inputs)
    assert isinstance(operator, SymmetricOperator)
    found = kernel_ridge(operator, y, 0.05, rtol=1e-10).coefficients
    np.testing.assert_allclose(found, kernel_ridge(dense, y, 0.05).coefficients, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("name", ["mlp", "lstm"])
def test_reductions_over_outputs(name: str, method) -> None:
    module, inputs = make(name, 4)
    full = dense_ntk(module, inputs, inputs, "full")
    total = empirical_ntk(module, inputs, outputs="sum", method=method)
    np.testing.assert_allclose(total.matrix, full.sum((1, 3)), rtol=1e-9, atol=1e-10 * np.abs(full).max())
    one = empirical_ntk(module, inputs, inputs[:2], outputs=OutputIndex(1), method=method)
    np.testing.assert_allclose(one.matrix, full[:, 1, :2, 1], rtol=1e-9, atol=1e-11 * np.abs(full).max())
    assert (total.outputs, one.outputs) == ("sum", "index 1")


def test_random_outputs_estimate_the_trace() -> None:
    module, inputs = make("mlp", 3)
    exact = empirical_ntk(module, inputs, outputs="trace").matrix
    draws = np.stack([empirical_ntk(module, inputs, outputs=RandomOutputs(8, seed)).matrix for seed in range(40)])
    error = draws.std(0, ddof=1) / np.sqrt(40)
    assert (np.abs(draws.mean(0) - exact) < 4 * error).all()
    again = empirical_ntk(module, inputs, outputs=RandomOutputs(8, 0))
    assert np.array_equal(again.matrix, draws[0])
    assert again.status is Status.ESTIMATED


def test_conjugate_kernel_is_the_gram_of_the_features() -> None:
    torch.manual_seed(0)
    for bias in (True, False):
        body, head = nn.Sequential(nn.Linear(4, 6), nn.Tanh()), nn.Linear(6, 3, bias=bias)
        module, x, y = nn.Sequential(body, head).double(), torch.randn(5, 4).double(), torch.randn(3, 4).double()
        with torch.no_grad():
            expected = body(x) @ body(y).T + bias
        np.testing.assert_allclose(conjugate_kernel(module, x, y).matrix, expected, rtol=1e-12)
        only = list(body.parameters())
        for parameter in only:
            parameter.requires_grad_(False)
        last = empirical_ntk(module, x, outputs=OutputIndex(0)).matrix
        for parameter in only:
            parameter.requires_grad_(True)
        np.testing.assert_allclose(conjugate_kernel(module, x).matrix, last, rtol=1e-12)


def test_conjugate_kernel_of_a_named_layer() -> None:
    module, inputs = make("mlp", 4)
    with torch.no_grad():
        hidden = torch.tanh(module[0](inputs))
    np.testing.assert_allclose(conjugate_kernel(module, inputs, layer="2").matrix, hidden @ hidden.T + 1, rtol=1e-12)
    with pytest.raises(UnsupportedLayer, match="named 'nowhere'"):
        conjugate_kernel(module, inputs, layer="nowhere")
    with pytest.raises(UnsupportedLayer, match="several positions"):
        conjugate_kernel(*make("gpt", 3))


def test_wrong_input_is_named() -> None:
    module, inputs = make("mlp", 4)
    with pytest.raises(InputError, match="3 outputs"):
        empirical_ntk(module, inputs, outputs=OutputIndex(3))
    with pytest.raises(InputError, match="at least one combination"):
        empirical_ntk(module, inputs, outputs=RandomOutputs(0))
    with pytest.raises(InputError, match="unknown"):
        ntk_operator(module, inputs, outputs="mean")  # pyright: ignore
    with pytest.raises(InputError, match="at least one sample"):
        ntk_operator(module, inputs[:0])
    with pytest.raises(BatchCoupled):
        ntk_operator(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)).double(), inputs)
    with pytest.raises(ShapeError, match="cannot multiply"):
        ntk_operator(module, inputs) @ torch.ones(5, dtype=torch.float64)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_methods_agree_on_every_architecture(name: str) -> None:
    module, inputs = make(name, 2 if name == "gpt" else 4)
    exact = dense_ntk(module, inputs, inputs, "full")
    for method in [*METHODS, Structured(budget=4000)]:
        found = empirical_ntk(module, inputs, method=method).kernel
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-11 * np.abs(exact).max())


def test_integer_inputs_and_in_place_layers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(9, 4, padding_idx=2), nn.Linear(4, 3)
            self.act = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.act(self.table(x)).sum(1))

    module, inputs = Net().double(), torch.tensor([[1, 2, 2], [3, 1, 8], [2, 2, 2]])
    exact = dense_ntk(module, inputs, inputs, "full")
    for method in METHODS:
        np.testing.assert_allclose(empirical_ntk(module, inputs, method=method).kernel, exact, atol=1e-12)
