"""A multi-start search for the critical points of two-layer networks, width by width."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature.polish import Toward, polish_points
from isthmus.curvature.spectrum import count_inertia
from isthmus.embedding.points import Point, TwoLayer
from isthmus.linops.random import generator
from isthmus.model.populations import Population
from isthmus.model.problem import Problem, provenance
from isthmus.results.embedding import Census
from isthmus.results.provenance import Cost

STARTS = {1: 400, 2: 1500, 3: 3000}
_MORE = 4000
_BOUND = 60.0
_KEPT = 1e-12
_REFERENCE_SPREAD = 8.834
_REFERENCE_TARGET = 2.268


@dataclass
class _Class:
    """One class of critical points at one width."""

    layer: TwoLayer
    point: Tensor
    parts: Point
    loss: float
    gradient: float
    hits: int = 1


def census(
    problem: Problem, widths: Sequence[int] = (1, 2, 3), *, starts: Sequence[int] | None = None, seed: Seed | int = 0
) -> Census:
    """Critical points of a two-layer network at several widths, modulo symmetry, with their inclusions.

    Half of the searches descend (Levenberg-Marquardt or saddle-free Newton, then Newton), half go to the nearest critical
    point (Newton and Levenberg-Marquardt on the gradient), all of them batched. Points are kept when ``|g| < 1e-12``
    and the parameters stay within a ball of radius 60, and are joined modulo the order of units, their sign for odd
    activations, the shares of clones and the own parameters of silent units. Every point's core, what is left without
    clones and silent units, is looked up among the points of its own width. A search proves presence, never absence.

    Args:
        problem: network Linear, activation, Linear, data and loss; its own width does not matter.
        widths: hidden widths to search, ascending.
        starts: searches for each; 400, 1500, 3000 for widths 1, 2, 3 and 4000 beyond by default.
        seed: names the starts.

    Returns:
        The classes, by width and loss.

    Raises:
        HypothesisError: the network has another shape.
        InputError: widths or starts out of range.
    """
    counts = [STARTS.get(w, _MORE) for w in widths] if starts is None else list(starts)
    if not widths or min(widths) < 1 or list(widths) != sorted(set(widths)) or len(counts) != len(widths) or min(counts) < 1:
        raise InputError(
            f"Ascending widths with one count of starts each are needed, found widths {list(widths)}, starts {counts}."
        )
    started, problem, seed = time.perf_counter(), problem.eval().to(torch.float64), as_seed(seed)
    base, found, converged = TwoLayer(problem), [], []
    for width, count in zip(widths, counts, strict=True):
        layer = base.at_width(width)
        points, losses, slopes = _searched(layer, count, seed.child("width", width))
        converged.append(len(points))
        found += _classes(layer, points, losses, slopes)
    return _record(problem, found, list(widths), counts, converged, seed, time.perf_counter() - started)


def _searched(layer: TwoLayer, count: int, seed: Seed) -> tuple[Tensor, Tensor, Tensor]:
    starts = _starts(layer, count, seed)
    halves: tuple[tuple[Tensor, Toward], ...] = ((starts[: count // 2], "critical"), (starts[count // 2 :], "minimum"))
    ends = [
        polish_points(layer.problem, half, toward=toward, tolerance=_KEPT, steps=60, bound=_BOUND)
        for half, toward in halves
        if len(half)
    ]
    points, losses = torch.cat([e.points for e in ends]), torch.cat([e.losses for e in ends])
    slopes = torch.cat([e.gradient_norms for e in ends])
    keep = (slopes < _KEPT) & (points.norm(dim=1) < _BOUND)
    return points[keep], losses[keep], slopes[keep]


def _starts(layer: TwoLayer, count: int, seed: Seed) -> Tensor:
    """``|w| = exp U(-3, .7)``, steps centered on points of the data's box, amplitudes 2.5 N(0, 1), in the data's own units."""
    draw, problem = generator(seed.child("starts")), layer.problem
    inputs = problem.inputs.reshape(problem.samples, -1)
    spread, height = inputs.std(), problem.targets.double().std().clamp_min(1e-12)
    size, m = inputs.shape[1], layer.width

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=draw, dtype=torch.float64)

    direction = torch.randn(count, m, size, generator=draw, dtype=torch.float64)
    direction = direction / direction.norm(dim=2, keepdim=True)
    length = torch.exp(-3 + 3.7 * uniform(count, m, 1)) * _REFERENCE_SPREAD / spread
    middle, half = (inputs.amax(0) + inputs.amin(0)) / 2, (inputs.amax(0) - inputs.amin(0)) / 2
    center = middle + (2 * uniform(count, m, size) - 1) * half * 13 / 15
    weight = direction * length
    own = torch.cat([weight, -(weight * center).sum(2, keepdim=True)], dim=2) if layer.biased else weight
    out = torch.randn(count, m, layer.outgoing.shape[1], generator=draw, dtype=torch.float64) * 2.5 * height / _REFERENCE_TARGET
    points = torch.zeros(count, problem.network.size, dtype=torch.float64)
    points[:, layer.own], points[:, layer.outgoing] = own, out
    return points


def _classes(layer: TwoLayer, points: Tensor, losses: Tensor, slopes: Tensor) -> list[_Class]:
    """Join points that agree in loss, composition and core; the one of smallest gradient stands for its class."""
    found: list[_Class] = []
    for row in losses.argsort().tolist():
        point, loss, slope = points[row], float(losses[row]), float(slopes[row])
        parts = layer.analyzed(point)
        near = (c for c in reversed(found) if abs(c.loss - loss) <= 1e-9 * max(1.0, loss))
        known = next((c for c in near if c.parts.composition == parts.composition and c.parts.same_core(parts)), None)
        if known is None:
            found.append(_Class(layer, point, parts, loss, slope))
            continue
        known.hits += 1
        if slope < known.gradient:
            known.point, known.parts, known.gradient = point, parts, slope
    return found


def _parent(mine: _Class, found: list[_Class]) -> int:
    width = len(mine.parts.core)
    if width == mine.layer.width:
        return -1
    return next(
        (
            i
            for i, c in enumerate(found)
            if c.layer.width == width and len(c.parts.core) == width and c.parts.same_core(mine.parts)
        ),
        -1,
    )


def _core_gradient(mine: _Class) -> float:
    width = len(mine.parts.core)
    if width in (0, mine.layer.width):
        return float("nan")
    narrow = mine.layer.at_width(width)
    point = narrow.flat(mine.parts.core, mine.parts.rest)
    return float(Population(narrow.problem).gradients(point[None])[1].norm())


def _distance(mine: _Class, parents: list[_Class], index: int) -> float:
    if index < 0:
        return float("nan")
    other = parents[index]
    one, two = (Population(c.layer.problem).outputs(c.point[None]) for c in (mine, other))
    return float((one - two).abs().max())


def _record(
    problem: Problem, found: list[_Class], widths: list[int], starts: list[int], converged: list[int], seed: Seed, seconds: float
) -> Census:
    largest = max((len(c.point) for c in found), default=0)
    padded = np.full((len(found), largest), np.nan)
    counts = []
    for row, item in enumerate(found):
        padded[row, : len(item.point)] = item.point.numpy()
        hessian = Population(item.layer.problem).hessians(item.point[None])[2][0]
        counts.append(count_inertia(torch.linalg.eigvalsh(hessian).numpy()))
    parents = [_parent(item, found) for item in found]
    spread = float(problem.inputs.reshape(problem.samples, -1).std())
    steep = [float(c.point[c.layer.own][:, : -1 if c.layer.biased else None].norm(dim=1).max()) * spread for c in found]
    return Census(
        width=np.array([c.layer.width for c in found], dtype=np.int64),
        loss=np.array([c.loss for c in found]),
        inertia=np.array([[n.inertia.negative, n.inertia.zero, n.inertia.positive] for n in counts], dtype=np.int64).reshape(
            -1, 3
        ),
        resolved=np.array([n.resolved for n in counts], dtype=bool),
        gradient=np.array([c.gradient for c in found]),
        hits=np.array([c.hits for c in found], dtype=np.int64),
        core_width=np.array([len(c.parts.core) for c in found], dtype=np.int64),
        parent=np.array(parents, dtype=np.int64),
        core_gradient=np.array([_core_gradient(c) for c in found]),
        steep=np.array(steep),
        points=padded,
        output_range=np.array([_distance(c, found, p) for c, p in zip(found, parents, strict=True)]),
        kinds=[", ".join(f"{n} {name}" for name, n in Counter(c.parts.composition).items()) for c in found],
        widths=widths,
        starts=starts,
        converged=converged,
        loss_name=problem.loss.name,
        status=Status.EXACT,
        method="batched multi-start search, half descending, half to the nearest critical point; |g| < 1e-12, |w| < 60",
        error="every class is a critical point to rounding; classes that no search met are missing",
        cost=Cost(seconds=seconds),
        provenance=provenance(problem, seed),
    )
