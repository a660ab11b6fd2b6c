"""Critical points: what splitting units would do, which narrower network the run imitates, a census where it is small."""

import math

import numpy as np
import torch

from isthmus._core.errors import HypothesisError, UnsupportedLayer
from isthmus.embedding import census, condensation, identify_plateau, unit_curvature
from isthmus.embedding.points import TwoLayer
from isthmus.embedding.unit_curvature import splittable
from isthmus.model.problem import Problem
from isthmus.model.resizing import unit_groups
from isthmus.studies.stage import Context, Stage, spread

_SAMPLES = {"smoke": 200, "desk": 1000}
_POINTS = {"smoke": 3, "desk": 8}
_LAYERS = 4
_MOMENTS = 12
_LANCZOS = 16
_LARGEST = 100
_STARTS = {"smoke": (20, 60), "desk": (60, 240)}


def _small(context: Context, step: int) -> Problem:
    """The problem at a step, in float64, on training examples in a fixed random order."""
    problem = context.trajectory.problem_at(step).to(torch.float64)
    keep = min(problem.samples, _SAMPLES[context.scale.name])
    order = context.seed.child("embedding", "samples").numpy().permutation(problem.samples)[:keep]
    return problem.subset(torch.from_numpy(np.sort(order)))


def _has_units(context: Context) -> bool:
    """Whether some layer's units can be split one by one."""
    try:
        return bool(splittable(_small(context, context.trajectory.steps[-1])))
    except UnsupportedLayer:
        return False


def _run_units(context: Context) -> None:
    context.progress("embedding", "curvature of splitting each unit", 0, 1)
    problem = _small(context, context.trajectory.steps[-1])
    names = [group.name for group in splittable(problem)]
    chosen = [names[i] for i in spread(list(range(len(names))), _LAYERS)]
    record = unit_curvature(problem, layers=chosen, steps=_LANCZOS, seed=context.seed.child("embedding", "units"))
    context.run.save("embedding/units", record)


def _run_plateau(context: Context) -> None:
    record = identify_plateau(
        context.trajectory,
        steps=spread(context.trajectory.steps, _POINTS[context.scale.name]),
        largest=_LARGEST,
        seed=context.seed.child("embedding", "plateau"),
        tell=lambda done, total: context.progress("embedding", "narrow networks along the run", done, total),
    )
    context.run.save("embedding/plateau", record)


def _has_dense(context: Context) -> bool:
    """Whether some layer of exchangeable dense units has weights whose directions can be followed."""
    groups = unit_groups(context.trajectory.problem)
    return any(group.obstacle is None and group.kind == "dense neuron" for group in groups)


def _run_condensation(context: Context) -> None:
    context.progress("embedding", "directions of the units along the run", 0, 1)
    steps = spread(context.trajectory.steps, _MOMENTS)
    context.run.save("embedding/condensation", condensation(context.trajectory, steps=steps))


def _is_tiny(context: Context) -> bool:
    """A census is affordable for one hidden layer, few samples and one or two inputs."""
    problem = context.trajectory.problem
    if problem.samples > 200 or math.prod(problem.inputs.shape[1:]) > 2 or problem.outputs > 2:
        return False
    try:
        TwoLayer(problem)
    except (HypothesisError, UnsupportedLayer):
        return False
    return True


def _run_census(context: Context) -> None:
    context.progress("embedding", "critical points of widths 1 and 2", 0, 1)
    starts = _STARTS[context.scale.name]
    record = census(context.trajectory.problem, (1, 2), starts=starts, seed=context.seed.child("embedding", "census"))
    context.run.save("embedding/census", record)


UNITS = Stage("units", ("embedding/units",), _has_units, _run_units)
PLATEAU = Stage("plateau", ("embedding/plateau",), _has_units, _run_plateau)
CONDENSATION = Stage("condensation", ("embedding/condensation",), _has_dense, _run_condensation)
CENSUS = Stage("census", ("embedding/census",), _is_tiny, _run_census)
