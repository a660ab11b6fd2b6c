"""The spectral density: mass one, the dense spectrum within its error bars, and honest error bars."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from isthmus._core.errors import InputError
from isthmus._core.status import Status
from isthmus.curvature import spectral_density
from isthmus.model.problem import Problem
from tests.curvature.test_operators import hessian_of, problem_of
from tests.reference.curvature import inputs_with_spectrum, smoothed


def regression(values: np.ndarray, samples: int = 60) -> Problem:
    inputs = inputs_with_spectrum(values, samples)
    net = nn.Linear(len(values), 1, bias=False).double()
    return Problem(net, inputs, torch.zeros(samples, 1, dtype=torch.float64), nn.MSELoss())


SPECTRUM = np.r_[10.0, 6.0, np.linspace(0, 1, 14)]


@pytest.mark.parametrize("name", ["mlp", "residual with layer norm", "cnn with batch norm"])
@pytest.mark.parametrize("steps", [5, 40])
def test_mass_is_one_and_nothing_is_negative(name: str, steps: int) -> None:
    found = spectral_density(problem_of(name), steps=steps, probes=3)
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1, abs=2e-3)
    assert (found.density >= 0).all()
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)
    assert found.cost.matvecs == np.isfinite(found.nodes).sum()
    assert found.status is Status.ESTIMATED


def test_many_probes_give_the_smoothed_dense_spectrum() -> None:
    found = spectral_density(regression(SPECTRUM), steps=16, probes=150)
    exact = smoothed(SPECTRUM, found.grid, found.bandwidth)
    mass = np.trapezoid(np.abs(found.density - exact), found.grid)
    assert mass < 0.15
    scores = (found.density - exact) / np.maximum(found.standard_error, 1e-300)
    assert np.abs(scores[exact > 1e-3]).max() < 5


def test_a_real_network_s_trace_and_moments_are_those_of_its_dense_hessian() -> None:
    """Two steps are exact for both: the quadrature has degree three."""
    found = spectral_density(problem_of("mlp"), steps=2, probes=200)
    dense = hessian_of("mlp").numpy()
    value, error = found.trace
    assert abs(value - np.trace(dense)) < 4 * error
    second = np.nansum(found.weights * found.nodes**2, axis=1)
    assert abs(second.mean() - np.mean(np.linalg.eigvalsh(dense) ** 2)) < 4 * second.std(ddof=1) / np.sqrt(200)


def test_error_bars_have_the_right_size_and_cover() -> None:
    """For z uniform on the sphere, ``Var(p z.Az) = 2p/(p + 2) (tr A^2 - (tr A)^2 / p)``.

    Six draws of a skewed quantity: 95 % Student intervals cover 90.4 % (100 000 simulated draws of z.Az).
    """
    problem, probes, runs, p = regression(SPECTRUM), 6, 80, len(SPECTRUM)
    quantile = stats.t.ppf(0.975, probes - 1)
    points, covered, errors = [], [], []
    for seed in range(runs):
        found = spectral_density(problem, steps=p, probes=probes, seed=seed, verify=False)
        exact = smoothed(SPECTRUM, found.grid, found.bandwidth)
        chosen = np.searchsorted(found.grid, [0.2, 0.5, 0.8])
        points += list(np.abs(found.density - exact)[chosen] <= quantile * found.standard_error[chosen])
        covered.append(abs(found.trace[0] - SPECTRUM.sum()) <= quantile * found.trace[1])
        errors.append(found.trace[1])
    variance = 2 * p / (p + 2) * (np.sum(SPECTRUM**2) - SPECTRUM.sum() ** 2 / p)
    assert probes * np.mean(np.square(errors)) == pytest.approx(variance, rel=0.2)
    assert np.mean(covered) == pytest.approx(0.904, abs=3 * np.sqrt(0.904 * 0.096 / runs))
    assert 0.84 <= np.mean(points) <= 0.98


def test_planted_outliers_are_found_and_a_bulk_has_none() -> None:
    values = np.r_[10.0, 6.0, np.linspace(0, 1, 198)]
    found = spectral_density(regression(values, 250), steps=80, probes=4)
    np.testing.assert_allclose(found.outliers[found.outliers > 1.5], [10, 6], rtol=1e-6)
    bulk = spectral_density(regression(np.linspace(0, 1, 200), 250), steps=80, probes=4)
    assert len(bulk.outliers) == 0


def test_a_multiple_of_the_identity_is_one_peak() -> None:
    found = spectral_density(regression(np.full(10, 3.0)), steps=5, probes=2)
    assert found.grid[found.density.argmax()] == pytest.approx(3, abs=1e-9)
    assert found.trace[0] == pytest.approx(30)
    assert np.isnan(found.nodes[:, 1:]).all()


def test_gauss_newton_is_never_negative() -> None:
    found = spectral_density(problem_of("mlp"), steps=20, probes=2, matrix="ggn")
    assert np.nanmin(found.nodes) >= -1e-10
    assert found.matrix == "ggn"


def test_draws_repeat_and_few_probes_are_refused() -> None:
    problem = problem_of("mlp")
    assert spectral_density(problem, steps=5, seed=1).same_numbers(spectral_density(problem, steps=5, seed=1))
    assert not spectral_density(problem, steps=5, seed=1).same_numbers(spectral_density(problem, steps=5, seed=2))
    for bad in ({"probes": 1}, {"steps": 0}):
        with pytest.raises(InputError, match=r"probes >= 2 and steps >= 1"):
            spectral_density(problem, **bad)
