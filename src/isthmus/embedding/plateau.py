"""Which narrower network's critical point a training run is sitting at, and when it will leave."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature.polish import Polished, polish
from isthmus.curvature.spectrum import count_inertia, dense_hessian
from isthmus.embedding.condensation import Condensed, condensed
from isthmus.embedding.unit_curvature import unit_curvature
from isthmus.embedding.vectors import unit_vectors
from isthmus.model.derivatives import loss_value
from isthmus.model.problem import Problem, provenance
from isthmus.model.resizing import unit_groups
from isthmus.results.embedding import PlateauTimeline
from isthmus.results.provenance import Cost
from isthmus.training.trajectory import Trajectory

_NEAR = 0.05
_LARGEST = 400
_STEPS = 60
_NONE = (-1, -1, -1)


@dataclass(frozen=True)
class _Match:
    """What was found at one checkpoint."""

    loss: float
    joined: tuple[int, ...]
    reason: str
    level: float = math.nan
    distance: float = math.nan
    parameter_distance: float = math.nan
    rate: float = math.nan
    inertia: tuple[int, int, int] = _NONE
    near: bool = False
    silent: bool = False


def identify_plateau(
    run: Trajectory | Problem,
    *,
    steps: Sequence[int] | None = None,
    cosine: float = 0.9,
    largest: int = _LARGEST,
    seed: Seed | int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> PlateauTimeline:
    """Reduce, refit, polish, embed back and compare: is the run near a narrower network's critical point?

    At each checkpoint units that point the same way are joined, the narrow network is refitted and polished to a critical
    point, and that is judged by what it does, never by its loss alone: the run is near it when both the signed loss gap
    and the mean squared output distance are within 5 % of its loss. Polishing alone proves nothing, since it returns the
    same optimum long after the run has left it. Leaving a plateau takes about ``1 / (lr |rate|)`` steps per e-fold, rate
    being the lowest eigenvalue that equal copies have.

    Args:
        run: a trajectory, or a problem at one point.
        steps: checkpoints to look at; all by default.
        cosine: of two units' own parameters that count as one direction.
        largest: parameters of a narrow network that is still polished.
        seed: names random starts of eigensolvers.
        tell: told (done, total).

    Returns:
        One row per checkpoint; where there is no answer the reason says why ("none" is an answer).

    Raises:
        InputError: a step without checkpoint.
        UnsupportedLayer: the network cannot be traced.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    chosen = [0] if isinstance(run, Problem) else list(run.steps if steps is None else steps)
    if not chosen:
        raise InputError("No checkpoint to look at: the list of steps is empty.")
    problems = (run if isinstance(run, Problem) else run.problem_at(step) for step in chosen)
    found, last = [], None
    for index, problem in enumerate(problems):
        last = problem.eval().to(torch.float64)
        found.append(_match(last, cosine, largest, seed))
        if tell is not None:
            tell(index + 1, len(chosen))
    assert last is not None  # there is at least one step
    groups = [g for g in unit_groups(last) if g.obstacle is None and g.kind == "dense neuron"]
    near = np.array([m.near for m in found], dtype=bool)
    rates, learning = np.array([m.rate for m in found]), [_learning_rate(run, step) for step in chosen]
    with np.errstate(divide="ignore", invalid="ignore"):
        leave = np.where(rates < 0, 1 / (np.array(learning) * np.abs(rates)), np.nan)
    return PlateauTimeline(
        step=np.array(chosen),
        loss=np.array([m.loss for m in found]),
        joined=np.array([m.joined for m in found], dtype=np.int64).reshape(len(found), len(groups)),
        level=np.array([m.level for m in found]),
        gap=np.array([m.loss - m.level for m in found]),
        distance=np.array([m.distance for m in found]),
        parameter_distance=np.array([m.parameter_distance for m in found]),
        rate=rates,
        exit_steps=leave,
        inertia=np.array([m.inertia for m in found], dtype=np.int64),
        near=near,
        layers=[g.name for g in groups],
        widths=[g.size for g in groups],
        reasons=[m.reason for m in found],
        nearest=_nearest(found),
        loss_name=last.loss.name,
        status=Status.EXACT,
        method=f"units joined at cosine {cosine:g}, refitted and polished up to {largest} parameters; near within 5 % of the level",
        error="distances are exact on the stated data; a plateau of a function that the refit does not reach is missed",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(last, seed),
    )


