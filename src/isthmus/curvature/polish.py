"""Driving the gradient of a small network to rounding level."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from isthmus._core.errors import BudgetError, InputError
from isthmus._core.status import Status
from isthmus.linops.least_squares import levenberg_marquardt
from isthmus.linops.newton import newton_to_critical, newton_to_minimum
from isthmus.model.populations import Population
from isthmus.model.problem import Problem

Toward = Literal["critical", "minimum"]
LARGEST = 2000
_ROUGH = 1e-9


@dataclass(frozen=True)
class Polished:
    """A point after polishing.

    Attributes:
        problem: the problem at it, in float64 and evaluation mode.
        loss: there.
        gradient_norm: there.
        moved: distance from the start.
        steps: second-order evaluations.
        status: CONVERGED when the gradient norm is within the tolerance, else MAX_STEPS.
    """

    problem: Problem
    loss: float
    gradient_norm: float
    moved: float
    steps: int
    status: Status


@dataclass(frozen=True)
class PolishedPoints:
    """Many starts after polishing.

    Attributes:
        points: ``(b, p)``.
        losses: ``(b,)``.
        gradient_norms: ``(b,)``.
        converged: gradient norm within the tolerance, ``(b,)``.
        steps: second-order evaluations of the slowest.
    """

    points: Tensor
    losses: Tensor
    gradient_norms: Tensor
    converged: Tensor
    steps: int


def polish(problem: Problem, *, toward: Toward = "critical", tolerance: float = 1e-13, steps: int = 200) -> Polished:
    """Move the parameters of a small network to a critical point of its loss, in float64.

    ``toward="critical"`` solves ``grad = 0`` from where the network stands and ends at the nearest critical point,
    saddle or not: pseudo-inverse Newton steps, then Levenberg-Marquardt on the gradient where those stall.
    ``"minimum"`` first descends: Levenberg-Marquardt for squared losses, saddle-free Newton for others.

    Args:
        problem: network of at most 2000 parameters, data and loss.
        toward: which kind of point to go to.
        tolerance: on the Euclidean norm of the gradient.
        steps: second-order evaluations for each of the two phases.

    Returns:
        The polished problem. The user's module is not touched.

    Raises:
        BudgetError: the network is too large for dense second-order steps.
        InputError: an unknown target.
    """
    problem = problem.eval().to(torch.float64)
    start = problem.network.flat
    found = polish_points(problem, start[None], toward=toward, tolerance=tolerance, steps=steps)
    return Polished(
        problem=problem.at(found.points[0]),
        loss=float(found.losses[0]),
        gradient_norm=float(found.gradient_norms[0]),
        moved=float((found.points[0] - start).norm()),
        steps=found.steps,
        status=Status.CONVERGED if bool(found.converged[0]) else Status.MAX_STEPS,
    )


def polish_points(
    problem: Problem,
    points: Tensor,
    *,
    toward: Toward = "critical",
    tolerance: float = 1e-13,
    steps: int = 200,
    bound: float = float("inf"),
) -> PolishedPoints:
    """`polish` for many starts at once, ``(b, p)``, batched along the leading axis.

    Args:
        problem: in float64; its own parameters do not matter.
        points: the starts.
        toward: which kind of point to go to.
        tolerance: on the gradient norm.
        steps: second-order evaluations for each phase.
        bound: radius of the ball that descending starts may not leave.

    Raises:
        BudgetError: the network is too large for dense second-order steps.
        InputError: an unknown target.
    """
    if toward not in ("critical", "minimum"):
        raise InputError(f"toward={toward!r} is unknown; write 'critical' or 'minimum'.")
    if problem.network.size > LARGEST:
        raise BudgetError(
            f"Polishing takes dense second-order steps and is made for at most {LARGEST} parameters; this network has "
            f"{problem.network.size}. Shrink it first (isthmus.shrink), or train on."
        )
    population = Population(problem.eval())
    taken = 0
    if toward == "minimum":
        points, taken = _descended(population, points, steps, bound)
    found = newton_to_critical(population.hessians, points, steps=steps)
    taken += found.steps
    stuck = found.slopes > tolerance
    if bool(stuck.any()):
        found = _unstuck(population, found.points, stuck, steps, bound)
        taken += found[2]
        points, norms = found[0], found[1]
    else:
        points, norms = found.points, found.slopes
    return PolishedPoints(points, population.losses(points), norms, norms <= tolerance, taken)


def _descended(population: Population, points: Tensor, steps: int, bound: float) -> tuple[Tensor, int]:
    if population.problem.loss.name in ("mse_entries", "sum"):
        rough = levenberg_marquardt(population.residuals, points, steps=steps, tolerance=_ROUGH, bound=bound)
        return rough.points, rough.steps
    lower = newton_to_minimum(population.hessians, points, steps=steps)
    return lower.points, lower.steps


def _unstuck(population: Population, points: Tensor, stuck: Tensor, steps: int, bound: float) -> tuple[Tensor, Tensor, int]:
    """Levenberg-Marquardt on the gradient for the starts where Newton stalled, then Newton again."""

    def slope(at: Tensor) -> tuple[Tensor, Tensor]:
        _, gradient, hessian = population.hessians(at)
        return gradient, hessian

    rough = levenberg_marquardt(slope, points[stuck], steps=steps, tolerance=_ROUGH**2, bound=bound)
    fine = newton_to_critical(population.hessians, rough.points, steps=steps)
    points = points.clone()
    points[stuck] = fine.points
    norms = population.gradients(points)[1].norm(dim=1)
    return points, norms, rough.steps + fine.steps
