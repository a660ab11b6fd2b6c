import itertools

import numpy as np
import pytest

from isthmus._core.errors import InputError
from isthmus.dynamics.methods import CanonicalNesterov, QuasiHyperbolic, ScheduledNesterov, TorchSgd, TwoMomentum
from tests.reference import dynamics as oracle

LAM = np.array([1e-3, 0.05, 0.3, 1.0, 1.9])


def path(method, values, steps):
    points = itertools.islice(method.iterate(lambda z: values * z, np.ones(len(values))), steps)
    return np.array([np.ones(len(values)), *points])


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.6},
        {"lr": 0.6, "momentum": 0.9},
        {"lr": 0.6, "momentum": 0.9, "dampening": 0.4},
        {"lr": 0.4, "momentum": 0.9, "nesterov": True},
        {"lr": 0.4, "momentum": 0.7, "weight_decay": 0.05},
        {"lr": 0.3, "momentum": 0.7, "weight_decay": 0.05, "nesterov": True},
    ],
)
def test_sgd_is_torch(options):
    run = oracle.torch_run(LAM, np.ones(5), 400, **options)
    assert np.abs(path(TorchSgd(**options), LAM, 400) - run).max() < 4e-15


def test_scheduled_nesterov_is_torch_with_reset_momentum():
    d, lr = 2.0, 0.5
    momenta = [(k - 1) / (k + d - 1) for k in range(1, 401)]
    values = np.array([0.01, 0.4, 1.0])
    run = oracle.torch_run(values, np.ones(3), 400, momenta=momenta, lr=lr, momentum=0.5, nesterov=True)
    mine = path(ScheduledNesterov(lr=lr, d=d), values, 400)
    assert np.abs(mine - run).max() < 1e-12
    assert np.abs(mine[:3, 2] - [1, 0.5, 1 / 6]).max() < 1e-15
    canonical = path(CanonicalNesterov(lr=lr, d=d), values, 400)
    assert np.abs(canonical[:3] - mine[:3]).max() < 1e-15
    assert np.abs(canonical[3] - mine[3]).max() > 1e-3


def test_a_schedule_of_settings_mirrors_the_buffer():
    settings = [(0.5, 0.0), (0.5, 0.0), (0.4, 0.6), (0.2, 0.9), (0.1, 0.0), (0.3, 0.5)]
    z, buf = np.ones(5), None
    want = [z]
    for lr, beta in settings:
        g = LAM * z
        if beta:
            buf = g if buf is None else beta * buf + g
        z = z - lr * (buf if beta else g)
        want.append(z)
    assert np.abs(path(TorchSgd(lr=0.5, schedule=tuple(settings)), LAM, 6) - np.array(want)).max() < 1e-15


@pytest.mark.parametrize("d", [2, 3, 6, 8])
def test_canonical_nesterov_is_its_recursion(d):
    want = np.stack([oracle.canonical_nesterov(0.5 * lam, d, 200) for lam in LAM], axis=1)
    assert np.abs(path(CanonicalNesterov(lr=0.5, d=d), LAM, 200) - want).max() < 1e-13


def test_quasi_hyperbolic_and_two_momentum_are_their_recursions():
    want = np.stack([oracle.quasi_hyperbolic(lam, 0.5, 0.7, 0.9, 300) for lam in LAM], axis=1)
    assert np.abs(path(QuasiHyperbolic(lr=0.5, nu=0.7, beta=0.9), LAM, 300) - want).max() < 1e-13
    want = np.stack([oracle.two_momentum(lam, 0.5, 0.2, 0.5, 300) for lam in LAM], axis=1)
    assert np.abs(path(TwoMomentum(lr=0.5, beta1=0.2, beta2=0.5), LAM, 300) - want).max() < 1e-12


