"""One problem at many parameter points at once: losses, gradients, Hessians, residuals along a leading axis.

Made for small networks, of which thousands fit in one batched product. Second order goes by double backward through
one vmapped forward pass; a module that cannot be mapped is looped over, point by point. Together with `derivatives`
this file holds the autograd calls of the package.
"""

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from isthmus._core.errors import InputError, ShapeError
from isthmus.engine.memory import available_bytes, chunks
from isthmus.model.derivatives import exact_kernels, graph_bytes
from isthmus.model.problem import Problem

_CHUNK_BYTES = 2**28


class Population:
    """The loss of a problem as a function of many parameter vectors, ``(b, p)``.

    Args:
        problem: network (deterministic per example), data and loss.

    Raises:
        BatchCoupled: batch statistics are in use.
    """

    def __init__(self, problem: Problem) -> None:
        problem.network.require_per_example(problem.inputs)
        self.problem = problem
        each = graph_bytes(problem.network, problem.inputs) * problem.samples * 4 + 8 * problem.network.size**2
        self.chunk = max(1, int(min(_CHUNK_BYTES, available_bytes() / 8) // max(each, 1)))

    def outputs(self, points: Tensor) -> Tensor:
        """Outputs ``(b, n, c)`` without gradient."""
        with torch.no_grad():
            return self._joined(points, lambda part: (self._mapped(self._outputs_of_one, part),))[0]

    def losses(self, points: Tensor) -> Tensor:
        """The loss at each point, ``(b,)``."""
        with torch.no_grad():
            return self._joined(points, lambda part: (self._mapped(self._loss_of_one, part),))[0]

    def gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Losses ``(b,)`` and gradients ``(b, p)``."""

        def compute(part: Tensor) -> tuple[Tensor, ...]:
            leaf = part.detach().requires_grad_()
            with exact_kernels(self.problem.network):
                loss = self._mapped(self._loss_of_one, leaf)
                (gradient,) = torch.autograd.grad(loss.sum(), leaf)
            return loss.detach(), gradient

        loss, gradient = self._joined(points, compute)
        return loss, gradient

    def hessians(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses ``(b,)``, gradients ``(b, p)`` and Hessians ``(b, p, p)``. Cost: p backward passes through all points."""

        def compute(part: Tensor) -> tuple[Tensor, ...]:
            leaf = part.detach().requires_grad_()
            with exact_kernels(self.problem.network):
                loss = self._mapped(self._loss_of_one, leaf)
                (gradient,) = torch.autograd.grad(loss.sum(), leaf, create_graph=True)
                columns = [_column(gradient[:, k].sum(), leaf) for k in range(leaf.shape[1])]
            hessian = torch.stack(columns, dim=2)
            return loss.detach(), gradient.detach(), (hessian + hessian.mT) / 2

        loss, gradient, hessian = self._joined(points, compute)
        return loss, gradient, hessian

    def residuals(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """``r = (f - y) / sqrt(normalizer)`` as ``(b, nc)`` and its Jacobian ``(b, nc, p)``, so that the loss is ``|r|^2``.

        Raises:
            InputError: the loss is not a mean or a sum of squares.
        """
        if self.problem.loss.name not in ("mse_entries", "sum"):
            raise InputError(f"Residuals exist for squared losses (nn.MSELoss); this problem's loss is {self.problem.loss.name}.")
        scale, targets = math.sqrt(self.problem.normalizer), self.problem.targets.reshape(-1)

        def of_one(vector: Tensor) -> Tensor:
            return (self._outputs_of_one(vector).reshape(-1) - targets) / scale

        forward = self.problem.network.size <= len(targets)
        slope = torch.func.jacfwd(of_one) if forward else torch.func.jacrev(of_one)

        def compute(part: Tensor) -> tuple[Tensor, ...]:
            with exact_kernels(self.problem.network), warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, while it loads its forward rules
                values, slopes = self._mapped(of_one, part), self._mapped(slope, part)
            return values.detach(), slopes.detach()

        value, jacobian = self._joined(points, compute)
        return value, jacobian

    def _outputs_of_one(self, vector: Tensor) -> Tensor:
        network = self.problem.network
        return network.apply(network.layout.unflatten(vector), self.problem.inputs)

    def _loss_of_one(self, vector: Tensor) -> Tensor:
        network = self.problem.network
        outputs = network.forward(network.layout.unflatten(vector), self.problem.inputs)
        return self.problem.loss.total(outputs, self.problem.targets) / self.problem.normalizer

    def _mapped(self, function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
        try:
            return torch.func.vmap(function)(points)
        except RuntimeError:
            return torch.stack([function(point) for point in points])

    def _joined(self, points: Tensor, compute: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        size = self.problem.network.size
        if points.ndim != 2 or points.shape[1] != size:
            raise ShapeError(f"Points of shape (b, {size}) are needed, found {tuple(points.shape)}.")
        parts = [compute(points[rows]) for rows in chunks(len(points), self.chunk)]
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _column(total: Tensor, leaf: Tensor) -> Tensor:
    if not total.requires_grad:
        return torch.zeros_like(leaf)
    (column,) = torch.autograd.grad(total, leaf, retain_graph=True, allow_unused=True, materialize_grads=True)
    return column
