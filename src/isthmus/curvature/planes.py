"""The loss on a plane in parameter space: on a grid, or denser where it changes."""

import math
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.status import Status
from isthmus.curvature.directions import Directions, given_directions
from isthmus.curvature.refinement import Quadtree
from isthmus.model.affine import AffineSlice
from isthmus.model.evaluation import evaluate
from isthmus.model.normalization import has_running_statistics
from isthmus.model.problem import Problem, provenance
from isthmus.results.provenance import Cost
from isthmus.results.surfaces import AdaptiveLossPlane, LossPlane

Normalization = Literal["recalibrate", "keep"]
Data = Literal["train", "test"]
Span = float | tuple[float, float] | Sequence[tuple[float, float]]


def loss_plane(
    problem: Problem,
    directions: Directions | Tensor,
    *,
    points: int = 51,
    span: Span | None = None,
    data: Data = "train",
    bn: Normalization = "recalibrate",
) -> LossPlane:
    """Loss and 0-1 error at ``w_0 + x d_1 + y d_2`` on an even grid of x and y.

    The first layer's products with the data are linear in the parameters: they are computed once, not at every point.

    Args:
        problem: data, loss and architecture.
        directions: from `random_directions`, `hessian_directions`, `trajectory_directions`, `directions_through` or
            `given_directions`; or two flat vectors ``(2, p)``, taken as they are, through the problem's own parameters.
        points: along each axis.
        span: intervals of x and y; one ``(low, high)`` or one half-width for both. By default what the directions suggest.
        data: which data are evaluated.
        bn: with BatchNorm, whether its running statistics are measured anew at every point, the origin included (over the
            training inputs), or those of the origin are kept, under which most of the plane is a network that nobody
            would use.

    Returns:
        The plane. Losses that are NaN or infinite are kept and counted; the status says when there are any.

    Raises:
        InputError: not two directions, fewer than two points, an empty span, or no test data.
        ShapeError: directions of another network.
    """
    started, directions = time.perf_counter(), _plane(problem, directions)
    if points < 2:
        raise InputError(f"A grid needs at least 2 points along each axis, found {points}.")
    x, y = (np.linspace(low, high, points) for low, high in _spans(directions, span))
    place, slices = _slices(problem, directions, data, bn)
    loss, wrong = slices.scores(np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2))
    return LossPlane(
        x=x,
        y=y,
        loss=loss.reshape(points, points),
        wrong=wrong.reshape(points, points),
        method=f"{points} x {points} grid, {_words(directions, slices, bn)}",
        cost=Cost(seconds=time.perf_counter() - started),
        **_frame(place, directions, data, loss),
    )


def adaptive_loss_plane(
    problem: Problem,
    directions: Directions | Tensor,
    *,
    samples: int = 441,
    start: int = 9,
    span: Span | None = None,
    data: Data = "train",
    bn: Normalization = "recalibrate",
) -> AdaptiveLossPlane:
    """Like `loss_plane`, with the points where the loss changes most: steep walls, barriers, the edge of what is finite.

    Cells of a coarse grid are split in four while samples last, first those whose corners differ most (in the logarithm of
    the loss where all losses are positive) or whose parent's middle was least expected from its corners; cells with both
    finite and other corners come first of all, down to a 64th of a first cell.

    Args:
        problem: data, loss and architecture.
        directions: as for `loss_plane`.
        samples: how many evaluations may be spent; the last round may leave some over.
        start: points of the first grid along each axis.
        span: as for `loss_plane`.
        data: which data are evaluated.
        bn: as for `loss_plane`.

    Returns:
        The samples, scattered.

    Raises:
        InputError: as for `loss_plane`, or fewer samples than the first grid takes.
        ShapeError: directions of another network.
    """
    started, directions = time.perf_counter(), _plane(problem, directions)
    if start < 2 or samples < start**2:
        raise InputError(f"The first grid takes {start} x {start} points, and {samples} samples are allowed; start >= 2 fits.")
    place, slices = _slices(problem, directions, data, bn)
    tree = Quadtree(_spans(directions, span), start)
    asked = tree.first()
    while len(asked):
        tree.tell(*slices.scores(asked))
        asked = tree.ask(samples - tree.count)
    found = tree.samples()
    return AdaptiveLossPlane(
        x=found[:, 0],
        y=found[:, 1],
        loss=found[:, 2],
        wrong=found[:, 3],
        generation=found[:, 4].astype(np.int64),
        method=f"{len(found)} points in {tree.generation + 1} rounds from {start} x {start}, {_words(directions, slices, bn)}",
        cost=Cost(seconds=time.perf_counter() - started),
        **_frame(place, directions, data, found[:, 2]),
    )


def _plane(problem: Problem, directions: Directions | Tensor) -> Directions:
    found = given_directions(problem, directions) if isinstance(directions, Tensor) else directions
    if len(found.vectors) != 2:
        raise InputError(f"A plane needs two directions, found {len(found.vectors)}. For a line use loss_along_line.")
    return found


def _spans(directions: Directions, span: Span | None) -> list[tuple[float, float]]:
    if span is None:
        return list(directions.spans)
    if isinstance(span, int | float):
        pairs = [(-float(span), float(span))] * 2
    elif len(span) == 2 and all(isinstance(end, int | float) for end in span):
        pairs = [(float(span[0]), float(span[1]))] * 2  # pyright: ignore[reportArgumentType]
    else:
        pairs = [(float(low), float(high)) for low, high in span]  # pyright: ignore[reportGeneralTypeIssues]
    if len(pairs) != 2 or not all(low < high and math.isfinite(high - low) for low, high in pairs):
        raise InputError(f"span={span!r}: a positive half-width, one (low, high) or two of them with low < high are needed.")
    return pairs


def _slices(problem: Problem, directions: Directions, data: Data, bn: Normalization) -> tuple[Problem, AffineSlice]:
    if bn not in ("recalibrate", "keep"):
        raise InputError(f"bn={bn!r} is unknown; write 'recalibrate' or 'keep'.")
    if data not in ("train", "test"):
        raise InputError(f"data={data!r} is unknown; write 'train' or 'test'.")
    place = problem.at(directions.network.parameters, directions.network.buffers).eval()
    return place, AffineSlice(place, directions.vectors, recalibrate=bn == "recalibrate", test=data == "test")


def _frame(place: Problem, directions: Directions, data: Data, losses: np.ndarray) -> dict[str, Any]:
    first, second = directions.vectors.double()
    here, odd = evaluate(place, data=data), int((~np.isfinite(losses)).sum())
    return {
        "landmarks": directions.landmarks,
        "path": directions.path,
        "off": directions.off,
        "landmark_names": list(directions.landmark_names),
        "axis_names": list(directions.names),
        "lengths": (float(first.norm()), float(second.norm())),
        "cosine": float(first @ second / (first.norm() * second.norm())),
        "loss_name": place.loss.name,
        "data": data,
        "origin": (here.loss, here.error),
        "not_finite": odd,
        "status": Status.NOT_FINITE if odd else Status.EXACT,
        "error": None,
        "provenance": provenance(place),
    }


def _words(directions: Directions, slices: AffineSlice, bn: Normalization) -> str:
    words = directions.method
    if has_running_statistics(directions.network):
        words += ", BatchNorm statistics: " + ("recalibrate" if bn == "recalibrate" else "those of the origin")
    if slices.served:
        words += f"; computed once along the directions: products of {', '.join(slices.served)}"
    return words