def test_identities_between_methods():
    beta, lr = 0.8, 0.3
    nesterov = path(TorchSgd(lr=lr, momentum=beta, nesterov=True), LAM, 100)
    assert np.abs(path(QuasiHyperbolic(lr=lr / (1 - beta), nu=beta, beta=beta), LAM, 100) - nesterov).max() < 1e-13
    assert np.abs(path(QuasiHyperbolic(lr=lr, nu=0, beta=beta), LAM, 100) - path(TorchSgd(lr=lr), LAM, 100)).max() < 1e-15
    ball = path(TorchSgd(lr=lr, momentum=beta), LAM, 100)
    assert np.abs(path(TwoMomentum(lr=lr, beta1=beta, beta2=0), LAM, 100) - ball).max() < 1e-13


def test_reference_values():
    assert path(TorchSgd(lr=0.5, momentum=0.9), np.ones(1), 10)[10, 0] == pytest.approx(0.087724768, abs=1e-9)
    assert TorchSgd(lr=1, momentum=0.9).limit() == pytest.approx(3.8)
    assert TorchSgd(lr=1, momentum=0.9, nesterov=True).limit() == pytest.approx(1.357143, abs=1e-6)
    assert QuasiHyperbolic(lr=1, nu=1, beta=0.9).limit() == pytest.approx(38)
    for (one, two), limit in {(0.2, 0.2): 2.0, (0.2, 0.5): 1.4, (0.2, 0.8): 0.8}.items():
        assert TwoMomentum(lr=1, beta1=one, beta2=two).limit() == pytest.approx(limit)
    assert TwoMomentum(lr=1, beta1=0.2, beta2=0.8).frictionless
    assert TwoMomentum(lr=1, beta1=0.2, beta2=0.8).rate(np.array(1e-3)) == pytest.approx(0.99988, abs=1e-5)
    assert TwoMomentum(lr=1, beta1=0.2, beta2=0.2).rate(np.array(1e-3)) == pytest.approx(0.998331, abs=1e-6)
    steep = path(CanonicalNesterov(lr=1, d=3), np.array([1.30, 1.36]), 800)[-1]
    assert abs(steep[0]) < 1e-2 and abs(steep[1]) > 1e2


def random_methods(count):
    rng = np.random.default_rng(3)
    for _ in range(count):
        beta, nu, one = rng.uniform(0.01, 0.99), rng.uniform(0, 1), rng.uniform(0.01, 0.98)
        yield TorchSgd(lr=1, momentum=beta)
        yield TorchSgd(lr=1, momentum=beta, dampening=rng.uniform(0, 0.9))
        yield TorchSgd(lr=1, momentum=beta, nesterov=True)
        yield QuasiHyperbolic(lr=1, nu=nu, beta=beta)
        yield TwoMomentum(lr=1, beta1=one, beta2=rng.uniform(0, 0.99 - one))


def test_limits_are_where_the_spectral_radius_crosses_one():
    for method in random_methods(200):
        limit = method.limit()
        inside = np.linspace(0.01, 0.999, 30) * limit
        assert (method.rate(inside) < 1).all(), method
        assert method.rate(np.array(1.001 * limit)) > 1, method


def test_matrix_is_the_recursion():
    for method in [m for m in random_methods(3) if m.limit() > 0.5]:
        seen = path(method, np.array([0.4]), 60)[:, 0]
        growth = method.rate(np.array([0.4]))[0]
        power = np.linalg.matrix_power(method.matrix(np.array(0.4)), 60)
        assert abs(seen[-1]) <= 50 * 60 * growth**60
        assert np.abs(np.linalg.eigvals(power)).max() == pytest.approx(growth**60, rel=1e-6)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: TorchSgd(lr=0),
        lambda: TorchSgd(lr=float("nan")),
        lambda: TorchSgd(lr=1, momentum=-0.1),
        lambda: TorchSgd(lr=1, momentum=0.9, nesterov=True, dampening=0.1),
        lambda: QuasiHyperbolic(lr=1, nu=1.2, beta=0.9),
        lambda: QuasiHyperbolic(lr=1, nu=0.5, beta=1.0),
    ],
)
def test_nonsense_settings_are_refused(bad):
    with pytest.raises(InputError):
        bad()
