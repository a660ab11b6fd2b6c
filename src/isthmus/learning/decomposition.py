"""What each order of the Taylor expansion around the start contributes to what a network computes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.model.normalization import has_running_statistics
from isthmus.model.problem import Problem, provenance
from isthmus.model.taylor import MAX_ORDER, taylor_terms
from isthmus.results.learning import OrderShares
from isthmus.results.provenance import Cost
from isthmus.training.trajectory import Trajectory

_RESAMPLINGS = 400


def order_shares(
    trajectory: Trajectory,
    *,
    steps: Sequence[int] | None = None,
    order: int = 2,
    samples: int = 1000,
    seed: Seed | int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> OrderShares:
    """Split the outputs along a run into orders of the expansion around its first checkpoint.

    ``f_t = T_0 + (T_1 - T_0) + ... + (T_k - T_{k-1}) + (f_t - T_k)`` with ``T_j`` evaluated at the parameters of step t. A
    part's share is its squared norm over examples and outputs, divided by the sum of these over parts; parts are not
    orthogonal, and `cancellation` says how much they cancel. The test data are used where there are any.

    Args:
        trajectory: the run; its first checkpoint is the anchor.
        steps: checkpoints to measure; all by default.
        order: the highest order k, 1 to 3.
        samples: at most this many examples, drawn once.
        seed: names the draw of examples and the bootstrap.
        tell: told (done, total).

    Returns:
        Shares, projections and scores over time, with bootstrap intervals over examples at the last step; float64.
        Cost: a few forward passes for each checkpoint (`isthmus.model.taylor`).

    Raises:
        InputError: the order is not 1, 2 or 3, or the run has fewer than two checkpoints.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    chosen = list(trajectory.steps if steps is None else steps)
    if order not in range(1, MAX_ORDER + 1):
        raise InputError(f"A decomposition needs order 1, 2 or 3, found {order!r}.")
    if len(trajectory.steps) < 2:
        raise InputError("A decomposition needs a start and a later checkpoint; this run has one checkpoint only.")
    start = trajectory.problem_at(trajectory.steps[0]).to(torch.float64)
    inputs, targets, data = examples(start, samples, seed.child("examples"))
    splits = []
    for index, step in enumerate(chosen):
        splits.append(_split(start, trajectory.problem_at(step).to(torch.float64), inputs, order))
        if tell is not None:
            tell(index + 1, len(chosen))
    last, epochs = splits[-1], np.array(chosen) / trajectory.steps_per_epoch
    unexplained = np.stack([split.unexplained() for split in splits])
    return OrderShares(
        step=np.array(chosen),
        epoch=epochs,
        parts=[*(f"order {j}" for j in range(order + 1)), "rest"],
        share=np.stack([split.shares() for split in splits]),
        share_interval=_bootstrap(last, _Split.shares, seed.child("bootstrap")),
        projection=np.stack([split.projections() for split in splits]),
        unexplained=unexplained,
        unexplained_interval=_bootstrap(last, _Split.unexplained, seed.child("bootstrap")),
        reach=np.array([_reach(epochs, unexplained[:, k]) for k in range(1, order + 1)]),
        cancellation=np.array([split.cancellation for split in splits]),
        displacement=np.array([split.displacement for split in splits]),
        scores=np.array([[_score(start, outputs, targets) for outputs in split.models] for split in splits]),
        metric="error" if start.classification else start.loss.name,
        samples=len(inputs),
        data=data,
        status=Status.EXACT,
        method=f"Taylor terms to order {order} around step {trajectory.steps[0]}, Taylor mode, float64"
        + ("; the motion of BatchNorm statistics counts to the rest" if has_running_statistics(start.network) else ""),
        error=f"95 % bootstrap interval over {len(inputs)} {data} examples, {_RESAMPLINGS} resamplings",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(trajectory.problem_at(chosen[-1]), seed),
    )


