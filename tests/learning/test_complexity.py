"""Complexity against closed forms, exact rationals, and values computed elsewhere."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus._core.errors import HypothesisError, InputError
from isthmus.learning.complexity import bounds, kernel_complexity, sample_complexity, width_complexity
from isthmus.learning.leap import is_merged_staircase, leap
from isthmus.learning.series import SERIES, polynomial, power_series, truncated, truncation_degree

MPMATH = {
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "exp": mpmath.exp,
    "erf": mpmath.erf,
    "tanh": mpmath.tanh,
    "gelu": lambda z: z * mpmath.ncdf(z),
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
    "softplus": lambda z: mpmath.log(1 + mpmath.exp(z)),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
}


@pytest.mark.parametrize("name", SERIES)
def test_coefficients_equal_those_of_multiprecision_differentiation(name: str) -> None:
    with mpmath.workdps(60):
        expected = [float(c) for c in mpmath.taylor(MPMATH[name], 0, 14)]
    np.testing.assert_allclose(SERIES[name].values(14), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", SERIES)
def test_series_sum_to_their_function(name: str) -> None:
    z = np.linspace(-1, 1, 11)
    total = np.polynomial.polynomial.polyval(z, SERIES[name].values(160))
    np.testing.assert_allclose(total, SERIES[name].function(z), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("series", "radius", "expected"),
    [
        (polynomial([0, 1]), 1, 3.36358566101),
        (polynomial([0, 0, 1]), 1, 6.83852117086),
        (polynomial([0, 0, 0, 1]), 1, 11.313708499),
        (SERIES["sin"], 1, 5.44859411764),
        (SERIES["cos"], 1, 5.15888317106),
        (SERIES["exp"], 1, 10.6074772887),
        (SERIES["tanh"], 1, 14.9000873092),
        (SERIES["tanh"], 1.5, 5067.0537868672),
        (SERIES["sin"], 3, 127.515350326),
        (SERIES["sin"].scaled(3), 1, 127.515350326),
    ],
)
def test_sample_complexity_values(series: object, radius: float, expected: float) -> None:
    assert sample_complexity(series, radius, constant=1.0).value == pytest.approx(expected, rel=1e-9)  # type: ignore[arg-type]


def test_divergence_is_told_and_truncation_helps() -> None:
    for name, radius in (("tanh", 1.6), ("tanh", math.pi / 2), ("sigmoid", 3.2), ("softplus", math.pi), ("silu", 4)):
        found = sample_complexity(SERIES[name], radius)
        assert not found.converges
        assert math.isinf(found.log10)
    assert math.isinf(width_complexity(SERIES["tanh"], 1.0, constant=2).log10)
    assert truncation_degree(SERIES["tanh"], 0.1) == 3
    assert width_complexity(truncated(SERIES["tanh"], 3), 1.0, eps=0.1, constant=1).value == pytest.approx(3.0749, rel=1e-4)
    with pytest.raises(HypothesisError, match="converges for"):
        truncation_degree(SERIES["tanh"], 0.1, bound=1.6)


def test_width_complexity_values() -> None:
    square = polynomial([0, 0, 1])
    assert width_complexity(square, 1, eps=0.01, constant=100).value == pytest.approx(33025.8509299, rel=1e-9)
    for name, expected in (("sin", 2.80590195886), ("exp", 5.93851456205)):
        assert width_complexity(SERIES[name], 1, eps=0.1, constant=1).value == pytest.approx(expected, rel=1e-9)
    assert width_complexity(SERIES["sin"], 1, eps=0.1, constant=100).value == pytest.approx(math.sinh(100), rel=1e-6)
    assert width_complexity(SERIES["exp"], 1, eps=0.1, constant=100).value == pytest.approx(math.exp(100), rel=1e-6)


def test_the_default_constant_stays_in_log_space() -> None:
    found = width_complexity(SERIES["exp"], 1.0)
    assert found.log10 == pytest.approx(1e4 / math.log(10), rel=1e-6)
    assert math.isinf(found.value)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 8), st.floats(0.2, 3), st.floats(0.01, 0.3), st.floats(1, 1e3))
def test_powers_have_closed_forms(p: int, radius: float, eps: float, constant: float) -> None:
    power = polynomial([0.0] * p + [1.0])
    expected = constant * (p + 1) ** 1.75 * radius**p
    assert sample_complexity(power, radius, constant=constant).value == pytest.approx(expected, rel=1e-9)
    expected = (constant * radius) ** p * (1 + (math.log(1 / eps) / p) ** (p / 2))
    assert width_complexity(power, radius, eps=eps, constant=constant).value == pytest.approx(expected, rel=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(["sin", "exp", "erf", "gelu"]), st.floats(0.1, 4), st.floats(0.1, 3))
def test_scaling_the_argument_scales_the_radius(name: str, factor: float, radius: float) -> None:
    scaled, plain = SERIES[name].scaled(factor), SERIES[name]
    assert sample_complexity(scaled, radius).log10 == pytest.approx(sample_complexity(plain, factor * radius).log10, abs=1e-9)
    one, two = width_complexity(scaled, radius, constant=3), width_complexity(plain, factor * radius, constant=3)
    assert one.log10 == pytest.approx(two.log10, abs=1e-9)


def test_sample_complexity_is_not_always_below_width_complexity() -> None:
    sine = SERIES["sin"]
    assert sample_complexity(sine, constant=1).log10 > width_complexity(sine, eps=0.1, constant=1).log10
    assert sample_complexity(sine, constant=10).log10 < width_complexity(sine, eps=0.1, constant=10).log10


def test_bounds_are_orders_and_say_so() -> None:
    square = polynomial([0, 0, 1])
    found = bounds(square, square, units=(2, 4), eps=0.1, constant=1)
    inner = width_complexity(square, eps=0.1, constant=1).value
    outer = width_complexity(square, 2 * inner, eps=0.1, constant=1).value
    assert found.samples_three_layer == pytest.approx(2 * math.log10(outer * inner * 2 * 2 / 0.1), rel=1e-9)
    assert "unknown" in found.flag
    assert math.isinf(bounds(SERIES["exp"], SERIES["exp"]).samples_three_layer)


def test_kernel_complexity_is_the_norm_of_the_interpolant() -> None:
    generator = np.random.default_rng(0)
    rows, weights = generator.normal(size=(6, 6)), generator.normal(size=6)
    found = kernel_complexity(rows @ rows.T, rows @ weights, jitter=1e-14)
    assert found == pytest.approx(np.linalg.norm(weights) / 6**0.5, rel=1e-6)


def test_refusals() -> None:
    with pytest.raises(HypothesisError, match="kink"):
        power_series("relu")
    with pytest.raises(InputError, match="not known"):
        power_series("sinus")
    with pytest.raises(InputError, match="eps"):
        width_complexity(SERIES["sin"], eps=2)
    with pytest.raises(InputError, match="R must"):
        sample_complexity(SERIES["sin"], -1)
    with pytest.raises(InputError, match="zero function"):
        leap([])


def test_leap_of_known_functions() -> None:
    staircase, jump = [{1}, {1, 2}, {1, 2, 3}], [{1}, {1, 2, 3}]
    assert (leap(staircase), is_merged_staircase(staircase)) == (1, True)
    assert (leap(jump), is_merged_staircase(jump)) == (2, False)
    assert leap([set()]) == 0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.frozensets(st.integers(0, 4), max_size=4), min_size=1, max_size=5))
def test_leap_equals_brute_force_over_orderings(support: list) -> None:
    def worst(order: tuple) -> int:
        seen, jump = set(), 0
        for monomial in order:
            jump, seen = max(jump, len(monomial - seen)), seen | monomial
        return jump

    assert leap(support) == min(worst(order) for order in itertools.permutations(support))
