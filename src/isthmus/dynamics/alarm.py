"""An alarm that goes off while a network trains, when it leaves its linearization."""

from collections.abc import Callable

import numpy as np
import torch

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus.dynamics.ladder import factory_of, linearized_run
from isthmus.dynamics.optimizers import OptimizerLike, understand_optimizer
from isthmus.dynamics.scaling import scaled_loss
from isthmus.model.problem import Problem
from isthmus.training import Checkpoint
from isthmus.training.schedule import checkpoint_steps


class DepartureAlarm:
    """Compares a run with its linearized twin at every checkpoint, live.

    ::

        alarm = DepartureAlarm(problem, make_optimizer, steps=2000, batch=50, tell=print)
        recorder = isthmus.Recorder(model, optimizer, "run/checkpoints", steps_per_epoch=80, total_steps=2000, watch=alarm)

    The twin is trained first, full batch or on the batches of `batch_seed` (those of `isthmus.train`); a loop of the user's
    own draws other batches, so that part of the discrepancy is then mini-batch noise.

    Args:
        problem: the network at its start, data and loss.
        optimizer: factory or optimizer that will train it.
        steps: planned length of the run.
        checkpoints: steps at which the twin is kept; the alarm looks at those only. By default those of `Recorder`.
        batch: samples of a mini-batch; full batch when left out.
        batch_seed: seed of the batch order.
        tolerance: relative discrepancy ``|u - u_lin| / |u_0|`` that sets it off.
        samples: training samples on which they are compared.
        seed: names the draw of these samples.
        tell: called once with a sentence when the alarm goes off.

    Attributes:
        steps: looked at so far.
        discrepancy: at these steps.
        departure: first step beyond the tolerance; None so far.
    """

    def __init__(
        self,
        problem: Problem,
        optimizer: OptimizerLike,
        *,
        steps: int,
        checkpoints: list[int] | None = None,
        batch: int | None = None,
        batch_seed: Seed | int = 0,
        tolerance: float = 0.1,
        samples: int = 100,
        seed: Seed | int = 0,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        if tolerance <= 0 or samples < 1:
            raise InputError(f"The alarm needs a positive tolerance and at least one sample, found {tolerance} and {samples}.")
        start = problem.eval()
        make = factory_of(understand_optimizer(optimizer, start.network, steps=steps))
        size = batch or start.samples
        wanted = checkpoints or checkpoint_steps(steps, -(-start.samples // size))
        self._twin = linearized_run(start, make, steps, batch=size, seed=batch_seed, checkpoints=wanted)
        rows = as_seed(seed).child("probe").numpy().permutation(start.samples)[:samples]
        self._probe = start.subset(torch.from_numpy(np.sort(rows))).to(torch.float64)
        self._scaled = scaled_loss(self._probe)
        self._tolerance, self._tell = tolerance, tell
        self.steps: list[int] = []
        self.discrepancy: list[float] = []
        self.departure: int | None = None

    def __call__(self, saved: Checkpoint) -> float:
        """The discrepancy at a checkpoint; NaN at a step that the twin did not keep."""
        if saved.step not in self._twin.kept:
            return float("nan")
        network = self._probe.network.at(saved.parameters, {**self._probe.network.buffers, **saved.buffers})
        twin = self._twin.problem_at(saved.step).to(torch.float64).network
        gap = (network(self._probe.inputs) - twin(self._probe.inputs)).reshape(-1).cpu().numpy()
        found = float(np.linalg.norm(self._scaled.scale(gap)) / max(np.linalg.norm(self._scaled.error), 1e-300))
        self.steps.append(saved.step)
        self.discrepancy.append(found)
        if self.departure is None and not found <= self._tolerance:
            self.departure = saved.step
            if self._tell is not None:
                self._tell(
                    f"step {saved.step}: the network is {found:.2g} of its initial error away from its linearization (tolerance "
                    f"{self._tolerance:g}); from here on its initial kernel does not predict it"
                )
        return found
