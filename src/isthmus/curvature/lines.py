"""The loss along a straight line in parameter space."""

import math
import time
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from isthmus._core.errors import ShapeError
from isthmus._core.status import Status
from isthmus.model.evaluation import Score, evaluate
from isthmus.model.problem import Problem, provenance
from isthmus.results.curvature import LossLine
from isthmus.results.provenance import Cost

_NOTHING = Score(loss=math.nan, error=math.nan)


def loss_along_line(problem: Problem, start: Tensor, direction: Tensor, positions: Sequence[float] | np.ndarray) -> LossLine:
    """Loss and 0-1 error at ``w = start + a * direction`` for each position a, on train and test data.

    Directions are taken as they are: nothing is normalized or rescaled per filter.

    Args:
        problem: network (its buffers are kept along the line), data and loss.
        start: flat parameters ``(p,)``.
        direction: flat direction ``(p,)``.
        positions: the values of a.

    Returns:
        The line; exact on the stated data.

    Raises:
        ShapeError: start or direction has another length than p.
    """
    started, size = time.perf_counter(), problem.network.size
    for name, vector in (("start", start), ("direction", direction)):
        if vector.shape != (size,):
            raise ShapeError(f"{name} has shape {tuple(vector.shape)}; a flat vector of shape ({size},) was needed.")
    places = [problem.at(start + float(a) * direction) for a in positions]
    train, test = zip(*(scores(place) for place in places), strict=True)
    return LossLine(
        position=np.array(positions, dtype=np.float64),
        train_loss=np.array([score.loss for score in train]),
        train_error=np.array([score.error for score in train]),
        test_loss=np.array([score.loss for score in test]),
        test_error=np.array([score.error for score in test]),
        status=Status.EXACT,
        method=f"{problem.loss.name} on all data at {len(places)} positions",
        error=None,
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem),
    )


def scores(problem: Problem) -> tuple[Score, Score]:
    """Train and test score; NaN for test data that are not there."""
    return evaluate(problem), evaluate(problem, data="test") if problem.test_inputs is not None else _NOTHING
