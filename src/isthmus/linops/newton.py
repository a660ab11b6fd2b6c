"""Newton's method on many small functions at once: to the nearest critical point, or down to a minimum."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SecondOrder = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
_DROP = 1e-12
_STALLED = 1e-4
_LARGEST = 1e12


@dataclass(frozen=True)
class CriticalPoints:
    """Where each start ended.

    Attributes:
        points: ``(b, p)``.
        values: of the function, ``(b,)``.
        slopes: gradient norms, ``(b,)``.
        steps: evaluations made for the slowest start.
    """

    points: Tensor
    values: Tensor
    slopes: Tensor
    steps: int


def newton_to_critical(
    function: SecondOrder, starts: Tensor, *, steps: int = 80, tolerance: float = 0.0, drop: float = _DROP
) -> CriticalPoints:
    """Solve ``grad = 0`` by ``d = -H^+ g``, halving the step until ``|g|`` falls; reaches saddles as well as minima.

    Eigenvalues below `drop` times the largest magnitude are left out of the inverse, so that flat directions are not
    walked along.

    Args:
        function: ``(b, p) -> value (b,), gradient (b, p), Hessian (b, p, p)``, rows independent of each other.
        starts: ``(b, p)``.
        steps: evaluations allowed.
        tolerance: a start is done when ``|g|`` is not above it; at 0 it goes on until rounding stops it.
        drop: relative eigenvalue cut-off of the pseudo-inverse.

    Returns:
        The point of smallest ``|g|`` for each start.
    """
    return _search(function, starts, steps, tolerance, lambda v, b, g, damping: _newton(v, b, g, drop) * damping, merit="slope")


def newton_to_minimum(function: SecondOrder, starts: Tensor, *, steps: int = 200, tolerance: float = 1e-10) -> CriticalPoints:
    """Descend by saddle-free Newton steps ``d = -(|H| + mu)^-1 g``; mu adapts so that the value falls in every step.

    Args:
        function: as in `newton_to_critical`.
        starts: ``(b, p)``.
        steps: evaluations allowed.
        tolerance: a start is done when ``|g|`` is not above it.

    Returns:
        The lowest point of each start.
    """
    return _search(function, starts, steps, tolerance, _saddle_free, merit="value")


def _newton(values: Tensor, basis: Tensor, gradient: Tensor, drop: float) -> Tensor:
    keep = values.abs() > drop * values.abs().amax(1, keepdim=True)
    inverse = torch.where(keep, 1 / torch.where(keep, values, torch.ones_like(values)), torch.zeros_like(values))
    return -(basis @ (inverse * (basis.mT @ gradient[..., None])[..., 0])[..., None])[..., 0]


def _saddle_free(values: Tensor, basis: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    size = values.abs()
    shift = (1 / damping - 1) * 1e-3 * size.amax(1, keepdim=True) + 1e-14 * size.amax(1, keepdim=True)
    return -(basis @ ((basis.mT @ gradient[..., None])[..., 0] / (size + shift))[..., None])[..., 0]


def _search(
    function: SecondOrder,
    starts: Tensor,
    steps: int,
    tolerance: float,
    direction: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    merit: str,
) -> CriticalPoints:
    """Steps of a length that halves when the merit does not fall, and doubles up to the full step when it does."""
    points, active = starts.clone(), torch.arange(len(starts), device=starts.device)
    value, gradient, hessian = function(points)
    values, slopes = value.clone(), gradient.norm(dim=1)
    eigen = _eigh(hessian)
    length, taken = torch.ones_like(value), 1
    while taken < steps:
        keep = (slopes[active] > tolerance) & (length > _STALLED) & torch.isfinite(slopes[active])
        if not bool(keep.any()):
            break
        if not bool(keep.all()):
            active, length, gradient, eigen = active[keep], length[keep], gradient[keep], (eigen[0][keep], eigen[1][keep])
        trial = points[active] + direction(*eigen, gradient, length[:, None])
        new_value, new_gradient, new_hessian = function(trial)
        taken += 1
        new_slope = new_gradient.norm(dim=1)
        better = new_slope < slopes[active] if merit == "slope" else new_value < values[active]
        better = better & torch.isfinite(new_hessian).all(2).all(1)
        rows = active[better]
        points[rows], values[rows], slopes[rows] = trial[better], new_value[better], new_slope[better]
        gradient[better] = new_gradient[better]
        if bool(better.any()):
            fresh = _eigh(new_hessian[better])
            eigen[0][better], eigen[1][better] = fresh
        length = torch.where(better, (2 * length).clamp_max(1.0), length / 2)
    return CriticalPoints(points, values, slopes, taken)


def _eigh(hessians: Tensor) -> tuple[Tensor, Tensor]:
    clean = torch.nan_to_num(hessians, nan=0.0, posinf=0.0, neginf=0.0)
    values, basis = torch.linalg.eigh((clean + clean.mT) / 2)
    return values, basis
