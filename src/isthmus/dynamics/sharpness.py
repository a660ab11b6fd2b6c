"""Sharpness of a run against the limit of its step size: progressive sharpening and the edge of stability."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature import hessian_operator
from isthmus.dynamics.methods import TorchSgd
from isthmus.dynamics.optimizers import OptimizerLike, understand_optimizer
from isthmus.dynamics.phases import EDGE, diagnose_phase, edge_of
from isthmus.dynamics.stability import Step, optimizer_over, read_step
from isthmus.linops.eigen import top_eigenpairs
from isthmus.linops.operator import SymmetricOperator
from isthmus.model.derivatives import loss_value
from isthmus.model.problem import Problem, provenance
from isthmus.results.flows import EdgeOfStability
from isthmus.results.provenance import Cost
from isthmus.training import Checkpoint, Trajectory
from isthmus.training.state import restore

_RTOL = 1e-3


class EffectiveHessian(SymmetricOperator):
    """``P^{-1/2} H P^{-1/2}`` for a diagonal P: the curvature that a preconditioned step meets, ``(p, p)``."""

    def __init__(self, problem: Problem, weights: Tensor) -> None:
        self.inner, self.root = hessian_operator(problem), weights.rsqrt()[:, None]
        super().__init__(self.inner.shape[0], self.inner.dtype, self.inner.device)

    def _matmat(self, columns: Tensor) -> Tensor:
        return self.root * (self.inner @ (self.root * columns))


class SharpnessMonitor:
    """Measures sharpness against the optimizer's limit at every checkpoint, live or afterwards.

    ::

        monitor = SharpnessMonitor(problem, make_optimizer, tell=print)
        recorder = isthmus.Recorder(model, optimizer, "run/checkpoints", steps_per_epoch=80, total_steps=2000, watch=monitor)
        ...
        print(monitor.record().explanation)

    The settings and the state of the optimizer (momentum, schedules, Adam's second moments) are read from each checkpoint.

    Args:
        problem: network, data and loss; any parameters.
        optimizer: what trains it, as in `predict_training`.
        samples: training samples over which the Hessian is taken; all of them when fewer.
        seed: names the draw of these and Lanczos' start vectors.
        tell: called once with a sentence when the edge is reached.
    """

    def __init__(
        self,
        problem: Problem,
        optimizer: OptimizerLike,
        *,
        samples: int = 1000,
        seed: Seed | int = 0,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        if samples < 1:
            raise InputError(f"Sharpness needs at least one sample, found {samples}.")
        self._seed, self._started = as_seed(seed), time.perf_counter()
        whole = problem.eval().to(torch.float64)
        rows = self._seed.child("sharpness").numpy().permutation(whole.samples)[:samples]
        self._problem = whole if samples >= whole.samples else whole.subset(torch.from_numpy(np.sort(rows)))
        self._known, self._tell = understand_optimizer(optimizer, whole.network), tell
        self._rows: list[_Row] = []
        self._recent: list[tuple[int, Tensor]] = []
        self._turns: list[float] = []
        self._words, self._matvecs = "", 0

    def __call__(self, saved: Checkpoint) -> float:
        """The margin ``lr x sharpness / limit`` at a checkpoint; 1 is the edge."""
        there = self._problem.at(saved.parameters, {**self._problem.network.buffers, **saved.buffers})
        step = self._step(there, saved)
        pairs = top_eigenpairs(EffectiveHessian(there, step.weights), 1, rtol=_RTOL, seed=self._seed.child("lanczos", saved.step))
        value = float(pairs.values[0]) + step.decay
        margin = step.rate * value / step.limit
        if self._tell is not None and margin >= EDGE > max((row.margin for row in self._rows), default=0.0):
            self._tell(
                f"step {saved.step}: lr x sharpness is {margin:.0%} of the limit {step.limit:.3g} of {self._known.words}; from here on the "
                "loss need not fall at every step"
            )
        residual = float(pairs.residuals[0])
        self._rows.append(_Row(saved.step, saved.epoch, loss_value(there), value, residual, step.rate, step.limit, margin))
        self._note_turn(saved.step, there.network.flat)
        self._words, self._matvecs = step.words, self._matvecs + pairs.matvecs
        return margin

    def record(self) -> EdgeOfStability:
        """What was measured so far, with the phase that it tells.

        Raises:
            InputError: nothing was measured.
        """
        if not self._rows:
            raise InputError("The monitor saw no checkpoint yet; pass it as watch= to Recorder, or call it on checkpoints.")
        columns = {name: np.array([getattr(row, name) for row in self._rows]) for name in _Row.__dataclass_fields__}
        step, margin, sharpness = columns["step"], columns["margin"], columns["sharpness"]
        edge, sharpening, after = edge_of(margin, sharpness)
        phase, explanation = diagnose_phase(step, margin, sharpness)
        return EdgeOfStability(
            **columns,
            turn=np.array(self._turns),
            sharpening=sharpening,
            edge_step=int(step[edge]) if edge >= 0 else -1,
            after=after,
            phase=phase,
            explanation=explanation,
            samples=self._problem.samples,
            optimizer=self._known.words,
            preconditioned=self._words,
            status=Status.CONVERGED if np.isfinite(margin).all() else Status.NOT_FINITE,
            method=f"largest Hessian eigenvalue by Lanczos on {self._problem.samples} samples, {self._problem.loss.name}, float64",
            error="residual |H v - lambda v| of each eigenvalue",
            cost=Cost(matvecs=self._matvecs, seconds=time.perf_counter() - self._started),
            provenance=provenance(self._problem, self._seed),
        )

    def _step(self, there: Problem, saved: Checkpoint) -> Step:
        """The step in force at a checkpoint."""
        method = self._known.method
        if self._known.make is None and method is not None:
            if isinstance(method, TorchSgd):
                rate, momentum = method.setting(max(saved.step, 1))
                method = TorchSgd(
                    lr=rate,
                    momentum=momentum,
                    dampening=method.dampening,
                    nesterov=method.nesterov,
                    weight_decay=method.weight_decay,
                )
            return Step(method.lr, method.limit(), torch.ones_like(there.network.flat), method.decay, "")
        optimizer, parameters = optimizer_over(there, self._known)
        if saved.param_groups:
            restore(optimizer, None, dict(zip(parameters, there.network.parameters, strict=True)), saved)
        return read_step(there, optimizer, parameters, self._known.words)

    def _note_turn(self, step: int, weights: Tensor) -> None:
        """Keep the last two points; with this one they tell how the path turned at the middle one."""
        self._turns.append(math.nan)
        if [at for at, _ in self._recent] == [step - 2, step - 1]:
            (_, before), (_, middle) = self._recent
            self._turns[-2] = float(torch.cosine_similarity(middle - before, weights - middle, dim=0))
        self._recent = [*self._recent[-1:], (step, weights)]


@dataclass(frozen=True)
class _Row:
    step: int
    epoch: float
    loss: float
    sharpness: float
    residual: float
    learning_rate: float
    limit: float
    margin: float


def edge_of_stability(
    run: Trajectory,
    optimizer: OptimizerLike,
    *,
    samples: int = 1000,
    points: int | None = None,
    seed: Seed | int = 0,
    tell: Callable[[str, int, int], object] | None = None,
) -> EdgeOfStability:
    """Sharpness of a run at its checkpoints, against the limit of its step size, and the phase that it tells.

    Sharpness is the largest eigenvalue of the Hessian of the loss as given; behind Adam, AdamW, RMSprop and Adagrad that of
    ``P^{-1/2} H P^{-1/2}`` with P from the checkpoint's state. A run sharpens progressively until lr x sharpness meets the
    limit (2 for gradient descent, ``2 (1 + beta)`` for heavy ball, 38 for Adam), and then hovers there: the edge of
    stability. Small batches keep it below.

    Args:
        run: checkpoints of `train` or `Recorder`.
        optimizer: the one that trained it.
        samples: training samples over which the Hessian is taken; all of them when fewer.
        points: checkpoints measured, evenly picked; all of them by default.
        seed: names the draw of the samples and Lanczos' start vectors.
        tell: told (what, done, total) as work goes on.

    Returns:
        Sharpness, margin and phase. Cost: 20 to 60 Hessian products for each checkpoint.

    Raises:
        InputError: no limit is known for the optimizer, or fewer than one point.
    """
    if points is not None and points < 1:
        raise InputError(f"At least one checkpoint is measured, found points={points}.")
    steps = run.steps
    if points is not None and points < len(steps):
        steps = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, points).round().astype(int))]
    monitor = SharpnessMonitor(run.problem, optimizer, samples=samples, seed=seed)
    for done, step in enumerate(steps):
        if tell is not None:
            tell(f"sharpness at step {step}", done, len(steps))
        monitor(run.checkpoint(step))
    return monitor.record()
