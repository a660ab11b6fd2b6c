"""Kernel evolution: children against spawn time, separation of perturbed twins, and what all signals say together."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature import error_barrier
from isthmus.kernel import empirical_ntk, kernel_distance
from isthmus.model.comparison import function_distances, hamming_distance, weight_distance
from isthmus.model.data import OptimizerFactory
from isthmus.model.evaluation import evaluate
from isthmus.model.problem import Problem, provenance
from isthmus.results.evolution import AfterKernel, EvolutionSummary, Spawning
from isthmus.results.kernel import KernelTimeline
from isthmus.results.provenance import Cost
from isthmus.results.training import TrainingHistory
from isthmus.studies.spawning import Vary, spawn
from isthmus.studies.transition import Transition, find_transition
from isthmus.training.loop import Augment
from isthmus.training.trajectory import Trajectory

_BARRIERS = ("train_loss", "train_error", "test_loss", "test_error")
MEASURES = (
    *(f"barrier_{name}" for name in _BARRIERS),
    *(f"barrier_mean_{name}" for name in _BARRIERS),
    *("hamming", "disagreement", "logit_l2", "jensen_shannon", "logit_cosine", "kernel", "weights"),
)
_POINTS = 21
_ROWS = 1000
_ERROR_FLOOR = 0.02


def pair_measures(
    first: Problem, second: Problem, inputs: Tensor, kernel_inputs: Tensor, *, refine: bool = False
) -> tuple[np.ndarray, list[float]]:
    """All `MEASURES` between two networks of one architecture on the same data, in order, NaN where undefined.

    Args:
        first: one end, in evaluation mode.
        second: the other.
        inputs: on which functions and activation patterns are compared.
        kernel_inputs: on which the kernels are compared.
        refine: add points of the line around the highest ones, as in `error_barrier`.

    Returns:
        The measures, and the share of rectifiers that differ in each layer of them.
    """
    found = dict.fromkeys(MEASURES, math.nan)
    state = {**second.network.parameters, **second.network.buffers}
    barrier = error_barrier(first, first, state, points=_POINTS, refine=refine)
    for row, name in enumerate(barrier.quantities):
        found[f"barrier_{name}"], found[f"barrier_mean_{name}"] = float(barrier.chord[row]), float(barrier.mean[row])
    found["hamming"], layers = hamming_distance(first.network, second.network, inputs)
    found |= function_distances(first.network, second.network, inputs)
    kernels = [empirical_ntk(end.to(torch.float64).network, _double(kernel_inputs), verify=False) for end in (first, second)]
    found["kernel"] = kernel_distance(*kernels).cosine_distance
    found["weights"] = weight_distance(first.network, second.network)
    return np.array([found[name] for name in MEASURES]), layers


def spawning(
    trajectory: Trajectory,
    *,
    steps: Sequence[int],
    children: int = 3,
    optimizer: OptimizerFactory | None = None,
    vary: Vary = "order",
    augment: Augment | None = None,
    independent: Sequence[Problem] = (),
    kernel_samples: int = 40,
    refine: bool = False,
    seed: Seed | int = 0,
    store: Path | str | None = None,
    workers: int = 1,
    tell: Callable[[int, int], None] | None = None,
) -> Spawning:
    """Spawn children at several times, and measure how far each pair of them ends apart.

    Args:
        trajectory: the parent, made by `train`.
        steps: checkpoints from which children leave.
        children: of each, at least two.
        optimizer: the factory that trained the parent.
        vary: what differs between children, as in `spawn`.
        augment: as in `spawn`.
        independent: ends of runs from other initializations; their distances to the parent's end set the scale.
        kernel_samples: training inputs on which kernels are compared.
        refine: whether the barriers' 21 even points are refined around the highest ones.
        seed: names the children's streams and the draw of inputs.
        store: folder for the children's checkpoints; a stopped study goes on there.
        workers: processes for the children.
        tell: told (done, total).

    Raises:
        InputError: fewer than two children, or a checkpoint without a step asked for.
    """
    if children < 2:
        raise InputError(f"Children are compared in pairs: at least 2 are needed, found {children}.")
    started, seed = time.perf_counter(), as_seed(seed)
    problem = trajectory.problem.eval()
    inputs = (problem.inputs if problem.test_inputs is None else problem.test_inputs)[:_ROWS]
    points = problem.inputs[torch.from_numpy(seed.child("kernel").numpy().permutation(problem.samples)[:kernel_samples])]
    pairs = list(itertools.combinations(range(children), 2))
    values, layers, scores, diverged = [], [], [], []
    for index, step in enumerate(steps):
        if tell is not None:
            tell(index, len(steps))
        family = spawn(
            trajectory, step, children, optimizer=optimizer, vary=vary, augment=augment, seed=seed, store=store, workers=workers
        )
        ends = [run.problem_at(run.steps[-1]) for run in family.children]
        scores.append(_scores(ends, children))
        diverged.append(family.diverged)
        rows = [pair_measures(ends[a], ends[b], inputs, points, refine=refine) for a, b in pairs if b < len(ends)]
        values.append(_columns([row for row, _ in rows], len(MEASURES), len(pairs)))
        layers.append([row for _, row in rows])
    last = trajectory.problem_at(trajectory.steps[-1])
    others = [last.at(other.network.parameters, other.network.buffers) for other in independent]
    apart = [pair_measures(last, other, inputs, points, refine=refine)[0] for other in others]
    depth = max((len(row) for rows in layers for row in rows), default=0)
    return Spawning(
        spawn_step=np.array(steps),
        spawn_epoch=np.array(steps) / trajectory.steps_per_epoch,
        values=np.stack(values, axis=1),
        layers=np.stack([_columns(rows, depth, len(pairs)) for rows in layers], axis=1),
        independent=np.stack(apart, axis=1) if apart else np.empty((len(MEASURES), 0)),
        child_test_error=np.stack(scores)[:, 0],
        child_test_loss=np.stack(scores)[:, 1],
        diverged=np.array(diverged),
        measures=list(MEASURES),
        vary=vary,
        kernel_samples=len(points),
        status=Status.EXACT,
        method=f"{children} children at each of {len(steps)} times, {vary}; barriers on {_POINTS} points"
        f"{', refined around the highest' if refine else ''}, optimizer state kept",
        error="spread over pairs of children; pairs share children, so they are not independent",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(last, seed),
    )


def _scores(ends: list[Problem], children: int) -> np.ndarray:
    """Test error and loss of each child (training, without test data), ``(2, child)``, NaN where one is excluded."""
    found = [evaluate(end, data="train" if end.test_inputs is None else "test") for end in ends]
    return _columns([[score.error, score.loss] for score in found], 2, children)


def _columns(rows: list, height: int, width: int) -> np.ndarray:
    """Rows as the first columns of a ``(height, width)`` array, NaN after them."""
    made = np.full((height, width), math.nan)
    if rows and height:
        made[:, : len(rows)] = np.array(rows).T
    return made


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def twin_separation(
    trajectory: Trajectory,
    *,
    sizes: Sequence[float] = (1e-4, 1e-3),
    epochs: float = 4.0,
    optimizer: OptimizerFactory | None = None,
    seed: Seed | int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How fast twins separate that start a relative distance apart and see the same batches.

    The rate is the slope of ``log |w_t - w'_t|`` in epochs, by least squares over the times before the distance reaches
    three tenths of its largest value: a number for "chaotic". It means something when it does not depend on the size.

    Args:
        trajectory: the run; the twins start where it starts.
        sizes: relative sizes of the perturbation.
        epochs: how long they are followed.
        optimizer: the factory that trained the run.
        seed: names the directions.

    Returns:
        Times in epochs ``(t,)``, relative distances ``(size, t)``, rates ``(size,)`` (NaN with fewer than three times).
    """
    limit = max(epochs * trajectory.steps_per_epoch, trajectory.steps[:2][-1])
    kept = {step: place for step, place in trajectory.kept.items() if step <= limit}
    short, grid, named = replace(trajectory, kept=kept), sorted(kept), as_seed(seed)
    distances = []
    for size in sizes:
        family = spawn(
            short, grid[0], 2, optimizer=optimizer, vary="epsilon", epsilon=size, checkpoints=grid, seed=named.child(str(size))
        )
        if family.diverged:
            distances.append(np.full(len(grid), math.nan))
            continue
        own, twin = family.children
        start = float(own.problem_at(grid[0]).network.flat.double().norm())
        gaps = [float((own.problem_at(s).network.flat.double() - twin.problem_at(s).network.flat.double()).norm()) for s in grid]
        distances.append(np.array(gaps) / start)
    times = np.array(grid) / trajectory.steps_per_epoch
    apart = np.stack(distances)
    return times, apart, np.array([_rate(times, row) for row in apart])


