"""The one-dimensional data, and critical points whose numbers were found by other programs."""

import torch
from torch import Tensor, nn

from isthmus.model.data import three_steps
from isthmus.model.problem import Problem
from isthmus.model.zoo import mlp

#: rows (w, b, a) of critical points and their losses
WIDTH_1 = [(0.08953659128479, 0.0, 3.746951027107)]
WIDTH_1_LOSS = 0.10902274209018
WIDTH_2 = [(0.154989008, -0.417624516, 2.341854274), (1.302004769, 9.335645080, 0.788587731)]
WIDTH_2_LOSS = 0.06979151210179
ZERO_LOSS = 5.145330099148
SADDLE_2_LOSS = 0.08963907987713


def flat(units: list[tuple[float, float, float]]) -> Tensor:
    rows = torch.tensor(units, dtype=torch.float64)
    return rows.T.reshape(-1)


def steps_problem(width: int, point: Tensor | None = None) -> Problem:
    data = three_steps()
    net = mlp([1, width, 1], "tanh", output_bias=False).double()
    problem = Problem(net, data.train_inputs, data.train_targets, nn.MSELoss())
    return problem if point is None else problem.at(point)
