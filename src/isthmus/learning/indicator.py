"""Explicit weights that realize a smooth target in the linear part of a two-layer ReLU network.

For ``|x| = 1``, ``|w*| = 1``, standard normal ``alpha, beta, b`` and probabilists' Hermite polynomials,
``E_{alpha,beta}[He_i(alpha) 1{alpha x + beta sqrt(1-x^2) + b >= 0}] = x^i He_{i-1}(-b) phi(b)`` for i >= 1 and ``Phi(b)`` for i = 0
(derived here): an indicator, averaged against the right function of its weights, is any power. At b = 0 the even
powers vanish, so biases are necessary.
"""

import math

import numpy as np
import torch
from numpy.polynomial import hermite_e
from torch import Tensor

from isthmus._core.errors import HypothesisError, InputError
from isthmus.learning.pseudo import Displacement, PseudoNetwork
from isthmus.learning.series import PowerSeries
from isthmus.learning.targets import TwoLayerTeacher


def indicator_weight(series: PowerSeries, alpha: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """``h(alpha, b) = 2 c_0 + sum_{i>=1} c_i He_i(alpha) He_{i-1}(-b) / kappa_i`` for ``phi(z) = sum c_i z^i``.

    ``E[h(alpha, b) 1{alpha x + beta sqrt(1-x^2) + b >= 0}] = phi(x)`` for ``|x| <= 1``, with ``kappa_i = E[He_{i-1}(b)^2 phi(b)]``.

    Args:
        series: phi, a polynomial.
        alpha: standard normal projections.
        bias: standard normal biases, same shape.

    Raises:
        HypothesisError: phi is not a polynomial; truncate it first.
    """
    if series.degree is None:
        raise HypothesisError(
            f"{series.name} has infinitely many terms, and h would need all of them; pass truncated(series, degree), with the "
            "degree from truncation_degree."
        )
    c = series.values(series.degree)
    total = np.full(np.shape(alpha), 2 * c[0])
    for i in range(1, len(c)):
        if c[i] != 0:
            total = total + c[i] * _hermite(i, alpha) * _hermite(i - 1, -np.asarray(bias)) / kappa(i)
    return total


def kappa(i: int) -> float:
    """``E_{b~N(0,1)}[He_{i-1}(b)^2 phi(b)] = E_{b~N(0,1/2)}[He_{i-1}(b)^2] / (2 sqrt(pi))``, by Gauss-Hermite quadrature.

    Raises:
        InputError: i is below 1.
    """
    if i < 1:
        raise InputError(f"kappa_i is defined for i >= 1, found {i}.")
    nodes, weights = np.polynomial.hermite.hermgauss(i + 1)  # weight exp(-b^2): a normal with variance 1/2
    return float(weights @ _hermite(i - 1, nodes) ** 2 / math.sqrt(math.pi) / (2 * math.sqrt(math.pi)))


def explicit_weights(network: PseudoNetwork, target: TwoLayerTeacher, *, output_std: float = 1.0) -> Displacement:
    """``W*`` whose linear part in the pseudo-network approximates the target.

    ``w*_r = sum over units and outputs of a_target a_r / (m output_std^2) h(<sqrt(m) w0_r, w1>, sqrt(m) b_r) w2``. The error
    falls like ``m^{-1/2}`` and ``sqrt(m) |W*|_F`` does not depend on m, so rows have norm of order 1/m.

    Args:
        network: two layers, in the initialization of `isthmus.model.zoo.relu_net` (variances 1/width).
        target: with a polynomial activation.
        output_std: standard deviation of the network's output weights.

    Raises:
        InputError: three layers, or numbers of inputs or outputs that differ.
        HypothesisError: the target's activation is not a polynomial.
    """
    width, dimension = network.first.shape
    if network.second is not None or dimension != target.dimension or len(network.output) != target.outputs:
        raise InputError(
            f"Explicit weights are for a two-layer network with {target.dimension} inputs and {target.outputs} outputs; found "
            f"{'three' if network.second is not None else 'two'} layers, {dimension} inputs, {len(network.output)} outputs."
        )
    one, two, a = target.weights
    bias = (math.sqrt(width) * network.first_bias).cpu().numpy()
    total = torch.zeros_like(network.first)
    for unit in range(target.units):
        alpha = math.sqrt(width) * network.first @ one[unit].to(network.first)
        h = torch.from_numpy(indicator_weight(target.activation, alpha.cpu().numpy(), bias)).to(network.first)
        read: Tensor = a[:, unit].to(network.first) @ network.output / (width * output_std**2)
        total += (read * h)[:, None] * two[unit].to(network.first)
    return Displacement(total)


def _hermite(degree: int, values: np.ndarray) -> np.ndarray:
    return hermite_e.hermeval(values, [0.0] * degree + [1.0])
