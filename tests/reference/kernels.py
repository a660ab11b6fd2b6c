"""Kernels and their summaries by definition: dense Jacobians, hand-derived networks, exact arithmetic."""

import math

import mpmath
import numpy as np
from torch import Tensor, nn

from tests.reference.derivatives import dense_jacobian


def dense_ntk(module: nn.Module, inputs: Tensor, others: Tensor, outputs: str) -> np.ndarray:
    """``(n, c, m, d)`` or ``(n, 1, m, 1)`` from two dense Jacobians, entry by entry."""
    rows, columns = dense_jacobian(module, inputs).numpy(), dense_jacobian(module, others).numpy()
    full = np.einsum("ncp,mdp->ncmd", rows, columns)
    return full if outputs == "full" else np.einsum("ncmc->nm", full)[:, None, :, None]


def linear_ntk(x: np.ndarray, y: np.ndarray, outputs: int, bias: bool) -> np.ndarray:
    """``f = W x + b``: ``K[n,c,m,d] = (c == d) (x_n . y_m + bias)``."""
    kernel = np.zeros((len(x), outputs, len(y), outputs))
    for n, a in enumerate(x):
        for m, b in enumerate(y):
            for c in range(outputs):
                kernel[n, c, m, c] = math.fsum(a * b) + bias
    return kernel


def two_layer_relu_ntk(first: np.ndarray, second: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``f_c = sum_j v_cj relu(w_j . x)``, every derivative written out.

    ``df_c/dv_dj = (c == d) relu(h_j)`` and ``df_c/dw_j = v_cj 1[h_j > 0] x``.
    """
    c_count, width = second.shape
    kernel = np.zeros((len(x), c_count, len(y), c_count))
    for n, a in enumerate(x):
        for m, b in enumerate(y):
            for j in range(width):
                h, g = float(first[j] @ a), float(first[j] @ b)
                for c in range(c_count):
                    kernel[n, c, m, c] += max(h, 0) * max(g, 0)
                    for d in range(c_count):
                        kernel[n, c, m, d] += second[c, j] * second[d, j] * (h > 0) * (g > 0) * float(a @ b)
    return kernel


def distance(a: np.ndarray, b: np.ndarray, digits: int = 60) -> dict[str, float]:
    """Cosine distance, angle, scale and relative change in exact arithmetic."""
    with mpmath.workdps(digits):
        u, v = ([mpmath.mpf(float(t)) for t in np.ravel(k)] for k in (a, b))
        inner = mpmath.fsum(s * t for s, t in zip(u, v, strict=True))
        one, other = mpmath.sqrt(mpmath.fsum(s * s for s in u)), mpmath.sqrt(mpmath.fsum(t * t for t in v))
        change = mpmath.sqrt(mpmath.fsum((s - t) ** 2 for s, t in zip(u, v, strict=True)))
        cosine = min(max(inner / (one * other), mpmath.mpf(-1)), mpmath.mpf(1))
        return {
            "cosine_distance": float(1 - cosine),
            "angle": float(mpmath.acos(cosine)),
            "scale": float(other / one),
            "relative_change": float(change / one),
        }


def alignment(kernel: np.ndarray, targets: np.ndarray, centered: bool) -> float:
    """CKA or KTA with explicit centering matrices."""
    n = len(kernel)
    center = np.eye(n) - np.ones((n, n)) / n if centered else np.eye(n)
    k, y = center @ kernel @ center, center @ targets @ targets.T @ center
    return float(np.trace(k @ y) / np.sqrt(np.trace(k @ k) * np.trace(y @ y)))


def effective_rank(values: np.ndarray) -> float:
    """``exp(entropy)`` of eigenvalues in exact arithmetic."""
    with mpmath.workdps(50):
        numbers = [mpmath.mpf(float(v)) for v in values if v > 0]
        total = mpmath.fsum(numbers)
        return float(mpmath.exp(-mpmath.fsum(v / total * mpmath.log(v / total) for v in numbers)))
