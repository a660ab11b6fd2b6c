"""The loss in the outputs, to second order: what turns a tangent kernel into the modes of a training run.

Around outputs f_0 the loss is ``l_0 + g.(f - f_0) + (f - f_0).B (f - f_0) / 2``. With the scaled error
``u = B^{1/2} (f - f_0) + B^{-1/2} g`` this is ``l_0 - |u_0|^2 / 2 + |u|^2 / 2``, and gradient descent on the linearized
network is ``u <- u - lr H u`` with ``H = B^{1/2} K B^{1/2}``: one formula for every loss and every reduction. For a squared
error it is exact and ``u = sqrt(2 / normalizer) (f - y)``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import HypothesisError
from isthmus._core.numerics import machine_epsilon
from isthmus.model.derivatives import loss_value, output_gradient, output_hessian
from isthmus.model.problem import Problem

_CONVEX = 1e-8


@dataclass(frozen=True)
class ScaledLoss:
    """The quadratic model of a loss in the outputs.

    Attributes:
        outputs: f_0, ``(n, c)``.
        root: ``B^{1/2}`` block by block, ``(n, c, c)``.
        error: u_0, ``(n c,)``.
        loss: l_0.
        null: dimensions of the null space of B, over all samples.
    """

    outputs: np.ndarray
    root: np.ndarray
    error: np.ndarray
    loss: float
    null: int

    @property
    def offset(self) -> float:
        """The constant of the quadratic model, ``l_0 - |u_0|^2 / 2``; exactly 0 for a squared error."""
        rest = self.loss - 0.5 * float(self.error @ self.error)
        return 0.0 if abs(rest) <= 1e-12 * max(abs(self.loss), 1e-300) else rest

    def scale(self, columns: np.ndarray) -> np.ndarray:
        """``B^{1/2} X`` for ``X`` of shape ``(n c,)`` or ``(n c, k)``."""
        n, c, _ = self.root.shape
        return np.einsum("ncd,ndk->nck", self.root, columns.reshape(n, c, -1)).reshape(columns.shape)


def scaled_loss(problem: Problem) -> ScaledLoss:
    """The quadratic model of the problem's loss around its present outputs, in float64.

    Args:
        problem: network, data and loss; in evaluation mode.

    Raises:
        HypothesisError: the loss is not convex in the outputs there, or its gradient leaves the range of B.
    """
    outputs = problem.network(problem.inputs)
    slope = output_gradient(problem, outputs).double().cpu().numpy()
    blocks = output_hessian(problem, outputs).double().cpu().numpy()
    values, vectors = np.linalg.eigh(blocks)
    top = float(np.abs(values).max())
    if top == 0 or values.min() < -_CONVEX * top:
        raise HypothesisError(
            f"The loss {problem.loss.name} has output curvature between {values.min():.3g} and {top:.3g}; predicting needs a "
            "loss that is convex and curved in the outputs (squared error, cross-entropy). Use view='linearized' instead."
        )
    live = values > 64 * values.shape[1] * machine_epsilon(problem.network.dtype) * top
    roots = np.sqrt(np.where(live, values, 0.0))
    along = np.einsum("ncd,nc->nd", vectors, slope)
    if np.abs(along[~live]).max(initial=0.0) > 1e-6 * max(np.abs(slope).max(), 1e-300):
        raise HypothesisError(
            f"The gradient of {problem.loss.name} does not vanish where its curvature does, so no quadratic model has a "
            "minimum. Use view='linearized' instead."
        )
    error = np.einsum("ncd,nd->nc", vectors, np.divide(along, roots, out=np.zeros_like(along), where=live))
    root = np.einsum("ncd,nd,ned->nce", vectors, roots, vectors)
    return ScaledLoss(outputs.double().cpu().numpy(), root, error.reshape(-1), loss_value(problem), int((~live).sum()))


def is_quadratic(problem: Problem) -> bool:
    """Whether the loss is quadratic in the outputs: its Hessian there does not depend on them."""
    outputs = problem.network(problem.inputs)
    here = output_hessian(problem, outputs)
    moved = output_hessian(problem, outputs + 1.0 + torch.linspace(0, 1, outputs.numel()).reshape(outputs.shape).to(outputs))
    return _close(here, moved)


def _close(first: Tensor, second: Tensor) -> bool:
    return bool((first - second).abs().max() <= 1e-5 * first.abs().max())
