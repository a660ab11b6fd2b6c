"""Leaving a grown critical point along the direction that the small network's split matrices give."""

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import HypothesisError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature.polish import polish_points
from isthmus.embedding.blocks import split_blocks
from isthmus.embedding.grow import grow
from isthmus.embedding.growth import Growth
from isthmus.embedding.unit_curvature import splittable
from isthmus.linops.newton import newton_to_critical, newton_to_minimum
from isthmus.linops.random import gaussian
from isthmus.model.derivatives import loss_gradient
from isthmus.model.populations import Population
from isthmus.model.problem import Problem, provenance
from isthmus.model.unit_derivatives import FrozenErrors, UnitBlocks
from isthmus.model.units import UnitGroup
from isthmus.results.embedding import Escape
from isthmus.results.provenance import Cost

_SIZES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
_PUSH, _NOISE, _TRIES = 1e-2, 1e-2, 8
_PURE, _SETTLED = (1e-2, 3e-2, 1e-1, 3e-1), 1e-9


@dataclass(frozen=True)
class EscapeRoute:
    """The record of an escape, and the problems on the way.

    Attributes:
        record: predicted and measured decrease, and where minimization ended.
        grown: at the grown critical point.
        direction: unit vector in the wide parameters along which the loss falls, ``(p,)``.
        escaped: the problem at the lowest point found.
    """

    record: Escape
    grown: Problem
    direction: Tensor
    escaped: Problem


def escape(
    problem: Problem, layer: str | None = None, *, unit: int | None = None, alpha: float = 0.5, seed: Seed | int = 0
) -> EscapeRoute:
    """Split one unit of a critical point and leave the saddle: direction, predicted and measured decrease.

    For shares in (0, 1) the direction is the lowest eigenvector of S, ``dL = alpha (1 - alpha) lambda_min eps^2 / 2`` per
    unit of relative motion, outside [0, 1] the highest; with D != 0 the lowest eigenvector of the whole block. From points
    along it the loss is descended twice. Without noise, by saddle-free steps that keep every symmetry of the problem up to
    rounding and stop where the gradient first vanishes: a pure direction can lead to another saddle, which is reported as
    locked. With random noise, which breaks the symmetry, down to a minimum.

    Args:
        problem: small network at a critical point, data and loss; taken to float64.
        layer: whose unit is split; by default, with `unit`, the one of lowest new curvature.
        unit: which unit.
        alpha: share of the clone.
        seed: names the noise.

    Returns:
        The route; `record.escaped` is False when no decrease was found, which is an honest result.

    Raises:
        HypothesisError: the point is not critical, or no split of it has a negative direction.
        UnsupportedLayer: no unit can be split.
    """
    started, problem, seed = time.perf_counter(), problem.eval().to(torch.float64), as_seed(seed)
    slope = float(loss_gradient(problem).norm())
    if slope > 1e-8:
        raise HypothesisError(f"An escape starts at a critical point, and the gradient norm here is {slope:.3g}. Polish first.")
    group, unit, value = _steepest(problem, layer, unit, alpha)
    wide = grow(problem, Growth(group.name, {unit: (1 - alpha, alpha)})).problem
    assert wide is not None
    direction = _wide_direction(problem, wide, group, unit, alpha, value[1])
    population, point = Population(wide), wide.network.flat
    before = float(population.losses(point[None])[0])
    measured = _signed_changes(population, point, direction, before)
    rests, saddles = _rests(population, point, direction)
    ends = torch.cat([rests, _descents(wide, point, direction, seed)])
    losses = population.losses(ends)
    after = float(losses.min())
    held = losses[: len(rests)][saddles]
    locked = float(held.max()) if len(held) else math.nan
    record = Escape(
        size=np.array(_SIZES),
        predicted=0.5 * value[0] * np.array(_SIZES) ** 2,
        measured=measured,
        layer=group.name,
        unit=unit,
        alpha=alpha,
        eigenvalue=value[0],
        time_constant=1 / abs(value[0]),
        loss_before=before,
        loss_after=after,
        loss_locked=locked,
        locked=locked > after + 1e-6 * max(before, 1e-300),
        escaped=bool(after < before - 1e-9 * max(before, 1e-300)),
        status=Status.EXACT,
        method=f"split of unit {unit} of {group.name}, share {alpha:g}; {_TRIES} noisy descents beside {2 * len(_PURE)} pure ones",
        error="second order in the step; measured changes are exact up to rounding of the loss",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem, seed),
    )
    return EscapeRoute(record, wide, direction, wide.at(ends[int(losses.argmin())]))


