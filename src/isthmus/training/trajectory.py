"""A training run as a sequence of checkpoints, and measurements made from them afterwards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isthmus._core.errors import InputError
from isthmus.model.problem import Problem
from isthmus.training.checkpoints import Checkpoint, checkpoint_path, stored_steps
from isthmus.training.schedule import PAIR_EPOCHS, SCAN_EPOCHS


@dataclass(frozen=True)
class Trajectory:
    """The checkpoints of a run.

    Attributes:
        problem: data, loss and architecture; its own parameters are the start of the run.
        kept: step to checkpoint, or to the file that holds it.
        steps_per_epoch: optimizer steps of an epoch.
        measurements: what the probes of `train` returned, by name, one per checkpoint made in that call.
    """

    problem: Problem
    kept: Mapping[int, Checkpoint | Path]
    steps_per_epoch: int
    measurements: dict[str, list] = field(default_factory=dict)

    @property
    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in order."""
        return sorted(self.kept)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Steps ``(t, t + dt)`` that both have a checkpoint, dt = 0.4 epochs."""
        dt = max(1, round(PAIR_EPOCHS * self.steps_per_epoch))
        return [(step, step + dt) for step in self.steps if step + dt in self.kept]

    @property
    def scans(self) -> list[tuple[int, ...]]:
        """Steps ``(t, t + dt, ...)`` that all have a checkpoint, for each dt of 0.2, 0.4 and 0.8 epochs."""
        lengths = [max(1, round(epochs * self.steps_per_epoch)) for epochs in SCAN_EPOCHS]
        found = [(step, *(step + length for length in lengths)) for step in self.steps]
        return [steps for steps in found if all(step in self.kept for step in steps)]

    def checkpoint(self, step: int) -> Checkpoint:
        """The checkpoint of a step.

        Raises:
            InputError: that step has none, or its file is damaged or belongs to another network.
        """
        if step not in self.kept:
            raise InputError(f"Step {step} has no checkpoint; there are {self.steps}.")
        found = self.kept[step]
        if isinstance(found, Checkpoint):
            return found
        loaded = Checkpoint.load(found)
        loaded.require_of(self.problem.network, found)
        return loaded

    def problem_at(self, step: int) -> Problem:
        """The problem at a step, in evaluation mode."""
        found = self.checkpoint(step)
        buffers = {**self.problem.network.buffers, **found.buffers}
        return self.problem.at(found.parameters, buffers).eval()


def open_trajectory(directory: Path | str, problem: Problem) -> Trajectory:
    """The checkpoints in a folder, as a trajectory of this problem's network.

    Args:
        directory: a folder of ``<step>.safetensors`` files, written by `train` or `Recorder`.
        problem: the same architecture, with data and loss.

    Raises:
        InputError: the folder is missing or empty, or a checkpoint belongs to another network.
    """
    folder = Path(directory)
    steps = stored_steps(folder)
    if not steps:
        raise InputError(
            f"{folder} holds no checkpoints (<step>.safetensors). Write them with isthmus.Recorder or isthmus.train."
        )
    paths = {step: checkpoint_path(folder, step) for step in steps}
    first = Checkpoint.load(paths[steps[0]])
    for step in steps:
        Checkpoint.load(paths[step]).require_of(problem.network, paths[step])
    return Trajectory(problem, paths, first.steps_per_epoch)


def replay(trajectory: Trajectory, probes: Mapping[str, Callable[[Problem], Any]]) -> dict[str, list]:
    """Make measurements at every checkpoint, long after training.

    Args:
        trajectory: the run.
        probes: name to ``problem -> anything``; the problem is in evaluation mode.

    Returns:
        Name to the list of values, one per checkpoint in order of steps.
    """
    return {name: [probe(trajectory.problem_at(step)) for step in trajectory.steps] for name, probe in probes.items()}
