"""The verb `isthmus barrier`."""

import sys
from pathlib import Path

from isthmus.cli.loading import load_task
from isthmus.cli.options import Json, Out, Target
from isthmus.cli.place import at_checkpoint
from isthmus.cli.show import show
from isthmus.curvature import error_barrier


def barrier(
    target: Target,
    first: Path,
    second: Path,
    *,
    points: int = 21,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """The error barrier on the straight line between two checkpoints of one network.

    Parameters
    ----------
    first
        A checkpoint.
    second
        Another checkpoint of the same network.
    points
        Grid on the line, refined near the maximum.
    """
    problem = load_task(target).problem
    record = error_barrier(problem, at_checkpoint(problem, first), at_checkpoint(problem, second), points=points)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        for name, mean, chord in zip(record.quantities, record.mean, record.chord, strict=True):
            sys.stdout.write(f"  {name:12s} over the mean of the ends {mean:.5g}, over the chord {chord:.5g}\n")
    return code
