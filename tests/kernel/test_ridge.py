"""Ridge regression, its ridge and gradient descent, against dense solves, explicit leave-out formulas and loops."""

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import InputError, NumericalError, ShapeError
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.kernel import KernelSpectrum, empirical_ntk, kernel_ridge
from isthmus.linops.operator import DenseOperator


def points(samples: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    x = draw.uniform(-2, 2, (samples, 2))
    y = np.stack([np.sin(2 * x[:, 0]) + 0.3 * draw.normal(size=samples), x[:, 1] ** 2], axis=1)
    return x, y


def rbf(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.exp(-((x[:, None] - y[None]) ** 2).sum(2))


def test_every_solver_solves_the_ridge_system() -> None:
    x, y = points()
    gram, ridge = rbf(x, x), 1e-3
    exact = np.linalg.solve(gram + 60 * ridge * np.eye(60), y)
    fits = [
        kernel_ridge(gram, y, ridge, solver="cholesky"),
        kernel_ridge(gram, y, ridge, solver="cg", rtol=1e-12),
        kernel_ridge(DenseOperator(torch.from_numpy(gram)), y, ridge, rtol=1e-12),
        KernelSpectrum(gram).ridge(y, ridge),
    ]
    for fit in fits:
        np.testing.assert_allclose(fit.coefficients, exact, rtol=1e-7, atol=1e-9)
        assert fit.status.ok
    new = points(7, seed=3)[0]
    np.testing.assert_allclose(fits[0].predict(rbf(new, x)), rbf(new, x) @ exact, rtol=1e-9)


def test_sklearn_agrees() -> None:
    from sklearn.kernel_ridge import KernelRidge

    x, y = points()
    theirs = KernelRidge(alpha=60 * 1e-2, kernel="precomputed").fit(rbf(x, x), y).dual_coef_
    np.testing.assert_allclose(kernel_ridge(rbf(x, x), y, 1e-2).coefficients, theirs, rtol=1e-9)


def test_kare_is_generalized_cross_validation() -> None:
    x, y = points()
    gram, ridges = rbf(x, x), np.logspace(-6, 2, 9)
    kare = KernelSpectrum(gram).kare(y, ridges)
    for ridge, score in zip(ridges, kare, strict=True):
        smoother = gram @ np.linalg.inv(gram + 60 * ridge * np.eye(60))
        gcv = (np.sum((y - smoother @ y) ** 2) / 60) / (np.trace(np.eye(60) - smoother) / 60) ** 2
        assert score == pytest.approx(gcv, rel=1e-7)


def test_kare_predicts_the_squared_test_error() -> None:
    errors, forecasts = [], []
    for seed in range(8):
        x, y = points(200, seed)
        new, truth = points(400, seed + 100)
        fit = kernel_ridge(rbf(x, x), y)
        assert fit.choice is not None and not fit.choice.at_edge
        forecasts.append(fit.choice.scores.min())
        errors.append(np.mean(np.sum((fit.predict(rbf(new, x)) - truth) ** 2, axis=1)))
    assert np.mean(forecasts) == pytest.approx(np.mean(errors), rel=0.12)


def test_edge_of_the_grid_is_told() -> None:
    x, y = points()
    assert KernelSpectrum(rbf(x, x)).choose(y, [10.0, 100.0]).at_edge
    assert KernelSpectrum(rbf(x, x)).choose(y, [10.0, 100.0]).ridge == 10.0


def test_large_kernels_choose_on_seeded_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.kernel.ridge._SELECT", 40)
    x, y = points()
    first, again, other = (kernel_ridge(rbf(x, x), y, seed=seed) for seed in (0, 0, 1))
    assert first.choice is not None and other.choice is not None and again.choice is not None
    assert first.choice.samples == 40
    assert np.array_equal(first.choice.scores, again.choice.scores)
    assert not np.array_equal(first.choice.scores, other.choice.scores)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("steps", [0, 1, 50, 3000])
def test_descent_equals_the_loop(momentum: float, steps: int) -> None:
    x, y = points(25)
    gram, rate = rbf(x, x), 0.05
    a, v = np.zeros_like(y), np.zeros_like(y)
    for _ in range(steps):
        v = momentum * v + gram @ a - y
        a = a - rate * v
    fit = KernelSpectrum(gram).descent(y, rate, steps, momentum)
    np.testing.assert_allclose(fit.coefficients, a, rtol=1e-10, atol=1e-10 * max(1, np.abs(a).max()))


def test_descent_equals_training_a_linear_network() -> None:
    """50 steps of torch's SGD on a model that is linear in its parameters, with its own tangent kernel."""
    torch.manual_seed(0)
    net, x, y = nn.Linear(5, 1).double(), torch.randn(12, 5).double(), torch.randn(12, 1).double()
    kernel = empirical_ntk(net, x, outputs="trace").matrix
    start = net(x).detach().numpy()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.5)
    for _ in range(50):
        optimizer.zero_grad()
        (0.5 * (net(x) - y) ** 2).sum().backward()
        optimizer.step()
    fit = KernelSpectrum(kernel).descent(y.numpy() - start, 0.01, 50, momentum=0.5)
    np.testing.assert_allclose(start + fit.predict(kernel), net(x).detach().numpy(), rtol=1e-10, atol=1e-12)


def test_full_kernels_are_flattened() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double(), torch.randn(5, 4).double()
    record = empirical_ntk(net, x)
    y = np.random.default_rng(0).normal(size=15)
    expected = np.linalg.solve(record.matrix + 15 * 0.1 * np.eye(15), y)
    np.testing.assert_allclose(kernel_ridge(record, y, 0.1).coefficients[:, 0], expected, rtol=1e-9)


def test_wrong_input_is_named() -> None:
    x, y = points()
    gram = rbf(x, x)
    with pytest.raises(ShapeError, match="square"):
        kernel_ridge(gram[:10], y)
    with pytest.raises(ShapeError, match="targets"):
        kernel_ridge(gram, y[:10])
    with pytest.raises(InputError, match="not symmetric"):
        kernel_ridge(gram + np.triu(gram), y)
    with pytest.raises(InputError, match="NaN"):
        kernel_ridge(gram * np.nan, y)
    with pytest.raises(InputError, match="NaN"):
        kernel_ridge(gram, y * np.nan)
    with pytest.raises(InputError, match="positive semidefinite"):
        kernel_ridge(gram - 2 * np.eye(60), y)
    with pytest.raises(InputError, match="positive number"):
        kernel_ridge(gram, y, -1.0)
    with pytest.raises(InputError, match="needs ridge="):
        kernel_ridge(DenseOperator(torch.from_numpy(gram)), y)
    with pytest.raises(InputError, match="unknown"):
        kernel_ridge(gram, y, solver="magic")  # pyright: ignore
    with pytest.raises(InputError, match="diverges"):
        KernelSpectrum(gram).descent(y, 100.0, 5)
    with pytest.raises(NumericalError, match="not positive definite"):
        kernel_ridge(gram - 2 * np.eye(60), y, 1e-6)
    with pytest.raises(ShapeError, match="one column for each training point"):
        kernel_ridge(gram, y, 0.1).predict(gram[:, :5])


def test_zero_targets_give_zero() -> None:
    x, y = points()
    fit = kernel_ridge(rbf(x, x), 0 * y)
    assert np.array_equal(fit.coefficients, np.zeros_like(y))
    assert kernel_ridge(rbf(x, x), 0 * y, 0.1, solver="cg", seed=Seed(1)).status is Status.CONVERGED
