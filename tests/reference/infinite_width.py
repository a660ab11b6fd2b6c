"""Limit kernels by the recursion's own definition: every Gaussian expectation by two-dimensional quadrature, entry by
entry; and networks with the parametrization written out."""

import itertools

import numpy as np
import torch
from scipy import integrate, special
from torch import Tensor, nn

ACTIVATIONS = {
    "relu": (lambda z: max(z, 0.0), lambda z: float(z > 0)),
    "erf": (special.erf, lambda z: 2 / np.sqrt(np.pi) * np.exp(-z * z)),
}


def expectation(function, a: float, b: float, c: float) -> float:
    """``E f(u) f(v)`` for a centered Gaussian pair with variances a, b and covariance c, in polar coordinates."""
    root = np.linalg.cholesky(np.array([[a, c], [c, b]]) + 1e-300 * np.eye(2))
    zeros = [np.pi / 2, -np.arctan2(root[1, 0], root[1, 1])]
    kinks = sorted({(zero + half) % (2 * np.pi) for zero in zeros for half in (0, np.pi)})

    def ray(t: float) -> float:
        along, across = root[0, 0] * np.cos(t), root[1, 0] * np.cos(t) + root[1, 1] * np.sin(t)
        return integrate.quad(lambda r: function(r * along) * function(r * across) * r * np.exp(-r * r / 2), 0, 12, epsabs=1e-13)[
            0
        ]

    return integrate.quad(ray, 0, 2 * np.pi, points=kinks, epsabs=1e-11, limit=200)[0] / (2 * np.pi)


def tangent_kernel(x: np.ndarray, y: np.ndarray, depth: int, activation: str, gain: float, bias: float, trained: str) -> float:
    """One entry of the limit kernel."""
    act, slope = ACTIVATIONS[activation]
    a, b, c = (u @ v / len(x) + bias for u, v in ((x, x), (y, y), (x, y)))
    tangent = c
    for _ in range(depth - 1):
        bend = gain * expectation(slope, a, b, c)
        a, b, c = (
            gain * expectation(act, *which) + bias for which in ((a, a, a * (1 - 1e-15)), (b, b, b * (1 - 1e-15)), (a, b, c))
        )
        tangent = {"all": bend * tangent + c, "first": bend * tangent, "last": c}[trained]
    return tangent


class Wide(nn.Module):
    """The finite network of the definition."""

    def __init__(self, inputs: int, width: int, depth: int, activation: str, gain: float, bias: float, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        sizes = [inputs, *[width] * (depth - 1), 1]
        self.weights = nn.ParameterList([torch.randn(o, i, generator=draw) for i, o in itertools.pairwise(sizes)])
        self.biases = nn.ParameterList([torch.randn(o, generator=draw) for o in sizes[1:]])
        self.act = {"relu": torch.relu, "erf": torch.erf}[activation]
        self.gain, self.bias = gain**0.5, bias**0.5

    def forward(self, x: Tensor) -> Tensor:
        for index, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            scale = (1.0 if index == 0 else self.gain) / w.shape[1] ** 0.5
            x = scale * (x if index == 0 else self.act(x)) @ w.T + self.bias * b
        return x
