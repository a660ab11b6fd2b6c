"""Loss and error at every checkpoint."""

import math
import time

import numpy as np
from scipy import stats

from isthmus._core.status import Status
from isthmus.model.evaluation import Score, evaluate
from isthmus.model.problem import Problem, provenance
from isthmus.results.provenance import Cost
from isthmus.results.training import TrainingHistory
from isthmus.studies.stage import Context, Stage, always
from isthmus.training.trajectory import Trajectory

_NOTHING = Score(loss=math.nan, error=math.nan)


def training_history(trajectory: Trajectory) -> TrainingHistory:
    """Loss and 0-1 error of every checkpoint over all training and test data, in evaluation mode.

    Args:
        trajectory: the run.

    Returns:
        The history; the interval is Wilson's 95 % interval of the final test error over test examples.
    """
    started = time.perf_counter()
    problem = trajectory.problem
    train, test = [], []
    for step in trajectory.steps:
        there = trajectory.problem_at(step)
        train.append(evaluate(there))
        test.append(evaluate(there, data="test") if there.test_inputs is not None else _NOTHING)
    steps = np.array(trajectory.steps)
    return TrainingHistory(
        step=steps,
        epoch=steps / trajectory.steps_per_epoch,
        train_loss=np.array([score.loss for score in train]),
        test_loss=np.array([score.loss for score in test]),
        train_error=np.array([score.error for score in train]),
        test_error=np.array([score.error for score in test]),
        learning_rate=np.array([option(trajectory, step, "lr") for step in trajectory.steps]),
        loss_name=problem.loss.name,
        test_error_interval=_wilson(test[-1].error, problem),
        status=Status.EXACT,
        method="full data, evaluation mode, sums over chunks in float64",
        error="test error: 95 % Wilson interval over test examples; losses are exact on the stated data",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(trajectory.problem_at(trajectory.steps[-1])),
    )


def option(trajectory: Trajectory, step: int, name: str) -> float:
    """An option of the optimizer's first parameter group at a checkpoint; NaN when it has none."""
    groups = trajectory.checkpoint(step).param_groups
    value = groups[0].get(name, math.nan) if groups else math.nan
    return float(value) if isinstance(value, int | float) else math.nan


def _wilson(error: float, problem: Problem) -> tuple[float, float]:
    if math.isnan(error) or problem.test_targets is None:
        return math.nan, math.nan
    count = problem.test_targets.numel()
    interval = stats.binomtest(round(error * count), count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _run(context: Context) -> None:
    context.progress("training", "loss and error at every checkpoint", 0, 1)
    context.run.save("training/history", training_history(context.trajectory))


HISTORY = Stage("history", ("training/history",), always, _run)
