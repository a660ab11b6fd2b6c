"""The error barrier between two networks of one architecture."""

import time
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus._core.status import Status
from isthmus.curvature.lines import scores
from isthmus.model.network import Network
from isthmus.model.normalization import has_running_statistics, recalibrated
from isthmus.model.problem import Problem, provenance
from isthmus.results.curvature import ErrorBarrier
from isthmus.results.provenance import Cost

End = Mapping[str, Tensor] | Tensor | nn.Module | Network | Problem
Normalization = Literal["recalibrate", "interpolate"]
_REFINEMENTS = 3


def error_barrier(
    problem: Problem,
    first: End,
    second: End,
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
        over the grid, hence a lower bound on the maximum over the line.

    Raises:
        InputError: fewer than two points.
        ShapeError: an end belongs to another network.
    """
    if points < 2:
        raise InputError(f"A line needs at least 2 points, found {points}.")
    started = time.perf_counter()
    problem = problem.eval()
    ends = _state(problem, second), _state(problem, first)
    table = {float(a): _values(problem, ends, float(a), bn) for a in np.linspace(0, 1, points)}
    for _ in range(_REFINEMENTS if refine else 0):
        for alpha in _midpoints(table):
            table[alpha] = _values(problem, ends, alpha, bn)
    alphas = np.array(sorted(table))
    values = np.stack([table[a] for a in alphas], axis=1)
    present = ~np.isnan(values).all(axis=1)
    names = ["train_loss", "train_error", "test_loss", "test_error"]
    values = values[present]
    chord = values[:, :1] + alphas * (values[:, -1:] - values[:, :1])
    return ErrorBarrier(
        alpha=alphas,
        values=values,
        mean=values.max(axis=1) - (values[:, 0] + values[:, -1]) / 2,
        chord=(values - chord).max(axis=1),
        quantities=[names[row] for row in np.flatnonzero(present)],
        status=Status.EXACT,
        method=f"{len(alphas)} points on the line"
        + (f", BatchNorm statistics: {bn}" if has_running_statistics(problem.network) else ""),
        error="maximum over the grid: a lower bound on the maximum over the line",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem),
    )


def _state(problem: Problem, end: End) -> Problem:
    if isinstance(end, nn.Module | Network | Problem):
        network = Network.of(end)
        return problem.at(network.parameters, network.buffers)
    if isinstance(end, Tensor):
        return problem.at(end)
    own = problem.network
    parameters = {k: v for k, v in end.items() if k not in own.buffers}
    return problem.at(parameters, {**own.buffers, **{k: v for k, v in end.items() if k in own.buffers}})


def _values(problem: Problem, ends: tuple[Problem, Problem], alpha: float, bn: Normalization) -> np.ndarray:
    if alpha in (0.0, 1.0):
        place = ends[int(alpha)]
    else:
        (low, low_buffers), (high, high_buffers) = ((e.network.flat, e.network.buffers) for e in ends)
        buffers = {k: _between(low_buffers[k], high_buffers[k], alpha) for k in low_buffers}
        place = problem.at(low + alpha * (high - low), buffers)
        if bn == "recalibrate" and has_running_statistics(place.network):
            place = recalibrated(place)
    train, test = scores(place)
    return np.array([train.loss, train.error, test.loss, test.error])


def _between(low: Tensor, high: Tensor, alpha: float) -> Tensor:
    return torch.lerp(low, high, alpha) if low.is_floating_point() else low


def _midpoints(table: dict[float, np.ndarray]) -> list[float]:
    """Halfway points on both sides of the highest point of each quantity above its chord."""
    alphas = np.array(sorted(table))
    values = np.stack([table[a] for a in alphas], axis=1)
    above = values - (values[:, :1] + alphas * (values[:, -1:] - values[:, :1]))
    middles = set()
    for row in [*values, *above]:
        if np.isnan(row).all() or row.max() <= max(row[0], row[-1]):
            continue
        top = int(row.argmax())
        middles |= {float((alphas[top] + alphas[i]) / 2) for i in (top - 1, top + 1) if 0 <= i < len(alphas)}
    return sorted(middles)
