"""Extreme Hessian eigenvalues against numpy on the dense matrix, at minima and at saddles."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, VerificationError
from isthmus._core.status import Status
from isthmus.curvature import hessian_eigenvalues, hessian_operator
from isthmus.model import verification
from isthmus.model.problem import Problem
from tests.curvature.test_operators import ggn_of, hessian_of, problem_of
from tests.linops.spectra import best
from tests.model.networks import NETWORKS
from tests.reference.curvature import inputs_with_spectrum


@pytest.mark.parametrize("which", ["LA", "SA", "LM"])
@pytest.mark.parametrize("name", NETWORKS)
def test_values_are_numpy_s_on_the_dense_hessian(name: str, which: str) -> None:
    exact = np.linalg.eigvalsh(hessian_of(name).numpy())
    found = hessian_eigenvalues(problem_of(name), 4, rtol=1e-8, which=which)
    np.testing.assert_allclose(found.values, best(exact, 4, which), atol=2e-6 * np.abs(exact).max())
    assert found.converged.all()
    assert (found.errors <= 1e-8 * np.abs(exact).max() * 1.01).all()
    assert (found.errors <= found.residuals).all()
    assert (found.status, found.parameters) == (Status.CONVERGED, len(exact))


@pytest.mark.parametrize("name", ["mlp", "cnn with batch norm", "transformer encoder"])
def test_gauss_newton_values_are_numpy_s(name: str) -> None:
    exact = np.linalg.eigvalsh(ggn_of(name).numpy())
    found = hessian_eigenvalues(problem_of(name), 5, rtol=1e-10, matrix="ggn")
    np.testing.assert_allclose(found.values, exact[::-1][:5], atol=1e-9 * exact[-1])
    assert exact[0] >= -1e-12
    low = hessian_eigenvalues(problem_of(name), 2, rtol=1e-8, matrix="ggn", which="SA")
    np.testing.assert_allclose(low.values, 0, atol=1e-8)


def test_linear_regression_has_the_spectrum_of_its_inputs() -> None:
    values = np.array([10.0, 6, 3, 1, 0.5, 0.2])
    problem = Problem(
        nn.Linear(6, 1, bias=False).double(), inputs_with_spectrum(values, 30), torch.randn(30, 1).double(), nn.MSELoss()
    )
    np.testing.assert_allclose(hessian_eigenvalues(problem, 6, rtol=1e-10).values, values, rtol=1e-9)


class Product(nn.Module):
    """``f(x) = u v x``: the smallest network with a saddle."""

    def __init__(self, u: float, v: float) -> None:
        super().__init__()
        self.u, self.v = nn.Parameter(torch.tensor(u)), nn.Parameter(torch.tensor(v))

    def forward(self, x: Tensor) -> Tensor:
        return self.u * self.v * x


@pytest.mark.parametrize(("u", "v"), [(0.0, 0.0), (1.0, 1.0), (0.5, -2.0)])
def test_saddle_and_minimum_of_the_smallest_network(u: float, v: float) -> None:
    """Loss (uv - 1)^2: Hessian [[2 v^2, 4uv - 2], [4uv - 2, 2 u^2]]; a strict saddle at 0, a flat valley at uv = 1."""
    one = torch.ones(1, 1, dtype=torch.float64)
    problem = Problem(Product(u, v).double(), one, one, nn.MSELoss())
    exact = np.linalg.eigvalsh(np.array([[2 * v * v, 4 * u * v - 2], [4 * u * v - 2, 2 * u * u]]))
    np.testing.assert_allclose(hessian_eigenvalues(problem, 2, rtol=1e-9).values, exact[::-1], atol=1e-9)
    np.testing.assert_allclose(hessian_eigenvalues(problem, 1, rtol=1e-9, which="SA").values, exact[:1], atol=1e-9)
    if (u, v) == (0.0, 0.0):
        assert exact.tolist() == [-2, 2]


def test_the_convention_is_the_loss_that_was_given() -> None:
    x, y = torch.randn(10, 3, dtype=torch.float64), torch.randn(10, 2, dtype=torch.float64)
    net = nn.Linear(3, 2).double()
    mean, total = (hessian_eigenvalues(Problem(net, x, y, nn.MSELoss(reduction=r)), 3, rtol=1e-9).values for r in ("mean", "sum"))
    np.testing.assert_allclose(total, 20 * mean, rtol=1e-8)


def test_single_precision_converges_too() -> None:
    double = problem_of("residual with layer norm")
    exact = hessian_eigenvalues(double, 3, rtol=1e-8).values
    found = hessian_eigenvalues(double.to(torch.float32), 3, rtol=1e-5)
    assert found.converged.all()
    np.testing.assert_allclose(found.values, exact, atol=1e-4 * exact[0])


def test_a_budget_that_is_too_small_is_flagged() -> None:
    found = hessian_eigenvalues(problem_of("transformer encoder"), 6, rtol=1e-10, max_steps=8)
    assert found.status is Status.MAX_STEPS
    assert not found.converged.all()
    assert len(found.values) == 6


def test_cost_and_seed_are_recorded_and_repeat() -> None:
    one, same = (hessian_eigenvalues(problem_of("mlp"), 2, seed=3) for _ in range(2))
    assert one.same_numbers(same)
    assert one.cost.matvecs >= 2
    assert one.provenance.seed == "3"


def test_a_wrong_product_is_caught_on_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of("mlp")
    right = verification.HessianProduct

    class Wrong(right):
        def __call__(self, vectors: Tensor) -> Tensor:
            return 1.01 * super().__call__(vectors)

    monkeypatch.setattr(verification, "HessianProduct", Wrong)
    with pytest.raises(VerificationError, match="finite differences"):
        hessian_eigenvalues(problem, 1)
    assert not hessian_eigenvalues(problem, 1, verify=False).provenance.verified
    skew = hessian_operator(problem)
    product = skew.product
    skew.product = lambda v: product(v) + torch.roll(v, 1)
    with pytest.raises(VerificationError, match="not symmetric"):
        skew.verify(verification.Seed(0))


def test_what_cannot_be_asked_is_refused() -> None:
    for bad in ({"k": 0}, {"k": 10**6}, {"rtol": 0.0}, {"matrix": "fisher"}):
        with pytest.raises(InputError):
            hessian_eigenvalues(problem_of("mlp"), **bad)
