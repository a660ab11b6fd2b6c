"""The run against the prediction of its initial kernel, and what other optimizers would do."""

import torch

from isthmus._core.errors import HypothesisError, InputError, ModelError
from isthmus.dynamics import compare, edge_of_stability, rank_optimizers, regime_check, spectrum
from isthmus.dynamics.optimizers import understand_optimizer
from isthmus.model.problem import Problem
from isthmus.studies.stage import Context, Stage

_SAMPLES = {"smoke": 40, "desk": 100}
_POINTS = {"smoke": 8, "desk": 24}
_LAST = {"smoke": 60, "desk": 800}
_EDGE_POINTS = {"smoke": 4, "desk": 12}
_ROWS = 1000
_FRACTIONS = (0.5, 0.1, 0.01)


def _applies(context: Context) -> bool:
    """The run must have its start and one more checkpoint, and a loss that a kernel can predict."""
    steps = [step for step in context.trajectory.steps if step <= _LAST[context.scale.name]]
    if len(steps) < 2 or steps[0] != 0:
        return False
    try:
        spectrum(_sample(context, 4), verify=False)
    except HypothesisError:
        return False
    return True


def _sample(context: Context, most: int) -> Problem:
    """The start of the run on a few training samples in random order, at most 1000 outputs in all."""
    start = context.trajectory.problem_at(context.trajectory.steps[0])
    count = max(1, min(most, _ROWS // start.outputs, start.samples))
    order = context.seed.child("dynamics", "samples").numpy().permutation(start.samples)[:count]
    return start.subset(torch.from_numpy(order))


def _run(context: Context) -> None:
    name, optimizer = context.scale.name, context.task.optimizer
    samples = max(1, min(_SAMPLES[name], _ROWS // context.trajectory.problem.outputs))
    record = compare(
        context.trajectory,
        optimizer,
        samples=samples,
        points=_POINTS[name],
        last=_LAST[name],
        seed=context.seed.child("dynamics"),
        tell=lambda doing, done, total: context.progress("dynamics", doing, done, total),
    )
    context.run.save("dynamics/comparison", record)
    few = _sample(context, _SAMPLES[name])
    context.progress("dynamics", "ranking of optimizers", 1, 2)
    closed = understand_optimizer(optimizer, few.network).method is not None
    context.run.save(
        "dynamics/ranking", rank_optimizers(few, optimizer if closed else None, fractions=_FRACTIONS, max_steps=2000)
    )
    context.run.save("dynamics/regime", regime_check(few, optimizer))


def _has_limit(context: Context) -> bool:
    """A step limit is known for the optimizer, and the network has second derivatives."""
    trajectory = context.trajectory
    try:
        edge_of_stability(trajectory, context.task.optimizer, samples=2, points=1)
    except (InputError, ModelError):
        return False
    return True


def _run_edge(context: Context) -> None:
    record = edge_of_stability(
        context.trajectory,
        context.task.optimizer,
        samples=_SAMPLES[context.scale.name],
        points=_EDGE_POINTS[context.scale.name],
        seed=context.seed.child("dynamics"),
        tell=lambda doing, done, total: context.progress("dynamics", doing, done, total),
    )
    context.run.save("dynamics/edge", record)


DYNAMICS = Stage("dynamics", ("dynamics/comparison", "dynamics/ranking", "dynamics/regime"), _applies, _run)
EDGE = Stage("edge", ("dynamics/edge",), _has_limit, _run_edge)
