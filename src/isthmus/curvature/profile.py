"""Losses and errors along a path between two networks, denser around the highest points."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus.curvature.lines import scores
from isthmus.model.normalization import has_running_statistics, recalibrated
from isthmus.model.problem import Problem

Normalization = Literal["recalibrate", "interpolate"]
_QUANTITIES = ("train_loss", "train_error", "test_loss", "test_error")
_REFINEMENTS = 3


@dataclass(frozen=True)
class Profile:
    """What was found along a path.

    Attributes:
        position: in [0, 1], ``(t,)``.
        values: ``(quantity, t)``.
        quantities: names of the rows that exist.
    """

    position: np.ndarray
    values: np.ndarray
    quantities: list[str]

    @property
    def mean(self) -> np.ndarray:
        """Maxima over the mean of the ends, ``(quantity,)``."""
        return self.values.max(axis=1) - (self.values[:, 0] + self.values[:, -1]) / 2

    @property
    def chord(self) -> np.ndarray:
        """Maxima over the straight interpolation of the ends' values, ``(quantity,)``."""
        return _above_chord(self.position, self.values).max(axis=1)


def profile(
    ends: tuple[Problem, Problem], path: Callable[[float], Tensor], *, points: int, refine: bool, bn: Normalization
) -> Profile:
    """Train and test loss and error along a path of parameters.

    Args:
        ends: the problem at positions 0 and 1, with the buffers that belong there.
        path: position to flat parameters.
        points: even grid on [0, 1], ends included.
        refine: add points around the highest one of each quantity, three times halving the spacing.
        bn: with BatchNorm, whether its running statistics are measured anew at each inner point, or interpolated.

    Raises:
        InputError: fewer than two points.
    """
    if points < 2:
        raise InputError(f"A line needs at least 2 points, found {points}.")

    def at(position: float) -> np.ndarray:
        train, test = scores(_place(ends, path, position, bn))
        return np.array([train.loss, train.error, test.loss, test.error])

    table = {float(a): at(float(a)) for a in np.linspace(0, 1, points)}
    for _ in range(_REFINEMENTS if refine else 0):
        table |= {a: at(a) for a in _midpoints(table)}
    position = np.array(sorted(table))
    values = np.stack([table[a] for a in position], axis=1)
    present = [True, ends[0].classification, ends[0].test_inputs is not None]
    present.append(present[1] and present[2])
    return Profile(position, values[present], [name for name, there in zip(_QUANTITIES, present, strict=True) if there])


def _place(ends: tuple[Problem, Problem], path: Callable[[float], Tensor], position: float, bn: Normalization) -> Problem:
    if position in (0.0, 1.0):
        return ends[int(position)]
    low, high = (end.network.buffers for end in ends)
    place = ends[0].at(path(position), {name: _between(low[name], high[name], position) for name in low})
    return recalibrated(place) if bn == "recalibrate" and has_running_statistics(place.network) else place


def _between(low: Tensor, high: Tensor, position: float) -> Tensor:
    return torch.lerp(low, high, position) if low.is_floating_point() else low


def _above_chord(position: np.ndarray, values: np.ndarray) -> np.ndarray:
    return values - (values[:, :1] + position * (values[:, -1:] - values[:, :1]))


def _midpoints(table: dict[float, np.ndarray]) -> list[float]:
    """Halfway points on both sides of the highest point of each quantity, and of its height above the chord."""
    position = np.array(sorted(table))
    values = np.stack([table[a] for a in position], axis=1)
    middles = set()
    for row in [*values, *_above_chord(position, values)]:
        if np.isnan(row).all() or row.max() <= max(row[0], row[-1]):
            continue
        top = int(row.argmax())
        middles |= {float((position[top] + position[i]) / 2) for i in (top - 1, top + 1) if 0 <= i < len(position)}
    return sorted(middles)
