"""The verb `isthmus stability`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from isthmus._core.errors import InputError
from isthmus.cli.loading import load_task
from isthmus.cli.options import AtCheckpoint, Json, Out, Samples, SeedNumber, Target
from isthmus.cli.place import at_checkpoint, first_samples
from isthmus.cli.show import show
from isthmus.dynamics import edge_of_stability, regime_check, stability_limit
from isthmus.model.data import Task
from isthmus.training import open_trajectory


def stability(
    target: Target,
    *,
    samples: Samples = None,
    checkpoint: AtCheckpoint = None,
    regime: Annotated[bool, Parameter(negative="")] = False,
    run: Path | None = None,
    points: int = 20,
    steps: int = 100,
    seed: SeedNumber = 0,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """The largest stable step size of the file's optimizer(params), and how far it is from it; exit code 1 above the limit.

    Parameters
    ----------
    regime
        Also follow the linearized network and say whether a kernel prediction can be trusted.
    run
        A folder of checkpoints: sharpness along that run, and what it did about the limit.
    points
        Checkpoints of the run that are measured, at most.
    steps
        How far the linearized network is followed.
    """
    task = load_task(target)
    if run is not None:
        return _along(task, run, points, samples, checkpoint is not None or regime, seed, out, as_json)
    problem = task.problem if checkpoint is None else at_checkpoint(task.problem, checkpoint)
    problem = problem.eval() if samples is None else first_samples(problem.eval(), samples)
    if regime:
        record = regime_check(problem, task.optimizer, steps=steps, seed=seed)
    else:
        record = stability_limit(problem, task.optimizer, steps=steps, seed=seed)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        sys.stdout.write(f"  {record.verdict}: {record.consequence}\n")
    return code or int(record.margin > 1)


def _along(
    task: Task, run: Path, points: int, samples: int | None, more: bool, seed: int, out: Path | None, as_json: bool
) -> int:
    if more:
        raise InputError("--run measures all of a run; leave --checkpoint and --regime out.")
    trajectory = open_trajectory(run, task.problem)
    record = edge_of_stability(trajectory, task.optimizer, samples=samples or 1000, points=points, seed=seed)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        sys.stdout.write(f"  {record.phase}: {record.explanation}\n")
    return code or int(record.phase == "unstable")
