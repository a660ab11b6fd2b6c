"""Traces and norms: unbiased, error bars that cover and have the size that theory gives, Hutch++ better where it should be."""

import numpy as np
import pytest
import torch
from scipy import stats

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.linops.operator import DenseOperator
from isthmus.linops.traces import frobenius_norm, hutch_plus_plus, hutchinson_trace
from tests.linops.spectra import symmetric


def coverage(estimates: list[tuple[float, float]], truth: float, probes: int) -> float:
    """Share of 95 % Student intervals that hold the truth."""
    half = stats.t.ppf(0.975, probes - 1)
    return float(np.mean([abs(value - truth) <= half * error for value, error in estimates]))


def test_hutchinson_error_bars_cover_and_have_the_right_size() -> None:
    spectrum = np.linspace(-1, 3, 40)
    matrix, probes = symmetric(spectrum), 10
    found = [hutchinson_trace(DenseOperator(matrix), probes=probes, seed=Seed(seed)) for seed in range(400)]
    assert 0.92 <= coverage([(e.value, e.standard_error) for e in found], float(spectrum.sum()), probes) <= 0.98
    variance = 2 * float((matrix**2).sum() - (matrix.diagonal() ** 2).sum()) / probes
    assert np.mean([e.standard_error**2 for e in found]) == pytest.approx(variance, rel=0.1)
    assert np.var([e.value for e in found]) == pytest.approx(variance, rel=0.25)


def test_hutchinson_is_exact_on_a_diagonal_and_counts() -> None:
    operator = DenseOperator(torch.diag(torch.arange(5, dtype=torch.float64)))
    found = hutchinson_trace(operator, probes=3, seed=Seed(0))
    assert (found.value, found.standard_error, found.probes) == (10.0, 0.0, 3)
    assert operator.matvecs == 3


def test_hutch_plus_plus_covers_and_is_unbiased() -> None:
    spectrum, third = np.r_[5.0, -4, 3, np.linspace(-1, 1, 57)], 8
    operator = DenseOperator(symmetric(spectrum))
    found = [hutch_plus_plus(operator, products=3 * third, seed=Seed(seed)) for seed in range(300)]
    assert {e.matvecs for e in found} == {24}
    assert operator.matvecs == 300 * 24
    values = np.array([e.value for e in found])
    assert abs(values.mean() - spectrum.sum()) <= 4 * values.std() / np.sqrt(300)
    assert 0.91 <= coverage([(e.value, e.standard_error) for e in found], float(spectrum.sum()), third) <= 0.98


@pytest.mark.parametrize(("decay", "gain"), [(2.0, 5.0), (0.0, 0.4)])
def test_hutch_plus_plus_gains_on_fast_decay_and_loses_little_on_none(decay: float, gain: float) -> None:
    """Equal products: with eigenvalues 1/i^2 the error falls by far more than five; with a flat spectrum three times fewer probes
    widen it by sqrt(3) at most."""
    spectrum = np.arange(1.0, 201) ** -decay + (decay == 0) * np.linspace(-0.5, 0.5, 200)
    operator, truth = DenseOperator(symmetric(spectrum)), spectrum.sum()
    errors = [
        [estimate(seed).value - truth for seed in range(60)]
        for estimate in (
            lambda seed: hutchinson_trace(operator, probes=30, seed=Seed(seed)),
            lambda seed: hutch_plus_plus(operator, products=30, seed=Seed(seed)),
        )
    ]
    assert np.std(errors[0]) / np.std(errors[1]) >= gain


def test_a_sketch_of_the_whole_space_is_exact() -> None:
    matrix = symmetric(np.array([3.0, -1, 0.5]))
    found = hutch_plus_plus(DenseOperator(matrix), products=12, seed=Seed(0))
    assert found.value == pytest.approx(2.5, abs=1e-12)
    assert found.standard_error == 0
    assert hutch_plus_plus(DenseOperator(torch.zeros(9, 9, dtype=torch.float64)), products=9, seed=Seed(0)).value == 0


def test_frobenius_norm_covers_and_has_the_right_size() -> None:
    """For Gaussian z, ``Var |A z|^2 = 2 trace A^4``."""
    spectrum, probes = np.linspace(-1, 3, 60), 12
    operator, norm = DenseOperator(symmetric(spectrum)), np.sqrt(np.sum(spectrum**2))
    found = [frobenius_norm(operator, probes=probes, seed=Seed(seed)) for seed in range(300)]
    assert 0.91 <= coverage([(e.value, e.standard_error) for e in found], float(norm), probes) <= 0.98
    variance = 2 * np.sum(spectrum**4) / probes / (4 * norm**2)
    assert np.mean([e.standard_error**2 for e in found]) == pytest.approx(variance, rel=0.15)
    assert frobenius_norm(DenseOperator(torch.zeros(4, 4)), probes=2, seed=Seed(0)).value == 0


def test_draws_repeat_and_too_few_are_refused() -> None:
    operator = DenseOperator(symmetric(np.linspace(0, 1, 20)))
    for estimate in (
        lambda seed: hutchinson_trace(operator, probes=4, seed=Seed(seed)),
        lambda seed: hutch_plus_plus(operator, products=12, seed=Seed(seed)),
        lambda seed: frobenius_norm(operator, probes=4, seed=Seed(seed)),
    ):
        assert estimate(1) == estimate(1) != estimate(2)
    for refused in (
        lambda: hutchinson_trace(operator, probes=1, seed=Seed(0)),
        lambda: frobenius_norm(operator, probes=1, seed=Seed(0)),
        lambda: hutch_plus_plus(operator, products=5, seed=Seed(0)),
    ):
        with pytest.raises(InputError, match="least"):
            refused()
