"""Stochastic Lanczos quadrature and Hutchinson's trace."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.linops.lanczos import lanczos
from isthmus.linops.operator import LinearOperator, SymmetricOperator
from isthmus.linops.random import gaussian, rademacher


@dataclass(frozen=True)
class Quadrature:
    """Gauss quadrature nodes and weights of the spectral measure seen from each probe.

    Attributes:
        nodes: Ritz values, ``(probe, step)``, padded with NaN when the Krylov space was exhausted.
        weights: squared first components, summing to one per probe; zero where padded.
        matvecs: products spent.
    """

    nodes: Float64[np.ndarray, "probe step"]
    weights: Float64[np.ndarray, "probe step"]
    matvecs: int


@dataclass(frozen=True)
class Estimate:
    """A Monte-Carlo mean with its standard error over `probes` draws."""

    value: float
    standard_error: float
    probes: int


def stochastic_lanczos_quadrature(operator: SymmetricOperator, *, steps: int, probes: int, seed: Seed) -> Quadrature:
    """Nodes and weights with ``E sum_i w_i f(x_i) ~ trace f(A) / p``, exact for polynomials of degree 2 steps - 1.

    Args:
        operator: symmetric.
        steps: Lanczos steps of each probe.
        probes: Gaussian start vectors; each is normalized, which makes it uniform on the sphere.
        seed: names the draws.

    Returns:
        The quadrature.

    Raises:
        InputError: fewer than one step or probe.
    """
    if steps < 1 or probes < 1:
        raise InputError(f"At least one step and one probe are needed, found steps={steps}, probes={probes}.")
    steps = min(steps, operator.shape[0])
    nodes, weights = np.full((probes, steps), np.nan), np.zeros((probes, steps))
    before = operator.matvecs
    for probe in range(probes):
        start = gaussian((operator.shape[0],), seed.child("probe", probe), operator.dtype, operator.device)
        run = lanczos(operator, start, steps)
        size = len(run.alphas)
        matrix = torch.diag(run.alphas) + torch.diag(run.betas[:-1], 1) + torch.diag(run.betas[:-1], -1)
        values, vectors = torch.linalg.eigh(matrix)
        nodes[probe, :size], weights[probe, :size] = values.numpy(), vectors[0].square().numpy()
    return Quadrature(nodes, weights, operator.matvecs - before)


def hutchinson_trace(operator: LinearOperator, *, probes: int, seed: Seed) -> Estimate:
    """``trace A = E z^T A z`` over random signs z, with its standard error.

    Args:
        operator: square.
        probes: draws, at least two.
        seed: names the draws.

    Returns:
        Mean and standard error. Cost: one product a draw.

    Raises:
        InputError: fewer than two probes, from which no standard error follows.
    """
    if probes < 2:
        raise InputError(f"A standard error needs at least two probes, found {probes}.")
    signs = rademacher((operator.shape[0], probes), seed, operator.dtype, operator.device)
    values = (signs.double() * (operator @ signs).double()).sum(0).cpu().numpy()
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(probes)), probes)
