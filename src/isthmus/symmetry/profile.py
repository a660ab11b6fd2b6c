"""The loss along a zero-loss path."""

import itertools
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
        The profile, in float64. Maxima are over the grid.

    Raises:
        InputError: fewer than two points.
    """
    if points < 2 or line_points < 2:
        raise InputError(f"A segment needs at least 2 points, found points={points}, line_points={line_points}.")
    started = time.perf_counter()
    there = problem.to(torch.float64).eval()._with(network=path.network)
    knots, grid = path.knots, np.linspace(0, 1, points)
    at_knots = [loss_value(there.at(knot)) for knot in knots]
    losses, positions, maxima = [at_knots[0]], [0.0], []
    for index, (low, high) in enumerate(itertools.pairwise(knots)):
        inner = [loss_value(there.at(low + float(t) * (high - low))) for t in grid[1:-1]]
        losses += [*inner, at_knots[index + 1]]
        positions += (index + grid[1:]).tolist()
        maxima.append(max(at_knots[index], *inner, at_knots[index + 1]))
    line = np.linspace(0, 1, line_points)
    on_line = np.array([loss_value(there.at(knots[0] + float(t) * (knots[-1] - knots[0]))) for t in line])
    ends = max(losses[0], losses[-1])
    return PathProfile(
        position=np.array(positions),
        loss=np.array(losses),
        segment_maximum=np.array(maxima),
        length=(knots[1:] - knots[:-1]).norm(dim=1).cpu().numpy(),
        line_position=line,
        line_loss=on_line,
        steps=list(path.steps),
        moved=list(path.moved),
        free=[m - r for m, r in zip(path.sizes, path.widths, strict=True)],
        minimal=list(path.widths),
        rise=float(max(losses) - ends),
        barrier=float(on_line.max() - ends),
        change=path.change,
        loss_name=problem.loss.name,
        samples=problem.samples,
        status=Status.EXACT,
        method=f"{len(maxima)} straight segments found by star transpositions, {points} points each; {line_points} on the line",
        error="maxima over the grid: lower bounds on the maxima over the segments",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(there),
    )
