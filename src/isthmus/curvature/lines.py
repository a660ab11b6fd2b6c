"""The loss along a straight line in parameter space."""

import math
import time
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from isthmus._core.errors import ShapeError
from isthmus._core.status import Status
from isthmus.model.affine import AffineSlice
from isthmus.model.evaluation import Score, evaluate
from isthmus.model.problem import Problem, provenance
from isthmus.results.curvature import LossLine
from isthmus.results.provenance import Cost

_NOTHING = Score(loss=math.nan, error=math.nan)


def loss_along_line(problem: Problem, start: Tensor, direction: Tensor, positions: Sequence[float] | np.ndarray) -> LossLine:
    """Loss and 0-1 error at ``w = start + a * direction`` for each position a, on train and test data.

    Directions are taken as they are: nothing is normalized or rescaled per filter. Directions with a meaning come from
    `random_directions`, `hessian_directions`, `trajectory_directions` and `directions_through`: pass their
    ``network.flat`` and one of their ``vectors``.

    Args:
        problem: network, evaluated in evaluation mode with its own buffers all along the line; data and loss.
        start: flat parameters ``(p,)``.
        direction: flat direction ``(p,)``.
        positions: the values of a.

    Returns:
        The line; exact on the stated data. Losses that are NaN or infinite are kept, and the status says so.

    Raises:
        ShapeError: start or direction has another length than p.
    """
    started, size = time.perf_counter(), problem.network.size
    for name, vector in (("start", start), ("direction", direction)):
        if vector.shape != (size,):
            raise ShapeError(f"{name} has shape {tuple(vector.shape)}; a flat vector of shape ({size},) was needed.")
    place, steps = problem.at(start), np.array(positions, dtype=np.float64)
    train = AffineSlice(place, direction[None], recalibrate=False).scores(steps[:, None])
    test = (np.full(len(steps), np.nan),) * 2
    if problem.test_inputs is not None:
        test = AffineSlice(place, direction[None], recalibrate=False, test=True).scores(steps[:, None])
    losses = train[0] if problem.test_inputs is None else np.concatenate([train[0], test[0]])
    return LossLine(
        position=steps,
        train_loss=train[0],
        train_error=train[1],
        test_loss=test[0],
        test_error=test[1],
        status=Status.EXACT if np.isfinite(losses).all() else Status.NOT_FINITE,
        method=f"{problem.loss.name} on all data at {len(steps)} positions",
        error=None,
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem),
    )


def scores(problem: Problem) -> tuple[Score, Score]:
    """Train and test score; NaN for test data that are not there."""
    return evaluate(problem), evaluate(problem, data="test") if problem.test_inputs is not None else _NOTHING
