"""Hessian and Gauss-Newton operators conform, and are the dense matrices."""

from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from isthmus._core.errors import BatchCoupled, InputError
from isthmus.curvature import ggn_operator, hessian_operator
from isthmus.curvature.operators import curvature_operator
from isthmus.linops.operator import LinearOperator
from isthmus.model import derivatives
from isthmus.model.problem import Problem
from tests.conformance.operators import OperatorSuite
from tests.model.networks import build
from tests.reference import curvature as reference


def problem_of(name: str) -> Problem:
    return Problem(*build(name), nn.CrossEntropyLoss())


@cache
def hessian_of(name: str) -> Tensor:
    return reference.dense_hessian(*build(name), nn.CrossEntropyLoss())


@cache
def ggn_of(name: str) -> Tensor:
    module, inputs, _ = build(name)
    return reference.dense_cross_entropy_ggn(module, inputs)


class HessianSuite(OperatorSuite):
    name: str
    slack = 1e6  # finite differences of the gradient are good to seven digits

    def operator(self) -> LinearOperator:
        return hessian_operator(problem_of(self.name))

    def dense(self) -> Tensor:
        return hessian_of(self.name)


class GgnSuite(OperatorSuite):
    name: str

    def operator(self) -> LinearOperator:
        return ggn_operator(problem_of(self.name))

    def dense(self) -> Tensor:
        return ggn_of(self.name)


class TestHessianOfResidual(HessianSuite):
    name = "residual with layer norm"


class TestHessianOfTied(HessianSuite):
    name = "embedding tied to output"


class TestGgnOfResidual(GgnSuite):
    name = "residual with layer norm"


class TestGgnOfCnn(GgnSuite):
    name = "cnn with batch norm"


def test_an_unknown_matrix_is_named() -> None:
    with pytest.raises(InputError, match="'hessian' or 'ggn'"):
        curvature_operator(problem_of("mlp"), "fisher")


@pytest.mark.parametrize("make", [hessian_operator, ggn_operator])
def test_batch_statistics_are_refused(make) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    problem = Problem(net, torch.randn(8, 3), torch.randn(8, 1), nn.MSELoss())
    with pytest.raises(BatchCoupled, match=r"eval\(\)"):
        make(problem)
    make(problem.eval())


def test_the_ggn_of_a_linear_model_is_its_hessian() -> None:
    x, y = torch.randn(9, 4, dtype=torch.float64), torch.randint(0, 3, (9,))
    problem = Problem(nn.Linear(4, 3).double(), x, y, nn.CrossEntropyLoss())
    eye = torch.eye(15, dtype=torch.float64)
    torch.testing.assert_close(ggn_operator(problem) @ eye, hessian_operator(problem) @ eye, rtol=0, atol=1e-13)


@pytest.mark.parametrize("weights", [None, [1.0, 4.0, 0.5]])
@pytest.mark.parametrize("make", [hessian_operator, ggn_operator])
def test_data_of_many_batches_give_exactly_the_whole_batch_s_product(make, weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loader of 7 batches (the last one short), read and summed in chunks of 5: no mean of means, class weights included."""
    module, inputs, targets = build("mlp", 43)
    loss = nn.CrossEntropyLoss(weight=None if weights is None else torch.tensor(weights, dtype=torch.float64))
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=7)
    v = torch.randn(170, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = make(Problem(module, inputs, targets, loss)) @ v
    monkeypatch.setattr(derivatives, "default_chunk", lambda *_: 5)
    for share in (1.0, 0.0):  # graphs kept, and made anew for each product
        monkeypatch.setattr(derivatives, "_KEEP_SHARE", share)
        torch.testing.assert_close(make(Problem(module, loader, loss=loss)) @ v, whole, rtol=1e-12, atol=1e-14)
    leaves = [p.detach().requires_grad_() for p in module.parameters()]
    outputs = torch.func.functional_call(
        module, dict(zip([n for n, _ in module.named_parameters()], leaves, strict=True)), (inputs,)
    )
    if make is hessian_operator:
        slope = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss(outputs, targets), leaves, create_graph=True)])
        product = torch.cat([g.reshape(-1) for g in torch.autograd.grad(slope @ v, leaves)])
        torch.testing.assert_close(whole, product, rtol=1e-10, atol=1e-13)
