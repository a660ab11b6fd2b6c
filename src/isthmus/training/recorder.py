"""Checkpoints from a user's own training loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from isthmus._core.errors import InputError
from isthmus.model.network import Network
from isthmus.training.checkpoints import Checkpoint
from isthmus.training.schedule import checkpoint_steps
from isthmus.training.state import optimizer_state, param_groups, scheduler_state


class Recorder:
    """Keeps checkpoints of a module that somebody else trains; one call per optimizer step.

    ::

        recorder = Recorder(model, optimizer, "run/checkpoints", steps_per_epoch=len(loader), total_steps=epochs * len(loader))
        for inputs, targets in batches:
            ...
            optimizer.step()
            recorder.step()

    The start is kept on construction. Module, optimizer and random generators are only read.

    Args:
        module: the module in training.
        optimizer: its optimizer.
        directory: where checkpoints go.
        steps_per_epoch: optimizer steps of an epoch.
        total_steps: planned length of the run, which sets the schedule of checkpoints.
        scheduler: a learning-rate scheduler whose state is kept too.
        start: optimizer steps already done, when a run goes on.
        watch: told every checkpoint right after it is written, e.g. a `DepartureAlarm`.

    Raises:
        InputError: a count below 1, or an optimizer over parameters that the module does not have.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: Optimizer,
        directory: Path | str,
        *,
        steps_per_epoch: int,
        total_steps: int,
        scheduler: Any = None,
        start: int = 0,
        watch: Callable[[Checkpoint], object] | None = None,
    ) -> None:
        if steps_per_epoch < 1 or total_steps < 1:
            raise InputError(f"steps_per_epoch and total_steps must be at least 1, found {steps_per_epoch} and {total_steps}.")
        self.module, self.optimizer, self.scheduler = module, optimizer, scheduler
        self.directory, self.steps_per_epoch = Path(directory), steps_per_epoch
        self.position = start
        self._watch = watch
        self._names = {p: name for name, p in module.named_parameters()}
        if any(p not in self._names for group in optimizer.param_groups for p in group["params"]):
            raise InputError("The optimizer holds parameters that the module does not have. Pass the module that it trains.")
        self._hash = Network(module).architecture_hash
        self._wanted = {*checkpoint_steps(total_steps, steps_per_epoch), 0, total_steps}
        if start == 0:
            self._keep()

    def step(self) -> None:
        """Say that one optimizer step was made; a checkpoint is written when it is due."""
        self.position += 1
        if self.position in self._wanted:
            self._keep()

    def _keep(self) -> None:
        trainable = {k: p.detach().clone() for k, p in self.module.named_parameters() if p.requires_grad}
        frozen = {k: p.detach().clone() for k, p in self.module.named_parameters() if not p.requires_grad}
        saved = Checkpoint(
            step=self.position,
            steps_per_epoch=self.steps_per_epoch,
            parameters=trainable,
            buffers={**frozen, **{k: b.detach().clone() for k, b in self.module.named_buffers()}},
            optimizer_state=optimizer_state(self.optimizer, self._names),
            param_groups=param_groups(self.optimizer, self._names),
            scheduler=scheduler_state(self.scheduler),
            rng=torch.get_rng_state(),
            module_hash=self._hash,
        )
        saved.save(self.directory)
        if self._watch is not None:
            self._watch(saved)
