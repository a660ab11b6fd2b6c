"""The rule from interval to verdict, and rates against scipy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from isthmus._core.errors import InputError
from isthmus.claims import Evidence, Verdict, fit_rate

numbers = st.floats(-1e6, 1e6)


def evidence(low: float, high: float, threshold: float, *, exact: bool = False) -> Evidence:
    return Evidence(
        quantity="q", predicted="0", estimate=(low + high) / 2, interval=(low, high), threshold=threshold, reason="r",
        exact=exact, axis=np.arange(1.0), measured=np.zeros((3, 1)),
    )  # fmt: skip


@given(numbers, numbers, numbers, st.booleans())
def test_a_verdict_needs_the_whole_interval_on_one_side(one: float, other: float, threshold: float, exact: bool) -> None:
    low, high = sorted((one, other))
    found = evidence(low, high, threshold, exact=exact).verdict
    if high <= threshold:
        assert found is (Verdict.HOLDS if exact else Verdict.CONSISTENT)
    elif low > threshold:
        assert found is Verdict.FAILS
    else:
        assert found is Verdict.INCONCLUSIVE


@given(numbers, numbers, numbers)
def test_a_wider_interval_never_decides_more(middle: float, width: float, threshold: float) -> None:
    width = abs(width)
    narrow, wide = (evidence(middle - w, middle + w, threshold).verdict for w in (width, 2 * width + 1))
    assert wide in (narrow, Verdict.INCONCLUSIVE)


@pytest.mark.parametrize("interval", [(math.nan, 0), (0, math.nan), (-math.inf, 0), (5, math.inf)])
def test_an_interval_without_finite_ends_decides_nothing(interval: tuple) -> None:
    for exact in (True, False):
        assert evidence(*interval, 1.0, exact=exact).verdict is Verdict.INCONCLUSIVE


def test_the_verdicts_are_the_five_of_the_house() -> None:
    assert {v.value for v in Verdict} == {"holds", "consistent", "fails", "inapplicable", "inconclusive"}


def test_the_words_hold_everything_that_was_compared() -> None:
    text = evidence(0.25, 0.75, 2.0).words
    for part in ("q", "0.5", "[0.25, 0.75]", "3 seeds", "predicted 0", "at most 2", "(r)"):
        assert part in text


def power_law(exponent: float, seeds: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.array([32.0, 64, 128, 256, 512])
    rng = np.random.default_rng(seed)
    factor = np.exp(noise * rng.standard_normal((seeds, len(sizes))))
    return sizes, 3 * sizes**exponent * factor


@given(st.floats(-3, 3), st.integers(2, 6), st.floats(0.01, 1), st.integers(0, 99))
def test_a_rate_is_scipy_s_regression_seed_by_seed(exponent: float, seeds: int, noise: float, seed: int) -> None:
    sizes, measured = power_law(exponent, seeds, noise, seed)
    slopes = [stats.linregress(np.log(sizes), np.log(row)).slope for row in measured]
    low, high = stats.t.interval(0.95, seeds - 1, loc=np.mean(slopes), scale=stats.sem(slopes))
    found = fit_rate(sizes, measured)
    assert found.slope == pytest.approx(np.mean(slopes), abs=1e-9)
    assert found.interval == pytest.approx((low, high), abs=1e-9)


def test_an_exact_power_law_gives_its_exponent_and_no_width() -> None:
    sizes, measured = power_law(-0.5, 3, 0.0, 0)
    found = fit_rate(sizes, measured)
    assert found.slope == pytest.approx(-0.5, abs=1e-12)
    assert found.interval == pytest.approx((-0.5, -0.5), abs=1e-9)


def test_intervals_cover_the_exponent() -> None:
    inside = []
    for seed in range(600):
        low, high = fit_rate(*power_law(-0.5, 4, 0.3, seed)).interval
        inside.append(low <= -0.5 <= high)
    assert 0.925 <= np.mean(inside) <= 0.975


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_needs_positive_finite_numbers(bad: float) -> None:
    sizes, measured = power_law(1.0, 3, 0.1, 0)
    spoiled = measured.copy()
    spoiled[1, 2] = bad
    with pytest.raises(InputError, match="positive"):
        fit_rate(sizes, spoiled)
    with pytest.raises(InputError, match="positive"):
        fit_rate(np.where(sizes == 64, bad, sizes), measured)


@pytest.mark.parametrize(("sizes", "seeds"), [(3, 4), (5, 1), (0, 2)])
def test_a_rate_needs_four_sizes_and_two_seeds(sizes: int, seeds: int) -> None:
    axis, measured = power_law(1.0, seeds, 0.1, 0)
    with pytest.raises(InputError, match="at least 4 sizes and 2 seeds"):
        fit_rate(axis[:sizes], measured[:, :sizes])
    with pytest.raises(InputError, match="found 1"):
        fit_rate(np.full(5, 8.0), np.ones((3, 5)))
