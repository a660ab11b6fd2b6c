"""Spectral density of the Hessian by stochastic Lanczos quadrature."""

import time

import numpy as np

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature.operators import Matrix, curvature_operator
from isthmus.linops.slq import Quadrature, stochastic_lanczos_quadrature
from isthmus.model.problem import Problem, provenance
from isthmus.results.curvature import SpectralDensity
from isthmus.results.provenance import Cost

_GRID = 801
_BANDWIDTH_SHARE = 0.004
_GAP_BANDWIDTHS = 6.0


def spectral_density(
    problem: Problem,
    *,
    steps: int = 60,
    probes: int = 4,
    matrix: Matrix = "hessian",
    seed: Seed | int = 0,
    verify: bool = True,
) -> SpectralDensity:
    """The density of eigenvalues ``phi(x) = (1/p) sum_i N(x; lambda_i, s^2)``, with a standard error at each point.

    Each probe gives a Gauss quadrature of the spectral measure (Lin, Saad, Yang 2016); the density is their mean and
    its error the standard error over probes. The bandwidth s is 0.4 % of the spectral range.

    Args:
        problem: network, data and loss.
        steps: Lanczos steps of each probe; more steps resolve the bulk more finely.
        probes: start vectors, at least two, whose scatter is the error bar.
        matrix: ``"hessian"`` or ``"ggn"``.
        seed: names the probes.
        verify: check symmetry and one finite difference of the gradient first.

    Returns:
        Grid, density, standard error, the raw quadrature, the trace with its error, and outliers: Ritz values that
        every probe sees and that lie further than six bandwidths from any other.

    Raises:
        InputError: fewer than two probes or one step.
        VerificationError: a self-check fails.
    """
    if probes < 2 or steps < 1:
        raise InputError(f"An error bar needs probes >= 2 and steps >= 1, found probes={probes}, steps={steps}.")
    started, seed = time.perf_counter(), as_seed(seed)
    operator = curvature_operator(problem, matrix)
    if verify:
        operator.verify(seed)
    quadrature = stochastic_lanczos_quadrature(operator, steps=steps, probes=probes, seed=seed)
    low, high = float(np.nanmin(quadrature.nodes)), float(np.nanmax(quadrature.nodes))
    width = max((high - low) * _BANDWIDTH_SHARE, 1e-12)
    grid = np.linspace(low - 8 * width, high + 8 * width, _GRID)
    smooth = _smoothed(quadrature, grid, width)
    trace = quadrature.trace_of(lambda values: values, operator.shape[0])
    return SpectralDensity(
        grid=grid,
        density=smooth.mean(axis=0),
        standard_error=smooth.std(axis=0, ddof=1) / np.sqrt(probes),
        nodes=quadrature.nodes,
        weights=quadrature.weights,
        outliers=_outliers(quadrature, width),
        bandwidth=width,
        trace=(trace.value, trace.standard_error),
        parameters=operator.shape[0],
        matrix=matrix,
        status=Status.ESTIMATED,
        method=f"stochastic Lanczos quadrature, {probes} probes x {steps} steps, {matrix} of {problem.loss.name} "
        f"over {problem.samples} samples",
        error=f"pointwise standard error over {probes} probes",
        cost=Cost(matvecs=quadrature.matvecs, seconds=time.perf_counter() - started),
        provenance=provenance(problem, seed, verified=verify),
    )


def _smoothed(quadrature: Quadrature, grid: np.ndarray, width: float) -> np.ndarray:
    """One density per probe, ``(probe, g)``."""
    nodes = np.nan_to_num(quadrature.nodes)
    bumps = np.exp(-0.5 * ((grid[None, :, None] - nodes[:, None, :]) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return np.einsum("pgs,ps->pg", bumps, quadrature.weights)


def _outliers(quadrature: Quadrature, width: float) -> np.ndarray:
    """Isolated Ritz values of the first probe that every other probe also finds, largest first."""
    first, others = quadrature.nodes[0], quadrature.nodes[1:]
    nodes = np.sort(first[np.isfinite(first)])
    gap = _GAP_BANDWIDTHS * width
    lonely = [
        x for i, x in enumerate(nodes) if (i == 0 or x - nodes[i - 1] > gap) and (i == len(nodes) - 1 or nodes[i + 1] - x > gap)
    ]
    return np.array([x for x in lonely if all(np.nanmin(np.abs(row - x)) <= width / 4 for row in others)][::-1])
