"""The verb `isthmus barrier`."""

import sys
from pathlib import Path
from typing import Literal

from isthmus._core.errors import InputError
from isthmus.cli.figures import require_image, save_figure
from isthmus.cli.loading import load_task
from isthmus.cli.options import Json, Out, SeedNumber, Target
from isthmus.cli.place import at_checkpoint
from isthmus.cli.show import show
from isthmus.curvature import error_barrier, low_loss_curve
from isthmus.plots.surfaces import plot_curve


def barrier(
    target: Target,
    first: Path,
    second: Path,
    *,
    points: int = 21,
    curve: Literal["bezier", "polygon"] | None = None,
    bends: int = 1,
    epochs: int | None = None,
    seed: SeedNumber = 0,
    figure: Path | None = None,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """The error barrier on the straight line between two checkpoints of one network, or on a trained curve.

    Parameters
    ----------
    first
        A checkpoint.
    second
        Another checkpoint of the same network.
    points
        Grid on the line, refined near the maximum.
    curve
        Train a bezier curve or a polygon (chain of straight pieces) of low loss between them, with the file's optimizer.
    bends
        Trained control points of the curve.
    epochs
        How long the curve trains; EPOCHS of the file by default.
    figure
        Draw curve and line here (.svg, .png or .pdf).
    """
    require_image(figure)
    if figure is not None and curve is None:
        raise InputError("--figure draws a curve beside the straight line: add --curve bezier or --curve polygon.")
    task = load_task(target)
    problem = task.problem
    ends = at_checkpoint(problem, first), at_checkpoint(problem, second)
    if curve is None:
        record = error_barrier(problem, *ends, points=points)
        rows = [("over the mean of the ends", record.mean), ("over the chord", record.chord)]
    else:
        recipe = {"optimizer": task.optimizer, "batch": task.batch, "epochs": task.epochs if epochs is None else epochs}
        record = low_loss_curve(problem, *ends, kind=curve, bends=bends, points=points, seed=seed, **recipe).record
        rows = [("on the straight line", record.line_chord), ("on the curve", record.chord)]
        if figure is not None:
            save_figure(plot_curve(record), figure)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        for index, name in enumerate(record.quantities):
            words = ", ".join(f"{where} {values[index]:.5g}" for where, values in rows)
            sys.stdout.write(f"  {name:12s} {words}\n")
    return code
