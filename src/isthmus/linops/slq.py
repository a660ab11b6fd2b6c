"""Stochastic Lanczos quadrature: the spectral measure of a symmetric operator seen from random vectors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.linops.lanczos import lanczos
from isthmus.linops.operator import Operator, as_symmetric
from isthmus.linops.random import gaussian
from isthmus.linops.traces import Estimate


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

    def trace_of(self, function: Callable[[np.ndarray], np.ndarray], size: int) -> Estimate:
        """``trace f(A)`` of a matrix of this size, with its standard error over probes: ``size * mean_probe sum_i w_i f(x_i)``.

        The error bar holds the scatter of the probes; the quadrature's own error, zero for polynomials of degree
        ``2 steps - 1``, is not in it.

        Raises:
            InputError: a single probe, from which no standard error follows.
        """
        if len(self.nodes) < 2:
            raise InputError("A standard error needs at least two probes; this quadrature has one.")
        kept = self.weights > 0
        terms = np.where(kept, self.weights * function(np.where(kept, self.nodes, np.nanmax(self.nodes))), 0.0)
        sums = size * terms.sum(axis=1)
        return Estimate(float(sums.mean()), float(sums.std(ddof=1) / np.sqrt(len(sums))), len(sums), self.matvecs)


def stochastic_lanczos_quadrature(operator: Operator, *, steps: int, probes: int, seed: Seed) -> Quadrature:
    """Nodes and weights with ``E sum_i w_i f(x_i) ~ trace f(A) / p``, exact for polynomials of degree 2 steps - 1.

    Args:
        operator: symmetric: ours, or anything with ``shape``, ``dtype`` and ``@`` on torch or numpy vectors.
        steps: Lanczos steps of each probe.
        probes: Gaussian start vectors; each is normalized, which makes it uniform on the sphere.
        seed: names the draws.

    Returns:
        The quadrature. Cost: `steps` products a probe; memory `steps` vectors, one probe at a time.

    Raises:
        InputError: fewer than one step or probe.
    """
    if steps < 1 or probes < 1:
        raise InputError(f"At least one step and one probe are needed, found steps={steps}, probes={probes}.")
    operator = as_symmetric(operator)
    steps = min(steps, operator.shape[0])
    nodes, weights = np.full((probes, steps), np.nan), np.zeros((probes, steps))
    before = operator.matvecs
    for probe in range(probes):
        start = gaussian((operator.shape[0],), seed.child("probe", probe), operator.dtype, operator.device)
        run = lanczos(operator, start, steps, seed=seed.child("watch", probe))
        size = len(run.alphas)
        matrix = torch.diag(run.alphas) + torch.diag(run.betas[:-1], 1) + torch.diag(run.betas[:-1], -1)
        values, vectors = torch.linalg.eigh(matrix)
        nodes[probe, :size], weights[probe, :size] = values.numpy(), vectors[0].square().numpy()
    return Quadrature(nodes, weights, operator.matvecs - before)