def _steepest(problem: Problem, layer: str | None, unit: int | None, alpha: float) -> tuple[UnitGroup, int, tuple[float, Tensor]]:
    """The unit whose split has the lowest Rayleigh quotient, with the quotient and the vector (v, c)."""
    found = []
    for group in splittable(problem, None if layer is None else [layer]):
        blocks = split_blocks(FrozenErrors(problem, group), None if unit is None else [unit])
        values, vectors = torch.linalg.eigh(_scaled(blocks.stiffness, blocks.coupling, alpha))
        units = range(group.size) if unit is None else [unit]
        found += [(float(low[0]), group, which, v[:, 0]) for low, which, v in zip(values, units, vectors, strict=True)]
    value, group, which, vector = min(found, key=lambda item: item[0])
    if value >= -1e-12:
        raise HypothesisError(
            f"Splitting {'this unit' if unit is not None else 'any unit'} with share {alpha:g} opens no negative direction (lowest "
            f"curvature {value:.3g}): the grown point is no strict saddle. Try a share on the other side of 0 or 1, or a null unit."
        )
    return group, which, (value, vector)


def _scaled(stiffness: Tensor, coupling: Tensor, alpha: float) -> Tensor:
    """The added block in coordinates that are orthonormal in the wide parameters: ``a(1-a) S / s^2`` and ``D / (s sqrt 2)``."""
    length = (alpha**2 + (1 - alpha) ** 2) ** 0.5
    s, d = alpha * (1 - alpha) * stiffness / length**2, coupling / (length * 2**0.5)
    corner = d.new_zeros(len(d), d.shape[1], d.shape[1])
    return torch.cat([torch.cat([s, d.mT], dim=2), torch.cat([d, corner], dim=2)], dim=1)


def _wide_direction(narrow: Problem, wide: Problem, group: UnitGroup, unit: int, alpha: float, vector: Tensor) -> Tensor:
    """``dp_unit = alpha v, dp_clone = -(1 - alpha) v, du_unit = c, du_clone = -c``, of unit length."""
    own, out = UnitBlocks.of(narrow, group).sizes
    length = (alpha**2 + (1 - alpha) ** 2) ** 0.5
    v, c = vector[:own] / length, vector[own:] / 2**0.5
    again = UnitBlocks.of(wide, UnitGroup(**{**group.__dict__, "size": group.size + 1}))
    mine, theirs = v.new_zeros(group.size + 1, own), v.new_zeros(group.size + 1, out)
    mine[unit], mine[-1] = alpha * v, -(1 - alpha) * v
    theirs[unit], theirs[-1] = c, -c
    tensors = again.scatter(mine, theirs)
    whole = {name: tensors.get(name, torch.zeros_like(value)) for name, value in wide.network.parameters.items()}
    flat = wide.network.layout.flatten(whole)
    return flat / flat.norm()


def _signed_changes(population: Population, point: Tensor, direction: Tensor, before: float) -> np.ndarray:
    """Mean change over both signs: the odd orders cancel, and the curvature remains."""
    sizes = torch.tensor(_SIZES, dtype=point.dtype)[:, None]
    both = population.losses(torch.cat([point + sizes * direction, point - sizes * direction])) - before
    return both.reshape(2, -1).mean(0).cpu().numpy()


def _rests(population: Population, point: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Where pure pushes of several sizes first slow down below the start, and which of these points are critical saddles."""
    sizes = torch.tensor([sign * size for size in _PURE for sign in (1, -1)], dtype=point.dtype)[:, None]
    starts = point + sizes * max(1.0, float(point.norm()) / len(point) ** 0.5) * direction
    before, _, hessian = population.hessians(point[None])
    slow = _SETTLED * float(torch.linalg.matrix_norm(hessian[0], ord=2)) * float(point.norm())
    found = newton_to_critical(population.hessians, newton_to_minimum(population.hessians, starts, tolerance=slow).points)
    fell = found.values < before - 1e-9 * before.abs()
    points, critical = found.points[fell], found.slopes[fell] <= slow
    values = torch.linalg.eigvalsh(population.hessians(points)[2]) if len(points) else points.new_zeros(0, len(point))
    return points, critical & (values[:, 0] < -_SETTLED * values.abs().amax(1))


def _descents(wide: Problem, point: Tensor, direction: Tensor, seed: Seed) -> Tensor:
    """Minima reached from points pushed to both sides, with noise."""
    noise = gaussian((_TRIES, len(point)), seed.child("noise"), point.dtype)
    signs = torch.tensor([1.0, -1.0] * (_TRIES // 2), dtype=point.dtype)[:, None]
    size = _PUSH * max(1.0, float(point.norm()) / len(point) ** 0.5)
    return polish_points(wide, point + signs * size * direction + _NOISE * size * noise, toward="minimum").points
