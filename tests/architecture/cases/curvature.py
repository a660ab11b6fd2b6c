"""Curvature: surfaces and curves. The other names of the room are in foundation and critical."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

import isthmus
from tests.architecture.cases.foundation import start, trained
from tests.architecture.user import problem_of, sgd


def plane(module: nn.Module) -> Any:
    problem = problem_of(module)
    return isthmus.loss_plane(problem, isthmus.random_directions(problem), points=3)


#: every public name that is given a module, a problem or a network
CASES: dict[str, Callable[[nn.Module, Path], Any]] = {
    "adaptive_loss_plane": lambda module, _: isthmus.adaptive_loss_plane(
        problem_of(module), isthmus.random_directions(problem_of(module)), samples=12, start=3
    ),
    "directions_through": lambda module, _: isthmus.directions_through(problem_of(module), module, 0.5 * start(module)),
    "hessian_directions": lambda module, _: isthmus.hessian_directions(problem_of(module)),
    "loss_plane": lambda module, _: plane(module),
    "low_loss_curve": lambda module, _: isthmus.low_loss_curve(
        problem_of(module), module, 0.5 * start(module), optimizer=sgd, epochs=2, batch=6, points=3
    ),
    "random_directions": lambda module, _: isthmus.random_directions(problem_of(module)),
    "trajectory_directions": lambda module, _: isthmus.trajectory_directions(trained(module)),
}
#: names that never see a module
WITHOUT: set[str] = set()
