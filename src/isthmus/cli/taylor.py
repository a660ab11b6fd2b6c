"""The verb `isthmus taylor`."""

import sys
from pathlib import Path

from isthmus.cli.loading import load_task
from isthmus.cli.options import Json, Out, SeedNumber, Target
from isthmus.cli.show import show
from isthmus.learning import order_shares, remainder_orders
from isthmus.studies.stage import spread
from isthmus.training import open_trajectory


def taylor(
    target: Target,
    checkpoints: Path,
    *,
    order: int = 2,
    points: int = 10,
    samples: int = 1000,
    seed: SeedNumber = 0,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """What each order of the Taylor expansion around the start contributes to the outputs along a run.

    Parameters
    ----------
    checkpoints
        Folder of checkpoints; the first one is the anchor.
    order
        Highest order, 1 to 3.
    points
        Checkpoints measured.
    samples
        At most this many test examples (training examples where there are none).
    """
    run = open_trajectory(checkpoints, load_task(target).problem)
    record = order_shares(run, steps=spread(run.steps, points), order=order, samples=samples, seed=seed)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        for epoch, row in zip(record.epoch, record.unexplained, strict=True):
            left = ", ".join(f"order {k} {value:.3g}" for k, value in enumerate(row) if k)
            sys.stdout.write(f"  epoch {epoch:8.4g}: unexplained by {left}\n")
        start = run.problem_at(run.steps[0])
        check = remainder_orders(start, start.inputs[:200], order=order, seed=seed)
        words = ", ".join(f"{slope:.2f} of {k + 1}" for k, slope in enumerate(check.slope))
        kind = "smooth" if check.smooth.all() else "not smooth: the rest holds what crosses kinks"
        sys.stdout.write(f"  remainder exponents {words} ({kind})\n")
    return code
