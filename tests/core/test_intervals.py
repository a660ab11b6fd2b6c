"""The interval over seeds: scipy's own, and its coverage."""

import numpy as np
import pytest
from scipy import stats

from isthmus._core.intervals import mean_interval
from isthmus.claims import Evidence, Verdict


def test_equals_scipy() -> None:
    values = np.random.default_rng(0).normal(size=(7, 3))
    mean, low, high = mean_interval(values)
    for column in range(3):
        own = stats.ttest_1samp(values[:, column], 0.0).confidence_interval(0.95)
        assert (low[column], high[column]) == pytest.approx((own.low, own.high))
    assert mean == pytest.approx(values.mean(axis=0))
    assert np.array_equal(mean_interval(values.T, axis=1), mean_interval(values))


def test_one_repetition_has_no_interval() -> None:
    mean, low, high = mean_interval(np.array([2.0]))
    assert mean == 2.0 and np.isnan(low) and np.isnan(high)


def test_covers_the_truth() -> None:
    _, low, high = mean_interval(np.random.default_rng(1).normal(3.0, 2.0, size=(5, 4000)))
    assert np.mean((low <= 3) & (high >= 3)) == pytest.approx(0.95, abs=0.015)


def test_evidence_over_seeds_judges_the_whole_interval() -> None:
    words = {"quantity": "q", "predicted": "p", "reason": "r"}
    values = np.array([0.9, 1.0, 1.1])
    assert Evidence.over_seeds(values, threshold=2.0, **words).verdict is Verdict.CONSISTENT
    assert Evidence.over_seeds(values, threshold=1.0, **words).verdict is Verdict.INCONCLUSIVE
    assert Evidence.over_seeds(values, threshold=0.5, **words).verdict is Verdict.FAILS
    assert Evidence.over_seeds(values[:1], threshold=9.0, **words).verdict is Verdict.INCONCLUSIVE


def test_evidence_of_the_worst_is_exact() -> None:
    words = {"quantity": "q", "predicted": "p", "reason": "r"}
    values = np.array([[1.0, 3.0], [2.0, 0.5]])
    held = Evidence.worst_of(values, threshold=3.0, **words)
    assert held.verdict is Verdict.HOLDS and held.estimate == 3.0 and held.interval == (3.0, 3.0)
    assert Evidence.worst_of(values, threshold=2.9, **words).verdict is Verdict.FAILS
