"""The whole study in one call: children, kernel, after-kernels, linearized children, and when what happened."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus.model.data import OptimizerFactory
from isthmus.model.problem import Problem
from isthmus.results.evolution import AfterKernel, EvolutionSummary, LinearizedChildren, Spawning
from isthmus.results.kernel import KernelTimeline
from isthmus.results.record import Record
from isthmus.results.training import TrainingHistory
from isthmus.studies.after_kernel import after_kernel
from isthmus.studies.evolution import evolution_summary, spawning
from isthmus.studies.kernel_timeline import kernel_timeline
from isthmus.studies.linearized import LOSSES, linearized_children
from isthmus.studies.stage import spread
from isthmus.studies.stages.training import training_history
from isthmus.training import train
from isthmus.training.loop import Augment
from isthmus.training.trajectory import Trajectory

_FEWEST = 4
_RATES = (1.0, 0.3, 0.1)


@dataclass(frozen=True)
class KernelEvolution:
    """The records of one run, as `isthmus evolve` saves them.

    Attributes:
        history: losses and errors of the run.
        kernel: the tangent kernel along it.
        children: what children that left it at several times have in common at their end.
        after: the kernel of each time as a learner; None without test data.
        linearized: the linearized network trained on from several times; None without test data, or under a loss without a
            known bound on its curvature.
        summary: change points, correlations, separating twins.
    """

    history: TrainingHistory
    kernel: KernelTimeline
    children: Spawning
    after: AfterKernel | None
    linearized: LinearizedChildren | None
    summary: EvolutionSummary

    def save(self, directory: Path | str) -> list[Path]:
        """Write every record under its schema's name, ``<directory>/<view>/<name>.safetensors``."""
        found = [getattr(self, field.name) for field in fields(self)]
        records = [record for record in found if isinstance(record, Record)]
        return [record.save(Path(directory) / f"{record.schema}.safetensors") for record in records]


def kernel_evolution(
    subject: Problem | Trajectory,
    optimizer: OptimizerFactory | None = None,
    *,
    epochs: int = 30,
    batch: int = 50,
    spawn_times: int = 8,
    children: int = 3,
    samples: int = 1200,
    linearized: int = 3,
    probes: int = 64,
    augment: Augment | None = None,
    seed: Seed | int = 0,
    store: Path | str | None = None,
    workers: int = 1,
    tell: Callable[[str, int, int], None] | None = None,
) -> KernelEvolution:
    """When did the network leave its kernel, when was its fate decided, and how good a learner has its kernel become?

    Args:
        subject: a problem, which is trained first; or a run made by `train`, with at least four checkpoints.
        optimizer: ``parameters -> Optimizer`` (or with a scheduler) that trains, or trained, the run.
        epochs: length of the run, when it is trained here.
        batch: samples a step, when it is trained here.
        spawn_times: times from which children leave, evenly over the log-spaced checkpoints of the first two thirds.
        children: of each; three give three pairs, whose spread the change point needs.
        samples: training examples behind the solved kernels.
        linearized: times at which the network is linearized and trained on; 0 leaves them out, which saves most of the time.
        probes: training inputs in each of four sets on which kernels are compared.
        augment: ``(inputs, seed) -> inputs`` of a batch, in the run and its children.
        seed: names all draws.
        store: folder for checkpoints; a study that was stopped takes its runs up there.
        workers: processes for the children.
        tell: told (what is measured, done, total).

    Returns:
        All records.

    Raises:
        InputError: the run has fewer than four checkpoints, or holds no order of the data to continue in.
    """
    seed = as_seed(seed)
    run = subject if isinstance(subject, Trajectory) else _train(subject, optimizer, epochs, batch, augment, seed, store)
    if len(run.steps) < _FEWEST:
        raise InputError(
            f"A transition is found among at least {_FEWEST} times, and this run has checkpoints at steps {run.steps} only. Train "
            'with checkpoints="log" (the default), or name more steps.'
        )

    def telling(what: str) -> Callable[[int, int], None] | None:
        return None if tell is None else partial(tell, what)

    times = spread([step for step in run.steps if step <= 2 * run.steps[-1] / 3], spawn_times)
    tested = run.problem.test_inputs is not None
    history = training_history(run)
    kernel = kernel_timeline(run, probe_samples=probes, seed=seed.child("kernel"), tell=telling("kernel along the run"))
    family = spawning(
        run,
        steps=times,
        children=children,
        optimizer=optimizer,
        augment=augment,
        kernel_samples=min(probes, 40),
        seed=seed.child("children"),
        store=None if store is None else Path(store) / "spawned",
        workers=workers,
        tell=telling("children against spawn time"),
    )
    after = (
        after_kernel(run, steps=times, samples=samples, seed=seed.child("after"), tell=telling("kernels as learners"))
        if tested
        else None
    )
    straight = None
    if linearized and tested and run.problem.loss.name in LOSSES:
        chosen, told = spread(run.steps, linearized + 1)[:-1], telling("linearized children")
        straight = linearized_children(
            run, steps=chosen, rates=_RATES, batch=_batch(run, batch), seed=seed.child("linearized"), tell=told
        )
    summary = evolution_summary(run, family, kernel, history, after, optimizer=optimizer, seed=seed.child("summary"))
    return KernelEvolution(history, kernel, family, after, straight, summary)


def _train(
    problem: Problem,
    optimizer: OptimizerFactory | None,
    epochs: int,
    batch: int,
    augment: Augment | None,
    seed: Seed,
    store: Path | str | None,
) -> Trajectory:
    place = None if store is None else Path(store) / "checkpoints"
    return train(problem, optimizer, epochs=epochs, batch=batch, augment=augment, seed=seed.child("train"), store=place)


def _batch(run: Trajectory, otherwise: int) -> int:
    return int(run.checkpoint(run.steps[0]).sampler.get("batch", otherwise))