def examples(problem: Problem, count: int, seed: Seed) -> tuple[Tensor, Tensor, str]:
    """At most `count` test examples (training examples where there are none), their targets, and which they are."""
    data = "test" if problem.test_inputs is not None and problem.test_targets is not None else "train"
    inputs, targets = (problem.test_inputs, problem.test_targets) if data == "test" else (problem.inputs, problem.targets)
    assert inputs is not None and targets is not None
    rows = torch.from_numpy(np.sort(seed.numpy().permutation(len(inputs))[:count])).to(inputs.device)
    return inputs[rows], targets[rows], data


@dataclass(frozen=True)
class _Split:
    """Parts ``(part, n, c)`` of the outputs of one checkpoint, reduced to inner products for each example.

    Attributes:
        energy: ``|part|^2`` of each example, ``(n, part)``.
        inner: ``<part, f>``, ``(n, part)``.
        missing: ``|f - T_k|^2``, ``(n, k)``.
        total: ``|f|^2``, ``(n,)``.
        models: outputs of T_0, ..., T_k and of the network, in its own shape.
        displacement: ``|theta_t - theta_0| / |theta_0|``.
    """

    energy: np.ndarray
    inner: np.ndarray
    missing: np.ndarray
    total: np.ndarray
    models: list[Tensor]
    displacement: float

    def shares(self, weights: np.ndarray | None = None) -> np.ndarray:
        sums = _sum(self.energy, weights)
        return sums / sums.sum()

    def projections(self) -> np.ndarray:
        return self.inner.sum(0) / self.total.sum()

    def unexplained(self, weights: np.ndarray | None = None) -> np.ndarray:
        if self.displacement == 0:
            return np.full(self.missing.shape[1], np.nan)
        sums = _sum(self.missing, weights)
        return sums / sums[0]

    @property
    def cancellation(self) -> float:
        return float(self.energy.sum() / self.total.sum())


def _split(start: Problem, now: Problem, inputs: Tensor, order: int) -> _Split:
    anchor, moved = start.network, now.network
    shift = {name: moved.parameters[name] - value for name, value in anchor.parameters.items()}
    terms = taylor_terms(anchor, inputs, shift, order)
    raw = _outputs(now, inputs)
    outputs = raw.reshape(len(inputs), -1)
    sums = terms.cumsum(0)
    parts = torch.cat([terms, (outputs - sums[-1])[None]]).cpu().numpy()
    flat = outputs.cpu().numpy()
    missing = (outputs - sums).square().sum(2).T.cpu().numpy()
    size = torch.linalg.vector_norm(anchor.flat).clamp_min(1e-300)
    return _Split(
        energy=np.square(parts).sum(2).T,
        inner=(parts * flat).sum(2).T,
        missing=missing,
        total=np.square(flat).sum(1),
        models=[*(value.reshape(raw.shape) for value in sums), raw],
        displacement=float(torch.linalg.vector_norm(anchor.layout.flatten(shift)) / size),
    )


def _reach(epochs: np.ndarray, unexplained: np.ndarray) -> float:
    beyond = np.flatnonzero(unexplained > 0.5)
    return float(epochs[beyond[0]]) if beyond.size else float("nan")


def _outputs(problem: Problem, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return problem.network.eval().forward(problem.network.parameters, inputs)


def _score(problem: Problem, outputs: Tensor, targets: Tensor) -> float:
    if problem.classification:
        counts = problem.loss.counted(targets)
        return float((outputs.argmax(dim=1) != targets)[counts].double().mean())
    return float(problem.loss(outputs, targets))


def _sum(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    return values.sum(0) if weights is None else weights @ values


def _bootstrap(split: _Split, statistic: Callable[..., np.ndarray], seed: Seed) -> np.ndarray:
    """95 % percentile interval over resampled examples, ``(entry, 2)``."""
    count, generator = len(split.total), seed.numpy()
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=_RESAMPLINGS)
    values = np.stack([statistic(split, weights) for weights in drawn])
    return np.quantile(values, (0.025, 0.975), axis=0).T
