"""Kernel evolution: children, after-kernels, linearized children, and the summary."""

from isthmus.results.evolution import AfterKernel, Spawning
from isthmus.results.kernel import KernelTimeline
from isthmus.results.training import TrainingHistory
from isthmus.studies.after_kernel import after_kernel
from isthmus.studies.evolution import evolution_summary, spawning
from isthmus.studies.linearized import LOSSES, linearized_children
from isthmus.studies.stage import Context, Stage, spread
from isthmus.studies.stages.twins import control_ends

_RATES = (1.0, 0.3, 0.1)
_CHILDREN, _AFTER, _LINEAR = "evolution/spawning", "evolution/after_kernel", "evolution/linearized"


def _trained_here(context: Context) -> bool:
    """Children need the optimizer and the stream that made the run."""
    return context.trained_here and len(context.trajectory.steps) >= 4


def _has_test(context: Context) -> bool:
    return context.trajectory.problem.test_inputs is not None


def _can_linearize(context: Context) -> bool:
    return _has_test(context) and context.trajectory.problem.loss.name in LOSSES


def _spawn_steps(context: Context) -> list[int]:
    """Start and log-spaced times up to two thirds of the run."""
    steps = context.trajectory.steps
    return spread([step for step in steps if step <= 2 * steps[-1] / 3], context.scale.spawn_times)


def _run_spawning(context: Context) -> None:
    record = spawning(
        context.trajectory,
        steps=_spawn_steps(context),
        children=context.scale.children,
        optimizer=context.task.optimizer,
        independent=control_ends(context),
        seed=context.seed.child("evolution"),
        store=context.run.path / "checkpoints" / "spawned",
        tell=lambda done, total: context.progress("evolution", "children against spawn time", done, total),
    )
    context.run.save(_CHILDREN, record)


def _run_after(context: Context) -> None:
    record = after_kernel(
        context.trajectory,
        steps=spread(context.trajectory.steps, context.scale.after_points),
        samples=context.scale.after_samples,
        seed=context.seed.child("after"),
        tell=lambda done, total: context.progress("evolution", "the kernel of each time as a learner", done, total),
    )
    context.run.save(_AFTER, record)


def _run_linearized(context: Context) -> None:
    record = linearized_children(
        context.trajectory,
        steps=spread(context.trajectory.steps, context.scale.linear_points + 1)[:-1],
        rates=_RATES,
        batch=context.task.batch,
        seed=context.seed.child("linearized"),
        tell=lambda done, total: context.progress("evolution", "training the linearized network", done, total),
    )
    context.run.save(_LINEAR, record)


def _run_summary(context: Context) -> None:
    context.progress("evolution", "change points and separating twins", 0, 1)
    run = context.run
    after = AfterKernel.load(run.record_path(_AFTER)) if run.has(_AFTER) else None
    record = evolution_summary(
        context.trajectory,
        Spawning.load(run.record_path(_CHILDREN)),
        KernelTimeline.load(run.record_path("kernel/timeline")),
        TrainingHistory.load(run.record_path("training/history")),
        after,
        optimizer=context.task.optimizer,
        seed=context.seed.child("evolution"),
    )
    run.save("evolution/summary", record)


SPAWNING = Stage("spawning", (_CHILDREN,), _trained_here, _run_spawning)
AFTER_KERNEL = Stage("after-kernel", (_AFTER,), _has_test, _run_after)
LINEARIZED = Stage("linearized", (_LINEAR,), _can_linearize, _run_linearized)
EVOLUTION = Stage("evolution", ("evolution/summary",), _trained_here, _run_summary)
