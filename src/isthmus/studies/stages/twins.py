"""Barriers between the run and twins that share its start, with runs from other starts as the contrast."""

import time
from pathlib import Path

import numpy as np
from torch import Tensor

from isthmus._core.errors import UnsupportedLayer
from isthmus._core.status import Status
from isthmus.curvature import error_barrier
from isthmus.model.initialization import reinitialized
from isthmus.model.problem import Problem, provenance
from isthmus.results.curvature import ErrorBarrier, TwinBarriers
from isthmus.results.provenance import Cost
from isthmus.studies.stage import Context, Stage
from isthmus.training import train

_POINTS = 21


def _applies(context: Context) -> bool:
    """Twins need to start where the run started, under the optimizer that made it."""
    return context.trained_here


def _end_of_twin(context: Context, start: Problem, kind: str, index: int) -> Problem:
    store: Path = context.run.path / "checkpoints" / f"{kind}-{index}"
    run = train(
        start,
        context.task.optimizer,
        epochs=context.task.epochs,
        batch=context.task.batch,
        seed=context.seed.child(kind, index),
        checkpoints=(),
        store=store,
    )
    return run.problem_at(run.steps[-1])


def _barrier(context: Context, other: Problem) -> ErrorBarrier:
    end = context.trajectory.problem_at(context.trajectory.steps[-1])
    return error_barrier(end, _state(end), _state(other), points=_POINTS, refine=False)


def _state(problem: Problem) -> dict[str, Tensor]:
    return {**problem.network.buffers, **problem.network.parameters}


def control_ends(context: Context) -> list[Problem]:
    """Ends of the runs from other initializations, trained now or found from an earlier stage."""
    return [_end_of_twin(context, problem, "control", index) for index, problem in enumerate(_controls(context))]


def _controls(context: Context) -> list[Problem]:
    start = context.trajectory.problem
    try:
        fresh = [reinitialized(start.network, context.seed.child("control", i)) for i in range(context.scale.controls)]
    except UnsupportedLayer:
        return []
    return [start.at(network.parameters, network.buffers) for network in fresh]


def _run(context: Context) -> None:
    started, trajectory = time.perf_counter(), context.trajectory
    start = trajectory.problem.at(trajectory.checkpoint(0).parameters, trajectory.checkpoint(0).buffers)
    fresh = _controls(context)
    total, twins, controls = context.scale.twins + len(fresh), [], []
    for index in range(context.scale.twins):
        context.progress("barrier", "twin runs with another batch order", index, total)
        twins.append(_barrier(context, _end_of_twin(context, start, "twin", index)))
    for index, problem in enumerate(fresh):
        context.progress("barrier", "runs from another initialization", len(twins) + index, total)
        controls.append(_barrier(context, _end_of_twin(context, problem, "control", index)))
    quantities = twins[0].quantities
    chord = np.stack([twin.chord for twin in twins])
    loss = chord[:, quantities.index("train_loss")]
    error = float(loss.std(ddof=1) / np.sqrt(len(loss))) if len(loss) > 1 else float("nan")
    record = TwinBarriers(
        alpha=twins[0].alpha,
        values=np.stack([twin.values for twin in twins]),
        mean=np.stack([twin.mean for twin in twins]),
        chord=chord,
        control_chord=np.stack([c.chord for c in controls]) if controls else np.empty((0, len(quantities))),
        quantities=quantities,
        headline=(float(loss.mean()), error),
        status=Status.EXACT,
        method=f"{twins[0].method}; {len(twins)} twins (same start, other batch order), {len(controls)} controls (other start)",
        error="standard error over pairs with the run; pairs share the run, so they are not independent",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(start, context.seed),
    )
    context.run.save("curvature/twin_barriers", record)


TWINS = Stage("twins", ("curvature/twin_barriers",), _applies, _run)
