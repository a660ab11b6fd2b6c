"""Refitting a network after units were joined: to the bottom of the basin it stands in."""

import torch
from scipy import optimize

from isthmus.linops.least_squares import levenberg_marquardt
from isthmus.model.derivatives import loss_gradient, loss_value
from isthmus.model.populations import Population
from isthmus.model.problem import Problem

_DENSE = 600
_SLOPE = 1e-17
_JACOBIAN_ENTRIES = 2e8


def refitted(problem: Problem, *, steps: int = 200) -> Problem:
    """The problem at a point of lower loss nearby.

    Levenberg-Marquardt for squared losses of at most 600 parameters; else limited-memory BFGS on the full data.

    Args:
        problem: in float64 and evaluation mode.
        steps: evaluations allowed.

    Returns:
        The refitted problem; its loss is never above the given one's.
    """
    network = problem.network
    if quick(problem):
        found = levenberg_marquardt(Population(problem).residuals, network.flat[None], steps=steps, tolerance=_SLOPE)
        return problem.at(found.points[0])
    here = network.flat.cpu()

    def value_and_slope(vector: object) -> tuple[float, object]:
        there = problem.at(torch.as_tensor(vector))
        return loss_value(there), loss_gradient(there).cpu().numpy()

    found = optimize.minimize(value_and_slope, here.numpy(), jac=True, method="L-BFGS-B", options={"maxfun": steps})
    return problem.at(torch.from_numpy(found.x)) if found.fun < loss_value(problem) else problem


def quick(problem: Problem) -> bool:
    """Whether Levenberg-Marquardt applies: a squared loss, and a Jacobian that is small."""
    entries = problem.network.size * problem.samples * problem.outputs
    return problem.loss.name in ("mse_entries", "sum") and problem.network.size <= _DENSE and entries <= _JACOBIAN_ENTRIES
