"""The verb `isthmus plateau`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from isthmus.cli.loading import load_task
from isthmus.cli.place import problem_at
from isthmus.cli.show import show
from isthmus.embedding import identify_plateau
from isthmus.training import open_trajectory


def plateau(
    target: str,
    *,
    checkpoints: Path | None = None,
    checkpoint: Path | None = None,
    step: list[int] | None = None,
    cosine: float = 0.9,
    seed: int = 0,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Say which narrower network's critical point a run is near, with signed loss gap, distances and exit time.

    Parameters
    ----------
    target
        FILE.py:function that returns an isthmus.Problem.
    checkpoints
        A folder of checkpoints: the whole run.
    checkpoint
        One checkpoint; without either, the network as the file builds it.
    step
        Only these steps of the run (repeat the option).
    cosine
        Units whose own weights have at least this cosine count as one direction.
    seed
        Names random starts.
    out
        Save the record here (.safetensors).
    as_json
        Print JSON.
    """
    run = problem_at(target, checkpoint) if checkpoints is None else open_trajectory(checkpoints, load_task(target).problem)
    record = identify_plateau(run, steps=step, cosine=cosine, seed=seed)
    if as_json or out is not None:
        show(record, as_json=as_json, out=out)
    if not as_json:
        for i, reason in enumerate(record.reasons):
            sys.stdout.write(f"step {record.step[i]}: loss {record.loss[i]:.6g}, {reason}")
            if record.near[i]:
                sys.stdout.write(
                    f"; gap {record.gap[i]:+.3g}, outputs off by {record.distance[i]:.3g}, rate {record.rate[i]:.3g}"
                )
            sys.stdout.write("\n")
    return 0