def _rate(times: np.ndarray, distance: np.ndarray) -> float:
    if np.isnan(distance).any() or distance.max() <= 0:
        return math.nan
    early = np.flatnonzero(distance >= 0.3 * distance.max())
    kept = slice(0, int(early[0]) + 1 if early.size else len(times))
    good = distance[kept] > 0
    if good.sum() < 3:
        return math.nan
    return float(np.polyfit(times[kept][good], np.log(distance[kept][good]), 1)[0])


def evolution_summary(
    trajectory: Trajectory,
    children: Spawning,
    kernel: KernelTimeline,
    history: TrainingHistory,
    after: AfterKernel | None,
    *,
    optimizer: OptimizerFactory | None = None,
    sizes: Sequence[float] = (1e-4, 1e-3),
    seed: Seed | int = 0,
) -> EvolutionSummary:
    """When barrier, velocity and alignment changed, how the measures move together, and how fast twins separate.

    Args:
        trajectory: the run.
        children: its `spawning` record.
        kernel: its kernel timeline.
        history: its losses.
        after: its after-kernel record, if there is one.
        optimizer: the factory that trained it.
        sizes: relative sizes of the twins' perturbation.
        seed: names all draws.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    found = _transitions(children, kernel, history, seed)
    names, matrix = _correlations(children, kernel, after)
    times, apart, rates = twin_separation(trajectory, sizes=sizes, optimizer=optimizer, seed=seed.child("twins"))
    aligned = _alignment(kernel, history)
    return EvolutionSummary(
        correlation=matrix,
        twin_epoch=times,
        twin_distance=apart,
        twin_size=np.array(sizes),
        divergence_rate=rates,
        change=np.array([[one.epoch, *one.interval] for one in found]),
        levels=np.array([[one.before, one.after] for one in found]),
        measures=names,
        signals=[one.signal for one in found],
        verdicts=[one.verdict for one in found],
        cone_radius=_cone(kernel),
        silent_alignment=aligned,
        silent=bool(aligned[0] < aligned[1] and aligned[2] < 0.1),
        status=Status.ESTIMATED,
        method="falls in log time fitted by least squares, bootstrap over pairs of children or probe sets; Spearman's rank correlation",
        error="95 % bootstrap intervals of the change points",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(trajectory.problem_at(trajectory.steps[-1]), seed),
    )


def _transitions(children: Spawning, kernel: KernelTimeline, history: TrainingHistory, seed: Seed) -> list[Transition]:
    classes = not np.isnan(children.measure("barrier_train_error")).all()
    name = "barrier_train_error" if classes else "barrier_train_loss"
    floor = _ERROR_FLOOR * (1.0 if classes else float(history.train_loss[0]))
    alignment = kernel.label_alignment
    gap = np.maximum(alignment[:, -max(len(kernel.epoch) // 4, 1) :].mean(1, keepdims=True) - alignment, 0)
    signals = [("barrier between children", children.spawn_epoch, children.measure(name), floor)]
    if kernel.velocity.shape[1]:
        signals.append(("kernel velocity", kernel.velocity_epoch + kernel.velocity_interval / 2, kernel.velocity.T, 0.0))
    signals.append(("missing alignment", kernel.epoch, gap.T, _ERROR_FLOOR))
    return [find_transition(signal, t, v, floor=low, seed=seed) for signal, t, v, low in signals]


def _correlations(children: Spawning, kernel: KernelTimeline, after: AfterKernel | None) -> tuple[list[str], np.ndarray]:
    names = ["barrier_train_loss", "hamming", "disagreement", "logit_l2", "kernel", "weights"]
    rows = {name: _means(children.measure(name)) for name in names}
    clock = np.log1p(children.spawn_epoch)
    if kernel.velocity.shape[1]:
        rows["kernel velocity"] = np.interp(clock, np.log1p(kernel.velocity_epoch), kernel.velocity.mean(0))
    if after is not None and not np.isnan(after.solved_error).any():
        rows["after-kernel error"] = np.interp(clock, np.log1p(after.epoch), after.solved_error)
    kept = {name: row for name, row in rows.items() if not np.isnan(row).any() and np.ptp(row) > 0}
    if len(kept) < 2 or len(clock) < 3:
        return [], np.empty((0, 0))
    ranks = np.stack([stats.rankdata(row) for row in kept.values()])
    return list(kept), np.corrcoef(ranks)


def _means(values: np.ndarray) -> np.ndarray:
    good = ~np.isnan(values)
    return np.where(good.any(1), np.where(good, values, 0).sum(1) / np.maximum(good.sum(1), 1), math.nan)


def _cone(kernel: KernelTimeline) -> float:
    late = kernel.epoch >= kernel.epoch[-1] / 2
    angles = 2 * np.arcsin(np.sqrt(np.clip(kernel.pairwise[np.ix_(late, late)] / 2, 0, 1)))
    return float(angles.max(axis=1).min())


def _alignment(kernel: KernelTimeline, history: TrainingHistory) -> tuple[float, float, float]:
    aligned = kernel.label_alignment.mean(0)
    first = int(np.flatnonzero(aligned >= 0.9 * aligned[-1])[0]) if np.isfinite(aligned).all() else 0
    fallen = np.flatnonzero(history.train_loss <= 0.9 * history.train_loss[0])
    when = float(history.epoch[fallen[0]]) if fallen.size else math.inf
    return float(kernel.epoch[first]), when, float(kernel.pairwise[first, -1])
