"""Levenberg-Marquardt on many small least-squares problems at once, one per row of a batch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus._core.errors import ShapeError

Residuals = Callable[[Tensor], tuple[Tensor, Tensor]]
Normal = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
_SHRINK, _GROW = 1 / 3, 4.0
_FIRST, _SMALLEST, _LARGEST = 1e-3, 1e-15, 1e12


@dataclass(frozen=True)
class LeastSquares:
    """Where each start ended.

    Attributes:
        points: ``(b, p)``.
        cost: ``|r|^2``, ``(b,)``.
        slope: ``|J^T r|``, ``(b,)``.
        converged: slope within tolerance, ``(b,)``.
        steps: evaluations of the residuals made for the slowest start.
    """

    points: Tensor
    cost: Tensor
    slope: Tensor
    converged: Tensor
    steps: int


def levenberg_marquardt(
    residuals: Residuals, starts: Tensor, *, steps: int = 100, tolerance: float = 1e-12, bound: float = float("inf")
) -> LeastSquares:
    """Minimize ``|r(x)|^2`` from every start: ``(J^T J + mu diag(J^T J)) d = -J^T r`` with mu adapted start by start.

    Args:
        residuals: ``(b, p) -> r (b, m), J (b, m, p)``; rows are independent of each other, and any number of rows may be
            asked for, since starts that are done leave the batch.
        starts: ``(b, p)``.
        steps: evaluations allowed.
        tolerance: a start is done when ``|J^T r|`` is below it.
        bound: a start whose point leaves the ball of this radius stays where it was inside.

    Returns:
        The best point of each start. Cost: one evaluation and b solves of size p a step.

    Raises:
        ShapeError: the starts are not a matrix.
    """

    def normal(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r, jac = residuals(points)
        return r.square().sum(1), (jac.mT @ r[..., None])[..., 0], jac.mT @ jac

    return normal_levenberg_marquardt(normal, starts, steps=steps, tolerance=tolerance, bound=bound)


def normal_levenberg_marquardt(
    normal: Normal, starts: Tensor, *, steps: int = 100, tolerance: float = 1e-12, bound: float = float("inf")
) -> LeastSquares:
    """The same from the normal equations alone, for residuals whose Jacobian need not be kept.

    Args:
        normal: ``(b, p) -> |r|^2 (b,), J^T r (b, p), J^T J (b, p, p)``.
        starts: ``(b, p)``.
        steps: evaluations allowed.
        tolerance: a start is done when ``|J^T r|`` is below it.
        bound: a start whose point leaves the ball of this radius stays where it was inside.

    Raises:
        ShapeError: the starts are not a matrix.
    """
    if starts.ndim != 2:
        raise ShapeError(f"Starts of shape (b, p) are needed, found {tuple(starts.shape)}.")
    points, active = starts.clone(), torch.arange(len(starts), device=starts.device)
    cost, down, gram = normal(points)
    cost, slope = cost.clone(), down.norm(dim=1)
    x, damping, scale = points.clone(), torch.full_like(cost, _FIRST), torch.zeros_like(points)
    taken = 1
    while taken < steps:
        scale = torch.maximum(scale, gram.diagonal(dim1=1, dim2=2))
        keep = (slope[active] > tolerance) & (damping < _LARGEST) & torch.isfinite(cost[active])
        if not bool(keep.any()):
            break
        if not bool(keep.all()):
            active, damping, scale = active[keep], damping[keep], scale[keep]
            x, down, gram = x[keep], down[keep], gram[keep]
        ridge = damping[:, None] * scale.clamp_min(1e-12 * scale.amax(1, keepdim=True).clamp_min(1e-300))
        step, _ = torch.linalg.solve_ex(gram + torch.diag_embed(ridge), down)
        trial = x - step
        new_cost, new_down, new_gram = normal(trial)
        taken += 1
        better = (new_cost < cost[active]) & (trial.norm(dim=1) < bound) & torch.isfinite(new_gram).all(2).all(1)
        damping = torch.where(better, (damping * _SHRINK).clamp_min(_SMALLEST), damping * _GROW)
        x, down, gram = _chosen(better, trial, x), _chosen(better, new_down, down), _chosen(better, new_gram, gram)
        points[active] = x
        cost[active] = torch.where(better, new_cost, cost[active])
        slope[active] = down.norm(dim=1)
    return LeastSquares(points, cost, slope, slope <= tolerance, taken)


def _chosen(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(mask.reshape(-1, *[1] * (new.ndim - 1)), new, old)
