"""Parent-child spawning: independent continuations of a run from one of its checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from isthmus._core.errors import InputError, NumericalError
from isthmus._core.seeds import Seed, as_seed
from isthmus.engine.tasks import map_tasks
from isthmus.linops.random import gaussian
from isthmus.model.data import OptimizerFactory, Sgd
from isthmus.training import Checkpoint, train
from isthmus.training.loop import Augment
from isthmus.training.trajectory import Trajectory

Vary = Literal["order", "augmentation", "epsilon", "optimizer_reset"]


@dataclass(frozen=True)
class Family:
    """The children of one checkpoint.

    Attributes:
        at: the parent's step at which they were spawned.
        children: their runs, from `at` to the parent's end; a child whose loss stopped being finite is left out.
        diverged: how many were left out.
    """

    at: int
    children: tuple[Trajectory, ...]
    diverged: int


@dataclass(frozen=True)
class _Shifted:
    """An augmentation whose draws are this child's own."""

    augment: Augment
    child: int

    def __call__(self, inputs: torch.Tensor, seed: Seed) -> torch.Tensor:
        return self.augment(inputs, seed.child("child", self.child))


def spawn(
    trajectory: Trajectory,
    at: int,
    children: int = 2,
    *,
    optimizer: OptimizerFactory | None = None,
    vary: Vary = "order",
    epsilon: float = 1e-3,
    augment: Augment | None = None,
    copy_optimizer: bool = True,
    checkpoints: Sequence[int] = (),
    seed: Seed | int = 0,
    store: Path | str | None = None,
    workers: int = 1,
) -> Family:
    """Continue a run several times from one of its checkpoints to its end.

    What differs between the children:

    - ``"order"``: the rest of the epoch, and every later one, is a fresh permutation of the data for each child.
    - ``"augmentation"``: order as the parent's; the draws of `augment` are each child's own.
    - ``"epsilon"``: child 0 is the parent's own continuation; child i > 0 starts at ``w + epsilon |w| u`` with a random
      unit vector u, and sees the same batches.
    - ``"optimizer_reset"``: as ``"order"``, with momentum and other slots cleared; groups and schedule are kept.

    Args:
        trajectory: the parent, made by `train` (its checkpoints name batch size and seed).
        at: step of the checkpoint.
        children: how many.
        optimizer: the factory that trained the parent.
        vary: what differs.
        epsilon: relative size of the perturbation, for ``"epsilon"``.
        augment: ``(inputs, seed) -> inputs`` of a batch; needed for ``"augmentation"``.
        copy_optimizer: hand the parent's momentum and other slots to the children. The schedule runs on global time.
        checkpoints: steps to keep besides the first and the last.
        seed: names the children's streams.
        store: folder for the children's checkpoints, ``<at>/<vary>-<child>``; a killed child is taken up there.
        workers: processes; results do not depend on it.

    Returns:
        The children that stayed finite, and how many did not.

    Raises:
        InputError: the step has no checkpoint, its batch size or seed is unknown, fewer than one child, or an
            augmentation is needed and missing.
    """
    if children < 1 or (vary == "augmentation" and augment is None):
        raise InputError("Spawning needs at least one child, and augment= when vary='augmentation'.")
    parent, total = trajectory.checkpoint(at), trajectory.steps[-1]
    if "batch" not in parent.sampler or "seed" not in parent.sampler:
        raise InputError(
            "These checkpoints do not say in which order the data were seen, so the run cannot be continued from them. Make "
            "the parent run with isthmus.train or isthmus survey, which train in an order that a seed names."
        )
    named = as_seed(seed).child("spawn", at, vary)
    tasks = []
    for child in range(children):
        own_stream = vary in ("order", "optimizer_reset")
        stream = named.child(child) if own_stream else Seed.parse(parent.sampler["seed"])
        saved = _start(parent, vary, child, epsilon if child else 0.0, named.child(child), copy_optimizer)
        draws = _Shifted(augment, child) if augment is not None and vary == "augmentation" else augment
        place = None if store is None else Path(store) / f"{at:08d}" / f"{vary}-{child}"
        tasks.append((trajectory, saved, optimizer or Sgd(), total, stream, draws, tuple(checkpoints), place))
    found = map_tasks(_continue, tasks, workers=workers)
    alive = tuple(run for run in found if run is not None)
    return Family(at, alive, len(found) - len(alive))


def _start(parent: Checkpoint, vary: Vary, child: int, epsilon: float, seed: Seed, copy_optimizer: bool) -> Checkpoint:
    if vary == "optimizer_reset" or not copy_optimizer:
        parent = replace(parent, optimizer_state={})
    if vary != "epsilon" or epsilon == 0:
        return parent
    drawn = {k: gaussian(v.shape, seed.child(k), v.dtype, v.device) for k, v in parent.parameters.items()}
    length, size = (torch.cat([v.double().reshape(-1) for v in named.values()]).norm() for named in (drawn, parent.parameters))
    scale = float(epsilon * size / length)
    return replace(parent, parameters={k: v + scale * drawn[k] for k, v in parent.parameters.items()})


def _continue(
    trajectory: Trajectory,
    saved: Checkpoint,
    optimizer: OptimizerFactory,
    total: int,
    stream: Seed,
    augment: Augment | None,
    checkpoints: tuple[int, ...],
    store: Path | None,
) -> Trajectory | None:
    """One child; None when its loss stopped being finite."""
    try:
        return train(
            trajectory.problem,
            optimizer,
            steps=total,
            batch=saved.sampler["batch"],
            seed=stream,
            checkpoints=checkpoints,
            store=store,
            start=saved,
            augment=augment,
        )
    except NumericalError:
        return None
