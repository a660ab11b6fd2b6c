"""Loss and 0-1 error over a whole data set."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus.engine.memory import chunks
from isthmus.model.problem import Problem

_ROWS = 8192


@dataclass(frozen=True)
class Score:
    """Loss as given and share of wrong argmax labels, ignored ones left out (NaN when the targets are not class labels)."""

    loss: float
    error: float


def evaluate(problem: Problem, *, data: Literal["train", "test"] = "train") -> Score:
    """Loss and error of the network, in its present mode, over all training or test data.

    Args:
        problem: network, data and loss.
        data: which data.

    Returns:
        The score; sums over chunks are accumulated in float64.

    Raises:
        InputError: test data were asked for and the problem has none.
    """
    inputs, targets = _data(problem, data)
    network, total, wrong, counted = problem.network, 0.0, 0, 0
    with torch.no_grad():
        for rows in chunks(len(inputs), _ROWS):
            outputs = network.forward(network.parameters, inputs[rows])
            total += float(problem.loss.total(outputs, targets[rows]))
            if problem.classification:
                counts = problem.loss.counted(targets[rows])
                wrong += int(((outputs.argmax(dim=1) != targets[rows]) & counts).sum())
                counted += int(counts.sum())
    error = wrong / counted if counted else float("nan")
    return Score(loss=total / problem.loss.normalizer(targets), error=error)


def _data(problem: Problem, data: str) -> tuple[Tensor, Tensor]:
    if data == "train":
        return problem.inputs, problem.targets
    if problem.test_inputs is None or problem.test_targets is None:
        raise InputError("The problem has no test data. Pass test=(inputs, targets) to Problem.")
    return problem.test_inputs, problem.test_targets
