"""Kernels of infinitely wide fully connected networks, in closed form.

The network is ``z_1 = W_1 x / sqrt(d) + s b_1``, ``z_{l+1} = g W_{l+1} act(z_l) / sqrt(m) + s b_{l+1}`` with all
weights and biases N(0, 1), ``g^2`` the weight variance and ``s^2`` the bias variance. As m grows its outputs become
Gaussian with covariance S_L, and its tangent kernel becomes T_L::

    S_1 = x.x' / d + s^2                        T_1 = S_1
    S_{l+1} = g^2 E[act(u) act(v)] + s^2        T_{l+1} = S_{l+1} + g^2 E[act'(u) act'(v)] T_l

with (u, v) Gaussian with the covariance of S_l. Angles, not cosines, pass from layer to layer under ReLU: near-equal
inputs then keep all their digits, which ``arccos`` of a rounded cosine loses half of.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial.distance import cdist
from torch import Tensor

from isthmus._core.errors import InputError, ShapeError

Trained = Literal["all", "first", "last"]
_GAIN = {"relu": 2.0, "erf": 1.0}
_SMALL = 0.05


@dataclass(frozen=True)
class InfiniteWidth:
    """The limit kernel of a wide network, as a function of two arrays; also a kernel for the estimators.

    ``InfiniteWidth(2, "relu", weight_variance=1, scale_inputs=False, trained="first")`` is the kernel
    ``x.x' (pi - angle) / (2 pi)`` of ``f(x) = m^-1/2 sum_r a_r relu(w_r . x)``; ``trained="all"`` adds
    ``|x| |x'| [sin angle + cos angle (pi - angle)] / (2 pi)``. The defaults are the limit of ``ntk_mlp``.

    Args:
        depth: weight layers L, at least 2.
        activation: ``"relu"`` or ``"erf"``.
        weight_variance: g^2 of the layers after the first; 2 for ReLU and 1 for erf when None.
        bias_variance: s^2; 0 is a network without biases.
        scale_inputs: divide x.x' by the input dimension d.
        trained: ``"all"`` layers (the tangent kernel); only the ``"last"`` (the conjugate kernel, which is also the
            outputs' covariance); or only the ``"first"``.

    Raises:
        InputError: a choice is out of range.

    References:
        Cho, Saul 2009 (arc-cosine kernels); Williams 1997 (erf); Jacot, Gabriel, Hongler 2018 (the recursion).
    """

    depth: int = 2
    activation: Literal["relu", "erf"] = "relu"
    weight_variance: float | None = None
    bias_variance: float = 0.0
    scale_inputs: bool = True
    trained: Trained = "all"

    def __post_init__(self) -> None:
        if self.depth < 2:
            raise InputError(f"depth counts weight layers and must be at least 2, found {self.depth}.")
        if self.activation not in _GAIN:
            raise InputError(f"activation={self.activation!r} has no closed form here; write 'relu' or 'erf'.")
        if self.trained not in ("all", "first", "last"):
            raise InputError(f"trained={self.trained!r} is unknown; write 'all', 'first' or 'last'.")
        if self.bias_variance < 0 or not self._gain > 0:
            raise InputError(
                f"Variances must be positive (the bias's may be 0), found {self.weight_variance} and {self.bias_variance}."
            )

    @property
    def _gain(self) -> float:
        return _GAIN[self.activation] if self.weight_variance is None else self.weight_variance

    def __call__(self, inputs: np.ndarray | Tensor, others: np.ndarray | Tensor | None = None) -> np.ndarray:
        """The kernel between samples, one output.

        Args:
            inputs: x, ``(n, ...)``; trailing axes are flattened.
            others: x', ``(m, ...)``; the same as `inputs` when left out.

        Returns:
            ``(n, m)`` in float64. A network with c outputs has this kernel for each of them, and none across.

        Raises:
            ShapeError: the two sides have different input dimensions.
            InputError: an input is not finite, or is zero under ReLU without bias (its angle does not exist).
        """
        pairs = _Pairs.first_layer(self._rows(inputs), self._rows(inputs if others is None else others))
        if self.activation == "relu" and not ((pairs.left > 0).all() and (pairs.right > 0).all()):
            raise InputError(
                "An input is the zero vector: without biases its angle to others does not exist. Use bias_variance > 0."
            )
        tangent = pairs.cross
        for _ in range(self.depth - 1):
            pairs, slope = _STEPS[self.activation](pairs, self._gain, self.bias_variance)
            tangent = slope * tangent + (pairs.cross if self.trained == "all" else 0)
        return pairs.cross if self.trained == "last" else tangent

    def _rows(self, samples: np.ndarray | Tensor) -> np.ndarray:
        """Scaled inputs with the bias as one more coordinate, so that S_1 is their Gram matrix."""
        array = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else np.asarray(samples)
        if array.ndim < 1 or array.size == 0 or not np.isfinite(array).all():
            raise InputError(f"At least one finite sample is needed, found an array of shape {array.shape}.")
        rows = array.reshape(len(array), -1).astype(np.float64)
        rows = rows / np.sqrt(rows.shape[1]) if self.scale_inputs else rows
        return np.concatenate([rows, np.full((len(rows), 1), np.sqrt(self.bias_variance))], axis=1)


@dataclass(frozen=True)
class _Pairs:
    """Covariances of one layer's pre-activations: variances of both sides, cross covariance and angle."""

    left: np.ndarray
    right: np.ndarray
    cross: np.ndarray
    angle: np.ndarray

    @classmethod
    def first_layer(cls, rows: np.ndarray, columns: np.ndarray) -> "_Pairs":
        if rows.shape[1] != columns.shape[1]:
            raise ShapeError(
                f"The two sides have {rows.shape[1] - 1} and {columns.shape[1] - 1} input dimensions; they must agree."
            )
        lengths, widths = np.linalg.norm(rows, axis=1), np.linalg.norm(columns, axis=1)
        u = rows / np.where(lengths > 0, lengths, 1)[:, None]
        v = columns / np.where(widths > 0, widths, 1)[:, None]
        angle = 2 * np.arctan2(cdist(u, v), cdist(u, -v))
        return cls(lengths**2, widths**2, rows @ columns.T, angle)


def _relu_step(pairs: _Pairs, gain: float, bias: float) -> tuple[_Pairs, np.ndarray]:
    """The next layer's covariances, and ``gain E[step(u) step(v)]``."""
    angle, left, right = pairs.angle, gain * pairs.left / 2, gain * pairs.right / 2
    missing = _arc_cosine_gap(angle)
    size = np.sqrt(np.outer(left, right))
    cross = size * (1 - missing) + bias
    norm = np.sqrt(np.outer(left + bias, right + bias))
    spread = bias * np.subtract.outer(np.sqrt(left), np.sqrt(right)) ** 2 / (norm + size + bias)
    gap = ((spread + size * missing) / norm).clip(0, 2)
    following = _Pairs(left + bias, right + bias, cross, 2 * np.arcsin(np.sqrt(gap / 2)))
    return following, gain * (np.pi - angle) / (2 * np.pi)


def _arc_cosine_gap(angle: np.ndarray) -> np.ndarray:
    """``1 - [sin t + (pi - t) cos t] / pi`` without cancellation at small t."""
    square = angle**2
    series = angle**3 / 3 * (1 - square / 10 * (1 - square / 28 * (1 - square / 54)))
    rest = np.where(angle < _SMALL, series, np.sin(angle) - angle * np.cos(angle))
    return 2 * np.sin(angle / 2) ** 2 - rest / np.pi


def _erf_step(pairs: _Pairs, gain: float, bias: float) -> tuple[_Pairs, np.ndarray]:
    """The next layer's covariances, and ``gain E[erf'(u) erf'(v)]``."""
    product = np.outer(1 + 2 * pairs.left, 1 + 2 * pairs.right)
    cross = gain * 2 / np.pi * np.arcsin(2 * pairs.cross / np.sqrt(product)) + bias
    left, right = (gain * 2 / np.pi * np.arcsin(2 * side / (1 + 2 * side)) + bias for side in (pairs.left, pairs.right))
    slope = gain * 4 / np.pi / np.sqrt(product - 4 * pairs.cross**2)
    return _Pairs(left, right, cross, pairs.angle), slope


_STEPS = {"relu": _relu_step, "erf": _erf_step}
