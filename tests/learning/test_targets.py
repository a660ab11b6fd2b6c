"""Targets against their statistics and definitions; explicit weights against the targets."""

import numpy as np
import pytest
import torch

from isthmus._core.errors import HypothesisError, InputError
from isthmus._core.seeds import Seed
from isthmus.learning.indicator import explicit_weights, indicator_weight, kappa
from isthmus.learning.leap import leap
from isthmus.learning.pseudo import PseudoNetwork
from isthmus.learning.series import SERIES, polynomial
from isthmus.learning.targets import (
    TARGETS,
    BooleanFunction,
    Composite,
    ParityHierarchy,
    QuadraticHierarchy,
    SpikedCovariates,
    TwoLayerTeacher,
    padded,
)
from isthmus.model.zoo import relu_net


@pytest.mark.parametrize("name", TARGETS)
def test_samples_are_finite_seeded_and_shaped(name: str) -> None:
    x, y = TARGETS[name].sample(50, 3)
    again = TARGETS[name].sample(50, 3)
    assert x.dtype == y.dtype == torch.float64
    assert x.shape[0] == y.shape[0] == 50
    assert y.ndim == 2
    assert torch.isfinite(y).all()
    assert torch.equal(x, again[0])
    assert torch.equal(y, again[1])
    assert not torch.equal(x, TARGETS[name].sample(50, 4)[0])


@pytest.mark.parametrize(("name", "mean", "variance"), [("sincos", -0.069, 30.98), ("tanh", 0.019, 76.4)])
def test_composite_statistics(name: str, mean: float, variance: float) -> None:
    _, y = Composite(name).sample(400_000, 0)
    assert float(y.mean()) == pytest.approx(mean, abs=0.05)
    assert float(y.var()) == pytest.approx(variance, rel=0.01)
    assert float(y.abs().max()) < 25.5


@pytest.mark.parametrize("name", ["two-layer", "three-layer"])
def test_theory_inputs_have_norm_one_and_last_coordinate_one_half(name: str) -> None:
    x, _ = TARGETS[name].sample(20, 0)
    torch.testing.assert_close(x.norm(dim=1), torch.ones(20, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert bool((x[:, -1] == 0.5).all())


def test_padding_refuses_a_bound_that_is_too_small() -> None:
    raw = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert padded(raw, float(raw.norm(dim=1).max())).shape == (5, 5)
    with pytest.raises(InputError, match="below the largest"):
        padded(raw, 0.1)


def test_two_layer_teacher_is_its_formula() -> None:
    target = TwoLayerTeacher(5, 2, 3, SERIES["sin"])
    x, y = target.sample(4, 0)
    one, two, a = target.weights
    expected = [[sum(a[r, i] * torch.sin(one[i] @ row) * (two[i] @ row) for i in range(2)) for r in range(3)] for row in x]
    torch.testing.assert_close(y, torch.tensor(expected, dtype=torch.float64))


def test_parity_hierarchy_has_the_stated_composite_error() -> None:
    target = ParityHierarchy()
    x, y = target.sample(200, 0)
    only_pairs = x[:, ::2] * x[:, 1::2]
    assert float((y - only_pairs).square().sum(1).mean()) == pytest.approx(15 * 0.09)


def test_boolean_and_spiked_targets() -> None:
    x, y = BooleanFunction.staircase(3, 5).sample(10, 0)
    expected = x[:, 0] + x[:, 0] * x[:, 1] + x[:, 0] * x[:, 1] * x[:, 2]
    torch.testing.assert_close(y[:, 0], expected)
    wide, one = SpikedCovariates(snr=100.0).sample(2000, 0), SpikedCovariates(snr=1.0).sample(2000, 0)
    torch.testing.assert_close(wide[1], one[1])
    assert float(wide[0][:, :3].var()) == pytest.approx(100, rel=0.1)


def test_hierarchies_have_their_degrees() -> None:
    """Along a ray, level l is a polynomial of degree 2^l: differences of one order more vanish."""
    x = torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None] * torch.ones(4, dtype=torch.float64)
    for levels in (1, 2):
        values = QuadraticHierarchy(4, 3, levels, seed=1)(x)[:, 0].numpy()
        assert np.abs(np.diff(values, 2**levels + 1)).max() < 1e-12
        assert np.abs(np.diff(values, 2**levels)).max() > 1e-6
    first = QuadraticHierarchy(levels=1).sample(50_000, 0)[1]
    assert float(first.mean()) == pytest.approx(0, abs=0.03)
    with pytest.raises(InputError, match="one level"):
        QuadraticHierarchy(levels=0)


def test_named_boolean_targets_have_their_leaps() -> None:
    targets = {name: TARGETS[name] for name in ("staircase", "leap")}
    assert {name: leap(t.support) for name, t in targets.items() if isinstance(t, BooleanFunction)} == {"staircase": 1, "leap": 2}


def test_kappa_has_the_known_values() -> None:
    np.testing.assert_allclose([kappa(i) for i in (1, 2, 3, 4)], [0.282095, 0.141047, 0.211571, 0.528928], rtol=1e-5)


@pytest.mark.parametrize("coefficients", [[0, 1], [0, 0, 1], [0.3, -0.5, 0.2]])
def test_indicator_identity_by_monte_carlo(coefficients: list[float]) -> None:
    generator = np.random.default_rng(0)
    alpha, beta, bias = generator.normal(size=(3, 1_000_000))
    h = indicator_weight(polynomial(coefficients), alpha, bias)
    for x in (-0.8, 0.1, 0.6):
        values = h * (alpha * x + beta * np.sqrt(1 - x * x) + bias >= 0)
        error = values.std() / 1000
        assert values.mean() == pytest.approx(np.polynomial.polynomial.polyval(x, coefficients), abs=5 * error)


def test_without_bias_even_powers_are_out_of_reach() -> None:
    generator = np.random.default_rng(0)
    alpha, beta = generator.normal(size=(2, 1_000_000))
    h = alpha**2 - 1
    assert (h * (alpha * 0.6 + beta * 0.8 >= 0)).mean() == pytest.approx(0, abs=5e-3)


def test_explicit_weights_realize_the_target_at_the_stated_rate() -> None:
    target = TwoLayerTeacher(5, 1, 1, polynomial([0, 0, 1]))
    x, y = target.sample(300, 1)
    errors, norms = [], []
    for width, seeds in ((1000, 16), (64_000, 3)):
        one, many = [], []
        for seed in range(seeds):
            pseudo = PseudoNetwork.of(relu_net(5, width, seed=Seed(seed).child(width)).double())
            move = explicit_weights(pseudo, target)
            one.append(float((pseudo.linear(x, move) - y).square().mean().sqrt()))
            many.append(float(move.first.norm()) * width**0.5)
        errors.append(np.mean(one))
        norms.append(np.mean(many))
    assert errors[1] < 0.25 * errors[0]
    assert norms[1] == pytest.approx(norms[0], rel=0.1)


def test_explicit_weights_refuse_what_they_cannot_do() -> None:
    deep = PseudoNetwork.of(relu_net(5, 8, depth=3).double())
    with pytest.raises(InputError, match="two-layer"):
        explicit_weights(deep, TwoLayerTeacher(5))
    with pytest.raises(HypothesisError, match="truncated"):
        explicit_weights(PseudoNetwork.of(relu_net(5, 8).double()), TwoLayerTeacher(5, activation=SERIES["sin"]))
    with pytest.raises(InputError, match="kappa"):
        kappa(0)
