"""Certificates along a training run."""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from isthmus._core.errors import BudgetError, HypothesisError, UnsupportedLayer, VerificationError
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.games.certificate import PriceKind
from isthmus.games.pathgame import PathGame
from isthmus.model.problem import Problem, provenance
from isthmus.results.games import Certificate, GameTimeline
from isthmus.results.provenance import Cost
from isthmus.training.trajectory import Trajectory


def game_timeline(
    trajectory: Trajectory,
    *,
    steps: Sequence[int],
    samples: int = 1000,
    seed: Seed,
    tell: Callable[[int, int], None] | None = None,
) -> GameTimeline:
    """Gap, loss, gradient norm, path norm and conservation at checkpoints; budgets are each checkpoint's own path norms.

    Args:
        trajectory: the run.
        steps: checkpoints to look at.
        samples: training examples, drawn once; fewer for large networks, see `affordable_samples`.
        seed: names the draw.
        tell: told (done, total).

    Returns:
        The timeline, with exact prices where they are cheap and upper bounds where not; when the network is no path network, or
        the loss has no such game, it is empty and `reason` says why.
    """
    started, rows, last = time.perf_counter(), [], None
    final = trajectory.problem_at(steps[-1])
    try:
        samples = affordable_samples(final, samples)
        final = some_samples(final, samples, seed)
        prices = affordable_prices([some_samples(trajectory.problem_at(step), samples, seed) for step in (steps[0], steps[-1])])
        for index, step in enumerate(steps):
            if tell is not None:
                tell(index, len(steps))
            game = PathGame(some_samples(trajectory.problem_at(step), samples, seed))
            last = game.certificate(prices=prices, limit=math.inf)
            flow, residual = last.path_norm, game.kirchhoff_residual
            rows.append((last.loss, last.gap, last.gap_lower, last.gradient_norm, flow, residual))
    except (UnsupportedLayer, HypothesisError, VerificationError) as fault:
        return _record(trajectory, [], np.zeros((0, 6)), final, None, f"{type(fault).__name__}: {fault}", started)
    return _record(trajectory, steps, np.array(rows), final, last, "", started)


def affordable_samples(problem: Problem, most: int, *, least: int = 50, flops: float = 2e10) -> int:
    """How many samples keep one certificate of this network within so many floating-point operations.

    Args:
        problem: the network and its data.
        most: never more.
        least: never fewer (than there are).
        flops: ``4 n d c sum_l units_l``, what bounding all prices takes.

    Raises:
        UnsupportedLayer: the network is no path network.
        HypothesisError: its loss has no such game.
    """
    game = PathGame(problem.subset(slice(0, 4)))
    units = sum(math.prod(gate.shape) for gate in game.chain.gates)
    each = 4.0 * math.prod(game.chain.shape) * game.outputs.shape[1] * max(units, 1)
    return min(problem.samples, most, max(least, int(flops / each)))


def affordable_prices(problems: Sequence[Problem], *, flops: float = 2e10) -> PriceKind:
    """``"exact"`` where exact prices take at worst so many floating-point operations on each of the problems, else ``"bound"``."""
    try:
        return "exact" if all(PathGame(problem).plan().flops <= flops for problem in problems) else "bound"
    except BudgetError:
        return "bound"


def some_samples(problem: Problem, samples: int, seed: Seed) -> Problem:
    """The problem on at most so many training examples, the same ones for the same seed."""
    keep = min(problem.samples, samples)
    order = seed.child("samples").numpy().permutation(problem.samples)[:keep]
    return problem.subset(torch.from_numpy(np.sort(order)))


def _record(
    trajectory: Trajectory,
    steps: Sequence[int],
    table: np.ndarray,
    final: Problem,
    last: Certificate | None,
    reason: str,
    started: float,
) -> GameTimeline:
    at = np.array(steps, dtype=np.int64)
    return GameTimeline(
        step=at,
        epoch=at / trajectory.steps_per_epoch,
        loss=table[:, 0].copy(),
        gap=table[:, 1].copy(),
        gap_lower=table[:, 2].copy(),
        gradient_norm=table[:, 3].copy(),
        path_norm=table[:, 4].copy(),
        kirchhoff=table[:, 5].copy(),
        samples=final.samples,
        kind="" if last is None else last.kind,
        gates="" if last is None else last.gates,
        reason=reason,
        status=Status.UNRESOLVED if reason else Status.EXACT,
        method="not measured" if last is None else f"certificates at {len(steps)} checkpoints: {last.method}",
        error="loss - least loss within the budgets, gates as they are, <= gap",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(final),
    )
