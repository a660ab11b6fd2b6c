"""What every hidden unit is at the end of the run, and a path of equal loss to a reordered copy of the network."""

import numpy as np
import torch

from isthmus._core.errors import IsthmusError
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.model.problem import Problem, provenance
from isthmus.results.provenance import Cost
from isthmus.results.symmetry import PathProfile
from isthmus.studies.stage import Context, Stage
from isthmus.symmetry.copies import few_inputs, reordered, with_free_units
from isthmus.symmetry.layers import hidden_layers
from isthmus.symmetry.paths import zero_loss_path
from isthmus.symmetry.profile import path_profile
from isthmus.symmetry.reduction import reduce
from isthmus.symmetry.taxonomy import unit_taxonomy

_TOLERANCES = (1e-9, 1e-4, 1e-2)
_REFIT_STEPS = 40
_SAMPLES = 1000
_COMPARED = 256
_MOVED = 16
_LARGEST_UNITS = 4096
_LARGEST_PARAMETERS = 2_000_000


def equal_loss_path(problem: Problem, *, moved: int = _MOVED, seed: Seed) -> PathProfile:
    """The loss from a network to a reordered copy of itself, with one free unit in every hidden layer of both.

    Up to `moved` units of every layer change places in one cycle; the free units of the two ends differ. The path goes
    through `zero_loss_path`, the comparison along the straight line.

    Args:
        problem: network, data and loss.
        moved: units of each layer that change places.
        seed: names the draws.

    Returns:
        The profile; empty, status UNRESOLVED and the reason in `method`, where no path is known.
    """
    problem = problem.eval().to(torch.float64)
    few = few_inputs(problem.inputs, _COMPARED)
    try:
        layers = hidden_layers(problem.network, few)
        start, wide = with_free_units(problem.network, layers, seed=seed.child("start"))
        other, _ = with_free_units(problem.network, layers, seed=seed.child("end"))
        end = reordered(other, wide, most=moved, seed=seed.child("order"))
        return path_profile(problem, zero_loss_path(start, end, few), points=3, line_points=21)
    except IsthmusError as fault:
        return _unknown(problem, str(fault))


def _unknown(problem: Problem, reason: str) -> PathProfile:
    nothing = np.empty(0)
    return PathProfile(
        position=nothing,
        loss=nothing,
        segment_maximum=nothing,
        length=nothing,
        line_position=nothing,
        line_loss=nothing,
        steps=[],
        moved=[],
        free=[],
        minimal=[],
        rise=float("nan"),
        barrier=float("nan"),
        change=float("nan"),
        loss_name=problem.loss.name,
        samples=problem.samples,
        status=Status.UNRESOLVED,
        method=f"no path: {reason}",
        error="not measured",
        cost=Cost(),
        provenance=provenance(problem),
    )


def _applies(context: Context) -> bool:
    """The network has hidden layers of exchangeable units, and is small enough to be compared unit by unit."""
    problem = context.trajectory.problem
    if problem.network.size > _LARGEST_PARAMETERS:
        return False
    try:
        layers = hidden_layers(problem.network.eval().to(torch.float64), few_inputs(problem.inputs, 2))
    except IsthmusError:
        return False
    return sum(layer.size for layer in layers) <= _LARGEST_UNITS


def _run(context: Context) -> None:
    seed = context.seed.child("symmetry")
    problem = context.trajectory.problem_at(context.trajectory.steps[-1])
    order = np.sort(seed.child("samples").numpy().permutation(problem.samples)[:_SAMPLES])
    problem = problem.subset(torch.from_numpy(order)).to(torch.float64).eval()
    context.progress("symmetry", "copies, parked and cancelling units", 0, 2)
    context.run.save("symmetry/taxonomy", unit_taxonomy(problem, reduce(problem, tolerances=_TOLERANCES, steps=_REFIT_STEPS)))
    context.progress("symmetry", "a path to a reordered copy", 1, 2)
    context.run.save("symmetry/path", equal_loss_path(problem, seed=seed.child("path")))


SYMMETRY = Stage("symmetry", ("symmetry/taxonomy", "symmetry/path"), _applies, _run)
