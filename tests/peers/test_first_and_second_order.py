"""Wrong second derivatives, wrong kernels of reused modules, and losses that depend on chunking, found in other tools."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isthmus.curvature import hessian_operator
from isthmus.kernel import empirical_ntk
from isthmus.model import evaluation
from isthmus.model.derivatives import loss_gradient, loss_value
from isthmus.model.problem import Problem
from tests.model.networks import build
from tests.reference import derivatives as reference
from tests.reference.curvature import dense_hessian
from tests.reference.kernels import dense_ntk


class Normalized(nn.Module):
    """LayerNorm between smooth layers: curvlinops 3.0.1 is 5-25 % wrong here and asymmetric."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def instance_normalized() -> nn.Module:
    """InstanceNorm after a convolution: 1.8 % wrong there."""
    return nn.Sequential(nn.Conv1d(1, 3, 2), nn.InstanceNorm1d(3, affine=True), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3))


def encoder() -> nn.Module:
    """TransformerEncoderLayer: 1.4 % wrong there, even with attention by its formula."""
    layer = nn.TransformerEncoderLayer(5, 1, 8, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Unflatten(1, (1, 5)), layer, nn.Flatten(), nn.Linear(5, 3))


@pytest.mark.parametrize(
    ("make", "shape"), [(Normalized, (5,)), (instance_normalized, (1, 5)), (encoder, (5,))], ids=["layer", "instance", "encoder"]
)
def test_hessians_through_normalization_are_right_and_symmetric(make, shape: tuple) -> None:
    torch.manual_seed(0)
    module, inputs, labels = make().double().eval(), torch.randn(6, *shape).double(), torch.randint(0, 3, (6,))
    exact = dense_hessian(module, inputs, labels, nn.CrossEntropyLoss())
    operator = hessian_operator(Problem(module, inputs, labels, nn.CrossEntropyLoss()))
    found = operator @ torch.eye(operator.shape[0], dtype=torch.float64)
    assert float((found - exact).norm() / exact.norm()) < 1e-6
    assert float((found - found.T).norm() / exact.norm()) < 1e-12


@pytest.mark.parametrize(
    "name", ["linear called twice", "tied weights", "embedding tied to output", "transformer encoder", "lstm"]
)
def test_kernels_of_reused_modules_and_of_unusual_layers_are_exact(name: str) -> None:
    """nngeometry 0.4: silently 31 % off when one module is called twice; attention, Embedding and LSTM raise."""
    module, inputs, _ = build(name)
    for outputs in ("full", "trace"):
        exact = dense_ntk(module, inputs, inputs, outputs)
        np.testing.assert_allclose(
            empirical_ntk(module, inputs, outputs=outputs).kernel, exact, rtol=0, atol=1e-11 * np.abs(exact).max()
        )


class Functional(nn.Module):
    """A weight used by a layer and once more by hand: no hook sees the second use."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.layer(x)) @ self.layer.weight + self.layer.bias


def test_a_hidden_second_use_of_a_weight_is_counted() -> None:
    module, inputs = Functional().double(), torch.randn(5, 4, dtype=torch.float64)
    exact = dense_ntk(module, inputs, inputs, "full")
    np.testing.assert_allclose(empirical_ntk(module, inputs).kernel, exact, rtol=0, atol=1e-11 * np.abs(exact).max())


@pytest.mark.parametrize("samples", range(1, 41))
def test_no_loss_depends_on_chunking(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLPGradientFlow.jl 0.2: wrong losses when the number of samples left 3, 5, 6 or 7 modulo 8."""
    module, inputs, labels = build("mlp", samples)
    loss = nn.CrossEntropyLoss()
    problem = Problem(module, inputs, labels, loss, test=(inputs, labels))
    with torch.no_grad():
        whole, wrong = float(loss(module(inputs), labels)), float((module(inputs).argmax(1) != labels).double().mean())
    gradient = reference.loss_gradient(module, inputs, labels, loss)
    monkeypatch.setattr(evaluation, "_ROWS", 8)
    for data in ("train", "test"):
        score = evaluation.evaluate(problem, data=data)
        assert (score.loss, score.error) == (pytest.approx(whole, rel=1e-13), pytest.approx(wrong))
    assert loss_value(problem, chunk=8) == pytest.approx(whole, rel=1e-13)
    torch.testing.assert_close(loss_gradient(problem, chunk=8), gradient, rtol=1e-11, atol=1e-14)
