"""The main job: train or replay, measure, and leave a folder from which the atlas is drawn."""

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.model.data import Task
from isthmus.model.network import Network
from isthmus.model.problem import versions
from isthmus.studies.run import RunDirectory
from isthmus.studies.stage import SCALES, Context, Progress, ScaleName, Stage
from isthmus.studies.stages import STAGES
from isthmus.training import open_trajectory, train
from isthmus.training.trajectory import Trajectory

_SMALL_NETWORK = 2_000_000


@dataclass(frozen=True)
class SurveyResult:
    """Where the survey left its records, and which stages it computed and which it found done."""

    directory: Path
    computed: tuple[str, ...]
    found: tuple[str, ...]


def survey(
    task: Task,
    *,
    out: Path | str,
    seed: int = 0,
    checkpoints: Path | str | None = None,
    scale: ScaleName = "desk",
    stages: Sequence[Stage] = STAGES,
    progress: Progress | None = None,
    command: str = "",
) -> SurveyResult:
    """Train the task's network (or replay its checkpoints) and measure it along the run.

    Every record is written when it is ready. A survey that was killed, started again on the same folder, computes
    only what is missing and ends with the same arrays, bit for bit.

    Args:
        task: problem, optimizer, epochs and batch size.
        out: the run's folder; taken up again when it holds the same run.
        seed: root of every random draw.
        checkpoints: a folder of checkpoints to replay instead of training.
        scale: ``"desk"``, or ``"smoke"`` for a quick look.
        stages: what to measure.
        progress: told what is being computed.
        command: how to make this run again; shown in the atlas.

    Returns:
        The folder, and which stages were computed.

    Raises:
        InputError: the folder holds another run, or the checkpoints belong to another network.
    """
    if scale not in SCALES:
        raise InputError(f"Scale {scale!r} is unknown; there are {', '.join(SCALES)}.")
    tell = progress or _silent
    run, description = RunDirectory(Path(out)), _describe(task, seed, scale, checkpoints, command)
    replayed = None if checkpoints is None else open_trajectory(Path(checkpoints), task.problem)
    run.start(description)
    with _threads_for(task.problem.network):
        with _timed(run, "training"):
            trajectory = replayed or _train(task, run, seed, tell)
        context = Context(run, task, trajectory, checkpoints is None, Seed(seed), SCALES[scale], tell)
        computed, found = [], []
        for stage in stages:
            if not stage.applies(context):
                continue
            if all(run.has(name) for name in stage.outputs):
                found.append(stage.id)
                continue
            with _timed(run, stage.id):
                stage.run(context)
            computed.append(stage.id)
    return SurveyResult(run.path, tuple(computed), tuple(found))


def _train(task: Task, run: RunDirectory, seed: int, tell: Progress) -> Trajectory:
    return train(
        task.problem,
        task.optimizer,
        epochs=task.epochs,
        batch=task.batch,
        seed=Seed(seed).child("train"),
        store=run.path / "checkpoints",
        progress=lambda done, total: tell("training", "optimizer steps", done, total),
    )


def _describe(task: Task, seed: int, scale: str, checkpoints: Path | str | None, command: str) -> dict[str, Any]:
    problem = task.problem
    return {
        "name": problem.name,
        "task": task.description,
        "architecture": _architecture(problem.network),
        "parameters": problem.network.size,
        "samples": problem.samples,
        "test_samples": 0 if problem.test_inputs is None else len(problem.test_inputs),
        "loss": problem.loss.name,
        "optimizer": _optimizer_words(task),
        "epochs": task.epochs,
        "batch": task.batch,
        "seed": seed,
        "scale": scale,
        "checkpoints": "" if checkpoints is None else str(Path(checkpoints).resolve().name),
        "dtype": str(problem.network.dtype).removeprefix("torch."),
        "device": str(problem.network.device),
        "versions": versions(),
        "command": command,
        "module_hash": problem.network.architecture_hash,
        "parameter_hash": problem.network.parameter_hash,
        "data_hash": problem.data_hash,
    }


def _architecture(network: Network) -> str:
    """The leaf layers in order, as `nn` prints them without the names of their options."""
    leaves = [sub for sub in network.module.modules() if not list(sub.children())]
    words = [re.sub(r"(in|out)_(features|channels)=|, bias=True|\(\)", "", " ".join(repr(leaf).split())) for leaf in leaves]
    return " → ".join(words) if len(words) <= 12 else f"{' → '.join(words[:12])} → … ({len(words)} layers)"


def _optimizer_words(task: Task) -> str:
    made = task.optimizer([torch.nn.Parameter(torch.zeros(1))])
    optimizer = made[0] if isinstance(made, tuple) else made
    options = {k: v for k, v in optimizer.defaults.items() if isinstance(v, int | float) and not isinstance(v, bool) and v != 0}
    words = ", ".join(f"{name} {value:g}" for name, value in options.items())
    schedule = f", {type(made[1]).__name__}" if isinstance(made, tuple) else ""
    return f"{type(optimizer).__name__} ({words}{schedule})"


@contextlib.contextmanager
def _threads_for(network: Network) -> Iterator[None]:
    """One thread for small networks, on which two are many times slower; results then repeat bit for bit."""
    before = torch.get_num_threads()
    if network.size < _SMALL_NETWORK:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _timed(run: RunDirectory, stage: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    run.add_cost(stage, time.perf_counter() - wall, time.process_time() - cpu)


def _silent(stage: str, doing: str, done: int, total: int) -> None:
    """No display."""
