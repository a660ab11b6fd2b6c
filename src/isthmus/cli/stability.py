"""The verb `isthmus stability`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from isthmus.cli.loading import load_task
from isthmus.cli.place import at_checkpoint, first_samples
from isthmus.cli.show import show
from isthmus.dynamics import regime_check, stability_limit


def stability(
    target: str,
    *,
    samples: int | None = None,
    checkpoint: Path | None = None,
    regime: Annotated[bool, Parameter(negative="")] = False,
    steps: int = 100,
    seed: int = 0,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """The largest stable step size of the file's optimizer, and how far it is from it; exit code 1 above the limit.

    Parameters
    ----------
    target
        FILE.py:function that returns an isthmus.Problem; the file's optimizer(params) is the one judged.
    samples
        Only the first training samples.
    checkpoint
        Take the parameters from this checkpoint.
    regime
        Also follow the linearized network and say whether a kernel prediction can be trusted.
    steps
        How far the linearized network is followed.
    seed
        Names random start vectors.
    out
        Save the record here (.safetensors).
    as_json
        Print JSON.
    """
    task = load_task(target)
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
