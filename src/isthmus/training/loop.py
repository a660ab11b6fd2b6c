"""The only training loop."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from isthmus._core.errors import InputError, NumericalError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.linops.random import forked_rng
from isthmus.model.data import OptimizerFactory, Sgd
from isthmus.model.problem import Problem
from isthmus.training.checkpoints import Checkpoint, checkpoint_path, stored_steps
from isthmus.training.schedule import checkpoint_steps
from isthmus.training.state import optimizer_state, param_groups, restore, scheduler_state
from isthmus.training.trajectory import Trajectory

_SMALL_NETWORK = 2_000_000

#: ``(inputs of a batch, seed of the step) -> inputs``
Augment = Callable[[torch.Tensor, Seed], torch.Tensor]


def train(
    problem: Problem,
    optimizer: OptimizerFactory | None = None,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch: int = 50,
    seed: Seed | int = 0,
    checkpoints: Literal["log"] | Sequence[int] = "log",
    store: Path | str | None = None,
    probes: Mapping[str, Callable[[Problem], Any]] | None = None,
    start: Checkpoint | None = None,
    augment: Augment | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Trajectory:
    """Train a private copy of the problem's network and keep checkpoints.

    Each epoch visits every sample once in an order drawn from ``seed / order / epoch``; the last batch of an epoch may
    be smaller. The network trains in training mode (BatchNorm and dropout active); its loss on a batch is the given
    loss with its own reduction. A scheduler is stepped once an epoch.

    Args:
        problem: network at its start, data and loss.
        optimizer: ``parameters -> Optimizer`` or ``-> (Optimizer, scheduler)``; SGD lr .05 momentum .9 by default.
        epochs: passes over the data; 30 by default.
        steps: optimizer steps, instead of epochs.
        batch: samples per step.
        seed: names the batch order and what the network itself draws.
        checkpoints: ``"log"`` (0, two per doubling, and pairs 0.4 epochs apart), or the steps to keep; the first and
            the last are always kept.
        store: a folder for the checkpoints; a run found there (same data, seed, batch and optimizer) is taken up where
            it stopped, from its own start, and ends bit-equal to an uninterrupted one. Without it they stay in memory.
        probes: measurements ``problem -> anything`` made at every checkpoint of this call.
        start: go on from this checkpoint instead of the problem's parameters; time goes on counting from its step. Under
            the seed of the run that wrote it, the result equals that run bit for bit; under another seed the rest of its
            epoch, and every later one, gets a fresh order.
        augment: ``(inputs, seed of the step) -> inputs``, applied to every training batch.
        progress: told ``(step, total)``.

    Returns:
        The trajectory; ``.measurements`` holds the probes' values by name.

    Raises:
        InputError: the folder holds checkpoints of something else; both epochs and steps; a batch below 1; an optimizer
            or scheduler that needs more than ``step()``.
        NumericalError: the loss or a parameter stopped being finite; the checkpoints so far remain.
    """
    run = _Run(problem, optimizer or Sgd(), batch, as_seed(seed), None if store is None else Path(store), augment)
    total = _total(epochs, steps, run.steps_per_epoch)
    begin = 0 if start is None else start.step
    if begin > total:
        raise InputError(f"The run starts at step {begin} and ends at step {total}: the end must not lie before the start.")
    wanted = set(checkpoint_steps(total, run.steps_per_epoch) if checkpoints == "log" else checkpoints) | {begin, total}
    wanted = {step for step in wanted if begin <= step <= total}
    measured: dict[str, list] = {name: [] for name in probes or {}}
    with _fenced(problem, run.seed):
        if start is not None:
            run.start_from(start)
        run.resume(wanted)
        for step in range(run.step, total + 1):
            if step in wanted and step not in run.kept:
                run.keep()
                with forked_rng(run.seed.child("probes", step)):
                    for name, probe in (probes or {}).items():
                        measured[name].append(probe(run.frozen()))
            if step < total:
                run.advance()
            if progress is not None:
                progress(step, total)
    kept = {step: value for step, value in run.kept.items() if step in wanted}
    return Trajectory(problem, kept, run.steps_per_epoch, measurements=measured)


class _Run:
    """The module, optimizer and position of a training run."""

    def __init__(
        self, problem: Problem, factory: OptimizerFactory, batch: int, seed: Seed, store: Path | None, augment: Augment | None
    ) -> None:
        if batch < 1:
            raise InputError(f"A batch holds at least one sample, found batch={batch}.")
        self.problem, self.batch, self.seed, self.store, self.augment = problem, batch, seed, store, augment
        network = problem.network
        self.module = copy.deepcopy(network.module)
        self.module.load_state_dict({**network.buffers, **network.parameters}, strict=False)
        self.module.train()
        self.names = {p: name for name, p in self.module.named_parameters()}
        made = factory([p for p in self.module.parameters() if p.requires_grad])
        self.optimizer, self.scheduler = made if isinstance(made, tuple) else (made, None)
        _require_plain_steps(self.optimizer, self.scheduler)
        self.steps_per_epoch = -(-problem.samples // batch)
        self.step, self.kept = 0, {}
        self._order: torch.Tensor | None = None

    def resume(self, wanted: set[int]) -> None:
        """Take up the run that the store holds, if any."""
        if self.store is None:
            return
        for step in stored_steps(self.store):
            path = checkpoint_path(self.store, step)
            saved = Checkpoint.load(path)
            self._require_same(saved, path)
            if step in wanted:
                self.kept[step] = path
        if self.kept:
            self._restore(Checkpoint.load(checkpoint_path(self.store, max(self.kept))))

    def start_from(self, saved: Checkpoint) -> None:
        """Stand at a checkpoint of this network and these data.

        Raises:
            InputError: it belongs to another network, other data or another batch size.
        """
        saved.require_of(self.problem.network, checkpoint_path(Path("checkpoint"), saved.step))
        for what, mine, found in (
            ("training data", self.problem.data_hash, saved.data_hash or self.problem.data_hash),
            ("batch size", self.batch, saved.sampler.get("batch", self.batch)),
        ):
            if mine != found:
                raise InputError(f"The checkpoint at step {saved.step} was made with another {what} ({found}; here {mine}).")
        self._restore(saved)

    def keep(self) -> None:
        """Make a checkpoint of this point."""
        made = self._checkpoint()
        self.kept[self.step] = made if self.store is None else made.save(self.store)

    def frozen(self) -> Problem:
        """The problem at this point, in evaluation mode."""
        made = self._checkpoint()
        return self.problem.at(made.parameters, made.buffers).eval()

    def advance(self) -> None:
        """One optimizer step."""
        epoch, position = divmod(self.step, self.steps_per_epoch)
        if self._order is None or position == 0:
            order = self.seed.child("order", epoch).numpy().permutation(self.problem.samples)
            self._order = torch.from_numpy(order).to(self.problem.inputs.device)
        rows = self._order[position * self.batch : (position + 1) * self.batch]
        self.optimizer.zero_grad()
        inputs = self.problem.inputs[rows]
        if self.augment is not None:
            inputs = self.augment(inputs, self.seed.child("augment", self.step))
        loss = self.problem.loss(self.module(inputs), self.problem.targets[rows])
        if not bool(torch.isfinite(loss)):
            raise NumericalError(Status.NOT_FINITE, f"the training loss at step {self.step}; lower the learning rate")
        loss.backward()
        self.optimizer.step()
        self.step += 1
        if self.scheduler is not None and position == self.steps_per_epoch - 1:
            self.scheduler.step()

    def _checkpoint(self) -> Checkpoint:
        network = self.problem.network
        state = {k: v.detach().clone() for k, v in [*self.module.named_parameters(), *self.module.named_buffers()]}
        return Checkpoint(
            step=self.step,
            steps_per_epoch=self.steps_per_epoch,
            parameters={k: state[k] for k in network.parameters},
            buffers={k: state[k] for k in network.buffers},
            optimizer_state=optimizer_state(self.optimizer, self.names),
            param_groups=param_groups(self.optimizer, self.names),
            scheduler=scheduler_state(self.scheduler),
            rng=torch.get_rng_state(),
            sampler={"seed": str(self.seed), "batch": self.batch, "position": self.step % self.steps_per_epoch},
            module_hash=network.architecture_hash,
            data_hash=self.problem.data_hash,
        )

    def _restore(self, saved: Checkpoint) -> None:
        self.module.load_state_dict({**saved.buffers, **saved.parameters}, strict=False)
        restore(self.optimizer, self.scheduler, self.names, saved)
        if saved.sampler.get("seed") == str(self.seed):
            torch.set_rng_state(saved.rng)
        self.step = saved.step
        epoch = self.step // self.steps_per_epoch
        order = self.seed.child("order", epoch).numpy().permutation(self.problem.samples)
        self._order = torch.from_numpy(order).to(self.problem.inputs.device)

    def _require_same(self, saved: Checkpoint, path: Path) -> None:
        saved.require_of(self.problem.network, path)
        mine = {"data": self.problem.data_hash, "seed": str(self.seed), "batch": self.batch}
        found = {"data": saved.data_hash, "seed": saved.sampler.get("seed"), "batch": saved.sampler.get("batch")}
        if saved.step == 0:
            mine |= _recipe(param_groups(self.optimizer, self.names), scheduler_state(self.scheduler))
            found |= _recipe(saved.param_groups, saved.scheduler)
        for what in {**mine, **found}:
            if mine.get(what) != found.get(what):
                raise InputError(
                    f"{path} belongs to another run: its {what} is {found.get(what)!r}, this run's is {mine.get(what)!r}. Use "
                    "another folder, or delete that one."
                )


def _recipe(groups: list[dict[str, Any]], scheduler: dict[str, Any]) -> dict[str, Any]:
    """A fresh optimizer's and scheduler's options by name."""
    options = {f"{name} in parameter group {i}": value for i, group in enumerate(groups) for name, value in group.items()}
    return {f"scheduler's {name}": value for name, value in scheduler.items()} | options


def _require_plain_steps(optimizer: torch.optim.Optimizer, scheduler: Any) -> None:
    for part in (optimizer, scheduler):
        if isinstance(part, torch.optim.LBFGS | torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise InputError(
                f"{type(part).__name__} needs a closure or a metric at every step, which this loop does not give. Use an "
                "optimizer and a scheduler with a plain step(), or your own loop with isthmus.Recorder."
            )


def _total(epochs: int | None, steps: int | None, steps_per_epoch: int) -> int:
    if epochs is not None and steps is not None:
        raise InputError(f"Pass epochs or steps, not both (found epochs={epochs}, steps={steps}).")
    total = steps if steps is not None else (30 if epochs is None else epochs) * steps_per_epoch
    if total < 0:
        raise InputError(f"The number of steps cannot be negative, found {total}.")
    return total


@contextlib.contextmanager
def _fenced(problem: Problem, seed: Seed) -> Iterator[None]:
    """Private random state, gradients on, and one thread for small networks; all restored after."""
    threads = torch.get_num_threads()
    if problem.network.size < _SMALL_NETWORK:
        torch.set_num_threads(1)
    try:
        with forked_rng(seed.child("network")), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
