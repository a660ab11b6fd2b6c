"""Whole families at once: parents from many starts, and children that leave them, as one leading axis.

The same runs as `train` from each start followed by `spawn`, for small networks without random layers: a member sees the
batches that its own seed names, and keeps its parent's momentum when it leaves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus._core.errors import InputError, ShapeError
from isthmus._core.seeds import Seed
from isthmus.model.problem import Problem
from isthmus.training.checkpoints import Checkpoint
from isthmus.training.ensemble import member_gradients
from isthmus.training.trajectory import Trajectory


@dataclass(frozen=True)
class Families:
    """Parameter points of parents along their runs, and of their children at the end.

    Attributes:
        parents: step to points ``(g, p)``, the last step among them.
        children: ends of the children, ``(spawn time, g, child, p)``.
        spawn_steps: when they left.
        steps_per_epoch: optimizer steps of an epoch.
        problem: network and data.
    """

    parents: dict[int, Tensor]
    children: Tensor
    spawn_steps: tuple[int, ...]
    steps_per_epoch: int
    problem: Problem

    def trajectory(self, parent: int) -> Trajectory:
        """One parent's points as a trajectory to measure on; it holds no momentum, so nothing can be continued from it."""
        layout = self.problem.network.layout
        kept = {
            step: Checkpoint(step=step, steps_per_epoch=self.steps_per_epoch, parameters=layout.unflatten(points[parent]))
            for step, points in self.parents.items()
        }
        return Trajectory(self.problem, kept, self.steps_per_epoch)


def train_families(
    problem: Problem,
    starts: Tensor,
    seeds: Sequence[Seed],
    *,
    steps: int,
    batch: int,
    rate: float | Callable[[int], float],
    momentum: float = 0.9,
    spawn_steps: Sequence[int] = (),
    children: int = 2,
    keep: Sequence[int] = (),
) -> Families:
    """Train g parents and, from each of several steps, children of each: SGD with momentum, all in one batched product.

    Args:
        problem: network (evaluation mode), data and loss; its own parameters are not used.
        starts: where the parents start, ``(g, p)``.
        seeds: one a parent; its batch order is drawn from ``seed / order / epoch`` as in `train`, that of child c of the
            step s from ``seed / spawn / s / order / c / order / epoch`` as in `spawn`.
        steps: optimizer steps of a run.
        batch: samples of a step.
        rate: learning rate, or ``step -> rate``.
        momentum: heavy ball.
        spawn_steps: steps at which children leave; children of the last step are their parents.
        children: of each parent at each of these steps.
        keep: steps at which the parents' points are kept, besides the last.

    Returns:
        The points. A member whose loss stops being finite ends with points that are not.

    Raises:
        ShapeError: starts do not fit the network or the seeds.
        InputError: a step lies outside the run, or a batch holds no sample.
    """
    if starts.shape != (len(seeds), problem.network.size):
        raise ShapeError(f"Starts of shape ({len(seeds)}, {problem.network.size}) are needed, found {tuple(starts.shape)}.")
    if batch < 1 or any(not 0 <= step <= steps for step in (*spawn_steps, *keep)):
        raise InputError(f"Needed a batch >= 1 and steps within 0 and {steps}, found batch={batch}, {[*spawn_steps, *keep]}.")
    gradients = member_gradients(problem.network, problem.loss, own_data=True)
    rate_at = rate if callable(rate) else lambda step: rate
    points, velocity = starts.detach().clone(), torch.zeros_like(starts)
    streams, leaving, kept = list(seeds), sorted(set(spawn_steps)), {}
    rows = _Rows(problem, batch)
    for step in range(steps + 1):
        if step in {steps, *keep}:
            kept[step] = points[: len(seeds)].clone()
        if step in leaving:
            points, velocity = (torch.cat([t, t[: len(seeds)].repeat_interleave(children, 0)]) for t in (points, velocity))
            streams += [seed.child("spawn", step, "order", child) for seed in seeds for child in range(children)]
        if step < steps:
            chosen = rows.at(step, streams)
            velocity = momentum * velocity + gradients(points, problem.inputs[chosen], problem.targets[chosen])
            points = points - rate_at(step) * velocity
    ends = points[len(seeds) :].reshape(len(leaving), len(seeds), children, points.shape[1])
    return Families(kept, ends, tuple(leaving), rows.steps_per_epoch, problem)


class _Rows:
    """Which samples each member sees at a step."""

    def __init__(self, problem: Problem, batch: int) -> None:
        self.samples, self.batch = problem.samples, batch
        self.steps_per_epoch = -(-problem.samples // batch)
        self.device = problem.inputs.device
        self.orders: dict[Seed, tuple[int, Tensor]] = {}

    def at(self, step: int, streams: Sequence[Seed]) -> Tensor:
        epoch, position = divmod(step, self.steps_per_epoch)
        return torch.stack(
            [self._order(stream, epoch)[position * self.batch : (position + 1) * self.batch] for stream in streams]
        )

    def _order(self, stream: Seed, epoch: int) -> Tensor:
        known = self.orders.get(stream)
        if known is None or known[0] != epoch:
            drawn = stream.child("order", epoch).numpy().permutation(self.samples)
            known = self.orders[stream] = epoch, torch.from_numpy(drawn).to(self.device)
        return known[1]
