"""Lanczos keeps its defining equations, and its quadrature and traces their promises."""

import numpy as np
import pytest
import torch
from scipy import stats

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.linops.lanczos import lanczos
from isthmus.linops.operator import DenseOperator
from isthmus.linops.random import gaussian
from isthmus.linops.slq import hutchinson_trace, stochastic_lanczos_quadrature
from tests.linops.spectra import HARD, symmetric


def tridiagonal(alphas: torch.Tensor, betas: torch.Tensor) -> torch.Tensor:
    return torch.diag(alphas) + torch.diag(betas[:-1], 1) + torch.diag(betas[:-1], -1)


@pytest.mark.parametrize("name", HARD)
def test_basis_is_orthonormal_and_tridiagonalizes(name: str) -> None:
    matrix = symmetric(HARD[name])
    run = lanczos(DenseOperator(matrix), gaussian((len(matrix),), Seed(0), torch.float64), 60)
    q, t = run.basis, tridiagonal(run.alphas, run.betas)
    torch.testing.assert_close(q @ q.T, torch.eye(len(q), dtype=torch.float64), rtol=0, atol=1e-12)
    rest = q @ matrix - t @ q
    scale = float(matrix.abs().max()) + 1e-300
    torch.testing.assert_close(rest[:-1], torch.zeros_like(rest[:-1]), rtol=0, atol=1e-12 * scale * len(matrix))
    assert float(rest[-1].norm()) == pytest.approx(float(run.betas[-1]), abs=1e-12 * scale * len(matrix))
    assert run.exhausted == (len(np.unique(HARD[name])) < 60 or len(q) == len(matrix))


def test_steps_never_exceed_the_size() -> None:
    run = lanczos(DenseOperator(symmetric(np.arange(1.0, 6))), torch.ones(5, dtype=torch.float64), 50)
    assert len(run.alphas) == 5
    assert run.exhausted
    np.testing.assert_allclose(np.linalg.eigvalsh(tridiagonal(run.alphas, run.betas).numpy()), np.arange(1.0, 6), atol=1e-12)


@pytest.mark.parametrize("degree", range(8))
def test_quadrature_is_exact_up_to_degree_seven_in_four_steps(degree: int) -> None:
    matrix = symmetric(np.linspace(-1, 2, 40))
    quadrature = stochastic_lanczos_quadrature(DenseOperator(matrix), steps=4, probes=3, seed=Seed(5))
    power = torch.linalg.matrix_power(matrix, degree)
    for probe in range(3):
        z = gaussian((40,), Seed(5).child("probe", probe), torch.float64)
        exact = float(z @ power @ z / (z @ z))
        assert np.sum(quadrature.weights[probe] * quadrature.nodes[probe] ** degree) == pytest.approx(exact, abs=1e-10)


def test_degree_eight_is_not_exact_in_four_steps() -> None:
    matrix = symmetric(np.linspace(-1, 2, 40))
    quadrature = stochastic_lanczos_quadrature(DenseOperator(matrix), steps=4, probes=1, seed=Seed(5))
    z = gaussian((40,), Seed(5).child("probe", 0), torch.float64)
    exact = float(z @ torch.linalg.matrix_power(matrix, 8) @ z / (z @ z))
    assert abs(np.sum(quadrature.weights[0] * quadrature.nodes[0] ** 8) - exact) > 1e-4


def test_an_exhausted_space_is_padded_and_weights_sum_to_one() -> None:
    operator = DenseOperator(symmetric(HARD["rank two"]))
    quadrature = stochastic_lanczos_quadrature(operator, steps=20, probes=3, seed=Seed(0))
    assert quadrature.nodes.shape == (3, 20)
    assert (np.isnan(quadrature.nodes) == (quadrature.weights == 0)).all()
    assert np.isfinite(quadrature.nodes).sum(axis=1).tolist() == [3, 3, 3]
    np.testing.assert_allclose(quadrature.weights.sum(axis=1), 1)
    assert quadrature.matvecs == operator.matvecs == 9


def coverage(estimates: list[tuple[float, float]], truth: float, probes: int) -> float:
    """Share of 95 % Student intervals that hold the truth."""
    half = stats.t.ppf(0.975, probes - 1)
    return float(np.mean([abs(value - truth) <= half * error for value, error in estimates]))


def test_quadrature_error_bars_cover() -> None:
    spectrum = np.r_[4.0, 3, np.linspace(-1, 1, 38)]
    operator, probes, estimates = DenseOperator(symmetric(spectrum)), 6, []
    for seed in range(150):
        found = stochastic_lanczos_quadrature(operator, steps=6, probes=probes, seed=Seed(seed))
        values = np.nansum(found.weights * np.square(found.nodes), axis=1)
        estimates.append((values.mean(), values.std(ddof=1) / np.sqrt(probes)))
    assert 0.89 <= coverage(estimates, float(np.mean(spectrum**2)), probes) <= 0.99


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


def test_draws_repeat_with_the_seed() -> None:
    operator = DenseOperator(symmetric(HARD["no gaps"]))
    one, same, other = (stochastic_lanczos_quadrature(operator, steps=5, probes=2, seed=Seed(s)) for s in (0, 0, 1))
    assert one.nodes.tobytes() == same.nodes.tobytes()
    assert not np.allclose(one.nodes, other.nodes)
    assert not np.allclose(one.nodes[0], one.nodes[1])


def test_too_few_draws_are_refused() -> None:
    operator = DenseOperator(torch.eye(3, dtype=torch.float64))
    with pytest.raises(InputError, match="two probes"):
        hutchinson_trace(operator, probes=1, seed=Seed(0))
    for steps, probes in ((0, 2), (2, 0)):
        with pytest.raises(InputError, match="At least one"):
            stochastic_lanczos_quadrature(operator, steps=steps, probes=probes, seed=Seed(0))
