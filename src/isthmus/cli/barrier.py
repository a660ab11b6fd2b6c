"""The verb `isthmus barrier`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from isthmus.cli.loading import load_task
from isthmus.cli.place import at_checkpoint
from isthmus.cli.show import show
from isthmus.curvature import error_barrier


def barrier(
    target: str,
    first: Path,
    second: Path,
    *,
    points: int = 21,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """The error barrier on the straight line between two checkpoints of one network.

    Parameters
    ----------
    target
        FILE.py:function that returns an isthmus.Problem.
    first
        A checkpoint.
    second
        Another checkpoint of the same network.
    points
        Grid on the line, refined near the maximum.
    out
        Save the record here (.safetensors).
    as_json
        Print JSON.
    """
    problem = load_task(target).problem
    record = error_barrier(problem, at_checkpoint(problem, first), at_checkpoint(problem, second), points=points)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        for name, mean, chord in zip(record.quantities, record.mean, record.chord, strict=True):
            sys.stdout.write(f"  {name:12s} over the mean of the ends {mean:.5g}, over the chord {chord:.5g}\n")
    return code
