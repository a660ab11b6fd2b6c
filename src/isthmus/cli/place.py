"""The problem of FILE.py:function, at its own parameters or at a checkpoint's."""

from pathlib import Path

from isthmus._core.errors import InputError
from isthmus.cli.loading import load_task
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.training import Checkpoint


def problem_at(target: str, checkpoint: Path | None = None) -> Problem:
    """The problem in evaluation mode.

    Raises:
        InputError: the file, the function or the checkpoint cannot be used.
    """
    problem = load_task(target).problem
    return (problem if checkpoint is None else at_checkpoint(problem, checkpoint)).eval()


def at_checkpoint(problem: Problem, path: Path) -> Problem:
    """The problem at a checkpoint's parameters and buffers.

    Raises:
        InputError: the checkpoint is damaged or belongs to another network.
    """
    saved = Checkpoint.load(path)
    saved.require_of(problem.network, path)
    return problem.at(saved.parameters, {**problem.network.buffers, **saved.buffers})


def first_samples(problem: Problem, count: int) -> Problem:
    """The problem on its first samples.

    Raises:
        InputError: the count is below 1.
    """
    if count < 1:
        raise InputError(f"--samples must be at least 1, found {count}.")
    return problem.subset(slice(0, count))


def save_parameters(network: Network, directory: Path) -> Path:
    """Write a network's parameters and buffers as the checkpoint of step 0."""
    made = Checkpoint(
        step=0, steps_per_epoch=1, parameters=network.parameters, buffers=network.buffers, module_hash=network.architecture_hash
    )
    return made.save(directory)
