"""The loss along a zero-loss path."""

import time

import numpy as np
import torch

from isthmus._core.errors import InputError
from isthmus._core.status import Status
from isthmus.model.derivatives import loss_value
from isthmus.model.problem import Problem, provenance
from isthmus.results.provenance import Cost
from isthmus.results.symmetry import PathProfile
from isthmus.symmetry.paths import ZeroLossPath


def path_profile(problem: Problem, path: ZeroLossPath, *, points: int = 5, line_points: int = 41) -> PathProfile:
    """The training loss on every segment of a path, and on the straight line between its ends.

    Args:
        problem: data and loss; its network need not have the path's widths.
        path: from `zero_loss_path`.
        points: on each segment, ends included.
        line_points: on the straight line, ends included.

    Returns:
        The profile, in float64. Maxima are over the grid. Running statistics of norms lie on the line too, not measured anew.

    Raises:
        InputError: fewer than two points.
    """
    if points < 2 or line_points < 2:
        raise InputError(f"A segment needs at least 2 points, found points={points}, line_points={line_points}.")
    started = time.perf_counter()
    there, segments = problem.to(torch.float64).eval(), len(path.steps)
    grid = np.arange(segments * (points - 1) + 1) / (points - 1)
    losses = np.array([loss_value(there._with(network=path.at(float(t)))) for t in grid])
    line = np.linspace(0, 1, line_points)
    on_line = np.array([loss_value(there._with(network=path.on_the_line(float(t)))) for t in line])
    maxima = [losses[k * (points - 1) : (k + 1) * (points - 1) + 1].max() for k in range(segments)]
    ends = max(losses[0], losses[-1])
    return PathProfile(
        position=grid,
        loss=losses,
        segment_maximum=np.array(maxima),
        length=(path.knots[1:] - path.knots[:-1]).norm(dim=1).cpu().numpy(),
        line_position=line,
        line_loss=on_line,
        steps=list(path.steps),
        moved=list(path.moved),
        free=[m - r for m, r in zip(path.sizes, path.widths, strict=True)],
        minimal=list(path.widths),
        rise=float(losses.max() - ends),
        barrier=float(on_line.max() - ends),
        change=path.change,
        loss_name=problem.loss.name,
        samples=problem.samples,
        status=Status.EXACT,
        method=f"{len(maxima)} straight segments found by star transpositions, {points} points each; {line_points} on the line",
        error="maxima over the grid: lower bounds on the maxima over the segments",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(there._with(network=path.network)),
    )