def _nearest(found: list[_Match]) -> int:
    """The near checkpoint with the smallest output distance; the zero function only when there is no other."""
    near = [(m.silent, m.distance, index) for index, m in enumerate(found) if m.near]
    return min(near)[2] if near else -1


def _match(problem: Problem, cosine: float, largest: int, seed: Seed) -> _Match:
    small, loss = condensed(problem, cosine=cosine), loss_value(problem)
    joined = tuple(layer.count for layer in small.layers)
    if not joined:
        return _Match(loss, joined, "none: no layer of exchangeable dense units")
    size = small.problem.network.size
    if size > largest:
        return _Match(loss, joined, f"none: with its units joined the network still has {size} parameters (limit {largest})")
    outputs = problem.network(problem.inputs)
    reached = [polish(small.problem, toward=toward, steps=_STEPS) for toward in ("minimum", "critical")]
    reached = [there for there in reached if there.status is Status.CONVERGED]
    if not reached:
        return _Match(loss, joined, "none: the joined network did not settle at a critical point")
    distances = [float((there.problem.network(problem.inputs) - outputs).square().mean().sqrt()) for there in reached]
    best, distance = min(zip(reached, distances, strict=True), key=lambda pair: pair[1])
    return _judged(problem, small, best, distance, joined, loss, seed)


def _judged(
    problem: Problem, small: Condensed, best: Polished, distance: float, joined: tuple[int, ...], loss: float, seed: Seed
) -> _Match:
    narrow = best.problem
    inertia = count_inertia(torch.linalg.eigvalsh(dense_hessian(narrow)).numpy()).inertia
    rate = float(unit_curvature(narrow, batches=1, seed=seed).escape.min())
    line = _NEAR * max(best.loss, 1e-6 * _outputs_scale(problem) ** 2)
    near = abs(loss - best.loss) <= line and distance**2 <= line
    silent = float(narrow.network(narrow.inputs).abs().max()) <= 1e-6 * _outputs_scale(problem)
    width = "0 (the zero function)" if silent else "-".join(map(str, joined))
    where = f"width {width}, inertia {inertia}, loss {best.loss:.6g}"
    if near:
        reason = f"near the critical point of {where}"
    else:
        reason = f"none: the nearest found, {where}, is off by {loss - best.loss:+.3g} in loss and {distance:.3g} in outputs"
    return _Match(
        loss=loss,
        joined=joined,
        reason=reason,
        level=best.loss,
        distance=distance,
        parameter_distance=_parameter_distance(problem, small, narrow),
        rate=rate,
        inertia=(inertia.negative, inertia.zero, inertia.positive),
        near=near,
        silent=silent,
    )


def _outputs_scale(problem: Problem) -> float:
    """Root mean square of the targets, or of the outputs where targets are labels."""
    reference = problem.targets if problem.targets.is_floating_point() else problem.network(problem.inputs)
    return float(reference.double().square().mean().sqrt().clamp_min(1e-300))


def _parameter_distance(problem: Problem, small: Condensed, narrow: Problem) -> float:
    """To the nearest point whose units copy the narrow ones, weak units being silent; relative to the run's norm."""
    if len(small.layers) != 1:
        return math.nan
    (joined,) = small.layers
    wide_group = next(g for g in unit_groups(problem) if g.name == joined.layer)
    narrow_group = next(g for g in unit_groups(narrow) if g.name == joined.layer)
    own, out = unit_vectors(problem, wide_group)
    target_own, target_out = unit_vectors(narrow, narrow_group)
    square = 0.0
    for direction in range(joined.count):
        mine = joined.group == direction
        signs = joined.sign[mine][:, None]
        square += float((signs * own[mine] - target_own[direction]).square().sum())
        square += float(((signs * out[mine]).sum(0) - target_out[direction]).square().sum()) / int(mine.sum())
    square += float(out[joined.group < 0].square().sum())
    return math.sqrt(square) / max(float(problem.network.flat.norm()), 1e-300)


def _learning_rate(run: Trajectory | Problem, step: int) -> float:
    if isinstance(run, Problem):
        return math.nan
    groups = run.checkpoint(step).param_groups
    value = groups[0].get("lr", math.nan) if groups else math.nan
    return float(value) if isinstance(value, int | float) else math.nan
