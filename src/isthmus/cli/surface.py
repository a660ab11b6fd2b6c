"""The verb `isthmus surface`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from cyclopts import Parameter

from isthmus._core.errors import InputError
from isthmus.cli.figures import require_image, save_figure
from isthmus.cli.options import AtCheckpoint, Json, Out, SeedNumber, Target
from isthmus.cli.place import at_checkpoint, first_samples, problem_at
from isthmus.cli.show import show
from isthmus.curvature import (
    Directions,
    adaptive_loss_plane,
    directions_through,
    hessian_directions,
    loss_along_line,
    loss_plane,
    random_directions,
    trajectory_directions,
)
from isthmus.model.problem import Problem
from isthmus.plots.surfaces import plot_line, plot_plane
from isthmus.results.curvature import LossLine
from isthmus.training.trajectory import open_trajectory


def surface(
    target: Target,
    *,
    along: Literal["random", "hessian"] = "random",
    run: Path | None = None,
    through: Annotated[list[Path] | None, Parameter(consume_multiple=True, negative="")] = None,
    normalize: Literal["filter", "layer", "none"] = "filter",
    points: int = 51,
    span: float | None = None,
    line: Annotated[bool, Parameter(negative="")] = False,
    adaptive: int | None = None,
    data: Literal["train", "test"] = "train",
    bn: Literal["recalibrate", "keep"] = "recalibrate",
    samples: int | None = None,
    checkpoint: AtCheckpoint = None,
    seed: SeedNumber = 0,
    figure: Path | None = None,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """The loss on a plane (or a line) in parameter space.

    Parameters
    ----------
    along
        random directions, or the top hessian eigenvectors, through the network.
    run
        Principal directions of the checkpoints in this folder instead, with the run drawn on the plane.
    through
        The plane through three checkpoints instead, or the line through two.
    normalize
        Random directions with the norms of the network's filters, of its layers, or none.
    points
        Grid along each axis.
    span
        Half-width in units of the directions; by default what they suggest.
    line
        Only along the first direction, training and test data.
    adaptive
        So many samples, denser where the loss changes, instead of a grid.
    data
        Data of a plane.
    bn
        On a plane, measure BatchNorm statistics anew at every point, or keep the network's.
    samples
        Only the first training samples.
    figure
        Draw it here (.svg, .png or .pdf).
    """
    require_image(figure)
    problem = problem_at(target, checkpoint)
    problem = problem if samples is None else first_samples(problem, samples)
    count = 1 if line or (through and len(through) == 2) else 2
    directions = _directions(problem, count, along, run, through, normalize, seed)
    if count == 1:
        record = _line(problem, directions, points, span)
    elif adaptive is not None:
        record = adaptive_loss_plane(problem, directions, samples=adaptive, span=span, data=data, bn=bn)
    else:
        record = loss_plane(problem, directions, points=points, span=span, data=data, bn=bn)
    code = show(record, as_json=as_json, out=out)
    if figure is not None:
        save_figure(plot_line(record) if isinstance(record, LossLine) else plot_plane(record), figure)
        if not as_json:
            sys.stdout.write(f"drawn: {figure}\n")
    return code


def _directions(
    problem: Problem, count: int, along: str, run: Path | None, through: list[Path] | None, normalize: str, seed: int
) -> Directions:
    if run is not None and through:
        raise InputError("--run and --through each choose the plane; give one of them.")
    if run is not None:
        return trajectory_directions(open_trajectory(run, problem), count)
    if through:
        if len(through) not in (2, 3):
            raise InputError(f"--through takes two checkpoints for a line or three for a plane, found {len(through)}.")
        return directions_through(problem, *(at_checkpoint(problem, path) for path in through), names=[p.stem for p in through])
    if along == "hessian":
        return hessian_directions(problem, count, seed=seed)
    return random_directions(problem, count, normalize=normalize, seed=seed)  # pyright: ignore[reportArgumentType]


def _line(problem: Problem, directions: Directions, points: int, span: float | None) -> LossLine:
    if points < 2:
        raise InputError(f"A line needs at least 2 points, found --points {points}.")
    low, high = directions.spans[0] if span is None else (-span, span)
    place = problem.at(directions.network.parameters, directions.network.buffers)
    return loss_along_line(place, directions.network.flat, directions.vectors[0], np.linspace(low, high, points))
