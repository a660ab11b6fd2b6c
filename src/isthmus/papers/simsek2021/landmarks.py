"""Critical points of students narrower than the authors' teacher, polished from four digits."""

import torch

from isthmus.curvature.polish import polish
from isthmus.model.problem import Problem
from isthmus.papers.simsek2021.students import grid, student_problem, teacher

#: width and loss of each point, then its units (w_1, w_2, a)
LANDMARKS: dict[str, tuple[float, tuple[tuple[float, float, float], ...]]] = {
    "1": (1.02700702, ((-0.000395, -0.026203, 5.326629),)),
    "2a": (0.28373862, ((-0.031515, -0.351142, 3.012825), (0.076355, 0.718248, 1.451841))),
    "2b": (0.29861404, ((-0.115769, -1.036955, 1.144278), (0.019761, 0.128326, 3.378354))),
    "3": (0.01235260, ((-0.552470, 0.538402, 0.946208), (-0.050715, -0.569193, 2.062197), (0.632690, 0.518955, 0.988175))),
}


def landmark(name: str, spacing: float = 0.25) -> Problem:
    """A critical point of positive loss, with its gradient at rounding level, on the authors' grid of inputs.

    Args:
        name: a key of `LANDMARKS`; its first letter is the width.
        spacing: of the grid; other than 0.25 the point moves a little with the data.
    """
    units = torch.tensor(LANDMARKS[name][1], dtype=torch.float64)
    inputs = grid(spacing)
    return polish(student_problem(units.T.reshape(-1), inputs, teacher(inputs))).problem
