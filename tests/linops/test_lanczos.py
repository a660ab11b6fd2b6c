"""Lanczos keeps its defining equations, and its quadrature its promises."""

import numpy as np
import pytest
import torch

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.linops.lanczos import lanczos
from isthmus.linops.operator import DenseOperator
from isthmus.linops.random import gaussian
from isthmus.linops.slq import stochastic_lanczos_quadrature
from tests.linops.spectra import HARD, symmetric
from tests.linops.test_traces import coverage


def tridiagonal(alphas: torch.Tensor, betas: torch.Tensor) -> torch.Tensor:
    return torch.diag(alphas) + torch.diag(betas[:-1], 1) + torch.diag(betas[:-1], -1)


@pytest.mark.parametrize("name", HARD)
def test_basis_is_orthonormal_and_tridiagonalizes(name: str) -> None:
    matrix = symmetric(HARD[name])
    run = lanczos(DenseOperator(matrix), gaussian((len(matrix),), Seed(0), torch.float64), 60, seed=Seed(1))
    q, t = run.basis, tridiagonal(run.alphas, run.betas)
    torch.testing.assert_close(q @ q.T, torch.eye(len(q), dtype=torch.float64), rtol=0, atol=1e-9)
    rest = q @ matrix - t @ q
    scale = float(matrix.abs().max()) + 1e-300
    torch.testing.assert_close(rest[:-1], torch.zeros_like(rest[:-1]), rtol=0, atol=1e-9 * scale)
    assert float(rest[-1].norm()) == pytest.approx(float(run.betas[-1]), abs=1e-12 * scale * len(matrix))
    assert run.exhausted == (len(np.unique(HARD[name])) < 60 or len(q) == len(matrix))


def test_steps_never_exceed_the_size() -> None:
    run = lanczos(DenseOperator(symmetric(np.arange(1.0, 6))), torch.ones(5, dtype=torch.float64), 50, seed=Seed(1))
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


def test_quadrature_error_bars_cover() -> None:
    spectrum = np.r_[4.0, 3, np.linspace(-1, 1, 38)]
    operator, probes, estimates = DenseOperator(symmetric(spectrum)), 6, []
    for seed in range(150):
        found = stochastic_lanczos_quadrature(operator, steps=6, probes=probes, seed=Seed(seed))
        values = np.nansum(found.weights * np.square(found.nodes), axis=1)
        estimates.append((values.mean(), values.std(ddof=1) / np.sqrt(probes)))
    assert 0.89 <= coverage(estimates, float(np.mean(spectrum**2)), probes) <= 0.99


def test_draws_repeat_with_the_seed() -> None:
    operator = DenseOperator(symmetric(HARD["no gaps"]))
    one, same, other = (stochastic_lanczos_quadrature(operator, steps=5, probes=2, seed=Seed(s)) for s in (0, 0, 1))
    assert one.nodes.tobytes() == same.nodes.tobytes()
    assert not np.allclose(one.nodes, other.nodes)
    assert not np.allclose(one.nodes[0], one.nodes[1])


def test_too_few_draws_are_refused() -> None:
    operator = DenseOperator(torch.eye(3, dtype=torch.float64))
    for steps, probes in ((0, 2), (2, 0)):
        with pytest.raises(InputError, match="At least one"):
            stochastic_lanczos_quadrature(operator, steps=steps, probes=probes, seed=Seed(0))


def test_the_projected_matrix_is_exact_although_the_basis_is_only_nearly_orthogonal() -> None:
    """Semi-orthogonality: eps^(2/3) between basis vectors costs the projected matrix no more than rounding."""
    spectrum = np.r_[np.geomspace(1e-3, 1, 20) * 50, np.linspace(-1, 1, 380)]
    matrix = symmetric(spectrum)
    run = lanczos(DenseOperator(matrix), gaussian((400,), Seed(0), torch.float64), 120, seed=Seed(1))
    basis, _ = torch.linalg.qr(run.basis.T)
    exact = np.linalg.eigvalsh((basis.T @ matrix @ basis).numpy())
    found = np.linalg.eigvalsh(tridiagonal(run.alphas, run.betas).numpy())
    np.testing.assert_allclose(found, exact, atol=1e-12 * 50)
    assert (np.abs(np.diff(found[-10:])) > 1e-3).all(), "no ghost copies of eigenvalues that have converged"


@pytest.mark.parametrize("function", [np.exp, lambda x: np.log(x + 2)])
def test_traces_of_functions_of_the_matrix_cover(function) -> None:
    spectrum, probes, covered = np.linspace(-1, 1.5, 40), 8, []
    operator, truth = DenseOperator(symmetric(spectrum)), float(function(spectrum).sum())
    for seed in range(80):
        estimate = stochastic_lanczos_quadrature(operator, steps=8, probes=probes, seed=Seed(seed)).trace_of(function, 40)
        covered.append((estimate.value, estimate.standard_error))
    assert 0.88 <= coverage(covered, truth, probes) <= 0.99


def test_one_probe_has_no_error_bar() -> None:
    found = stochastic_lanczos_quadrature(DenseOperator(symmetric(HARD["rank two"])), steps=9, probes=1, seed=Seed(0))
    with pytest.raises(InputError, match="two probes"):
        found.trace_of(np.exp, 100)
