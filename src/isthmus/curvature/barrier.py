"""The error barrier between two networks of one architecture."""

import time

import numpy as np

from isthmus._core.status import Status
from isthmus.curvature.points import Point, placed
from isthmus.curvature.profile import Normalization, profile
from isthmus.model.normalization import has_running_statistics
from isthmus.model.problem import Problem, provenance
from isthmus.results.curvature import ErrorBarrier
from isthmus.results.provenance import Cost


def error_barrier(
    problem: Problem,
    first: Point,
    second: Point,
    *,
    points: int = 21,
    refine: bool = True,
    bn: Normalization = "recalibrate",
) -> ErrorBarrier:
    """The barrier on the straight line ``w_a = a w + (1 - a) w'`` from `second` (a = 0) to `first` (a = 1).

    ``mean``: ``max_a R(w_a) - (R(w) + R(w')) / 2``; ``chord``: ``max_a [R(w_a) - a R(w) - (1 - a) R(w')]``. Both are
    >= 0 and differ by at most ``|R(w) - R(w')| / 2``. A line without a bump has chord barrier 0, while its mean
    barrier is half the difference of its ends: quote the chord for "no barrier".

    Args:
        problem: data and loss; its network gives the architecture.
        first: parameters w: flat vector, dict (may hold buffers), module, network or problem.
        second: parameters w'.
        points: even grid on [0, 1], ends included.
        refine: add points around the highest one of each quantity, three times halving the spacing.
        bn: with BatchNorm, whether its running statistics are measured anew at each inner point (over the training
            inputs), or interpolated like parameters; the ends keep their own statistics either way.

    Returns:
        Values and both barriers for train and test loss and error, as far as they exist. The barrier is a maximum
        over the grid, hence a lower bound on the maximum over the line. A value that is not finite makes the barrier not finite.

    Raises:
        InputError: fewer than two points.
        ShapeError: an end belongs to another network.
    """
    started, problem = time.perf_counter(), problem.eval()
    ends = placed(problem, second), placed(problem, first)
    low, high = (end.network.flat for end in ends)
    found = profile(ends, lambda a: low + a * (high - low), points=points, refine=refine, bn=bn)
    return ErrorBarrier(
        alpha=found.position,
        values=found.values,
        mean=found.mean,
        chord=found.chord,
        quantities=found.quantities,
        status=Status.EXACT if np.isfinite(found.values).all() else Status.NOT_FINITE,
        method=f"{len(found.position)} points on the line"
        + (f", BatchNorm statistics: {bn}" if has_running_statistics(problem.network) else ""),
        error="maximum over the grid: a lower bound on the maximum over the line",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem),
    )
