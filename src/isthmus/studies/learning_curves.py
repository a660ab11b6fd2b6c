"""Test error against samples: learners compared on the same data, over seeds."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus._core.errors import InputError, NumericalError
from isthmus._core.intervals import mean_interval
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.engine.tasks import map_tasks
from isthmus.learning.learners import Learner, NetworkLearner
from isthmus.learning.targets import Target
from isthmus.model.problem import versions
from isthmus.results.learning import LearningCurves
from isthmus.results.provenance import Cost, Provenance


def learning_curves(
    target: Target,
    learners: Sequence[Learner],
    samples: Sequence[int],
    *,
    seeds: int = 5,
    test_samples: int = 4000,
    oracle: bool = False,
    workers: int = 1,
    seed: Seed | int = 0,
) -> LearningCurves:
    """Learn a target from N samples with every learner, and measure the normalized test error.

    ``NMSE = mean (f - y)^2 / Var(y)`` on fresh test samples. Within a seed all learners see the same training samples
    (nested in N) and the same test samples; training and test samples come from different streams. Networks train their
    whole grid of hyper-parameters as one batched computation.

    To see the error against the number of parameters, pass one learner at several widths and one N.

    Args:
        target: the function and its inputs.
        learners: what learns.
        samples: N, at least one.
        seeds: repetitions, each with its own samples, starts and batch orders.
        test_samples: fresh samples of the test error.
        oracle: choose hyper-parameters on the test samples; recorded.
        workers: processes.
        seed: root of all draws.

    Returns:
        Errors with 95 % Student intervals over seeds, slopes, gains and sample ratios.

    Raises:
        InputError: no learner, no N, or too few samples for validation.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    counts = sorted(set(samples))
    if not learners or not counts or seeds < 1:
        raise InputError(
            f"Learning curves need learners, numbers of samples and seeds, found {len(learners)}, {counts}, {seeds}."
        )
    roots = [seed.child("seed", index) for index in range(seeds)]
    data = Data.drawn(target, max(counts), test_samples, roots)
    tasks = [(data, learner, count, oracle, roots) for learner in learners for count in counts]
    measured = map_tasks(_measure, tasks, workers=workers)
    error = np.array([[one.error for one in row] for row in measured]).reshape(len(learners), len(counts), seeds).swapaxes(1, 2)
    parameters = np.array([[one.parameters for one in row] for row in measured]).reshape(len(learners), -1).max(1)
    return curves_record(
        np.array(counts),
        error,
        kernels=np.array([not isinstance(learner, NetworkLearner) for learner in learners]),
        metric="nmse",
        parameters=parameters,
        cpu_seconds=np.array([sum(one.seconds for one in row) for row in measured]).reshape(len(learners), -1),
        learners=_unique([learner.name for learner in learners], learners),
        words=[learner.words for learner in learners],
        target=f"{type(target).__name__}({getattr(target, 'name', '')})".replace("()", ""),
        test_samples=test_samples,
        oracle=oracle,
        status=Status.ESTIMATED,
        method="same samples for all learners; "
        + ("oracle choice on test samples" if oracle else "no test sample in any choice"),
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=Provenance(versions=versions(), dtype="float32 networks, float64 kernels", device="cpu", seed=str(seed)),
    )


@dataclass(frozen=True)
class _Measured:
    error: float
    parameters: int
    seconds: float


@dataclass(frozen=True)
class Data:
    """Samples of each seed: the largest training set ``(s, n, d)``, ``(s, n, k)`` and test set ``(s, m, d)``, ``(s, m, k)``."""

    inputs: np.ndarray
    targets: np.ndarray
    test_inputs: np.ndarray
    test_targets: np.ndarray

    @classmethod
    def drawn(cls, target: Target, samples: int, tests: int, seeds: Sequence[Seed]) -> "Data":
        """Training and test samples from different streams."""
        train = [target.sample(samples, seed.child("train")) for seed in seeds]
        test = [target.sample(tests, seed.child("test")) for seed in seeds]
        return cls(*(np.stack([pair[i].numpy() for pair in pairs]) for pairs in (train, test) for i in (0, 1)))

    def part(self, seeds: slice) -> "Data":
        """Some of the seeds."""
        return Data(self.inputs[seeds], self.targets[seeds], self.test_inputs[seeds], self.test_targets[seeds])


def _measure(data: Data, learner: Learner, count: int, oracle: bool, seeds: Sequence[Seed]) -> list[_Measured]:
    """All seeds together; one by one where a seed has no setting that stays finite."""
    started, tests = time.process_time(), (data.test_inputs, data.test_targets) if oracle else None
    try:
        fitted = learner.fit_seeds(
            data.inputs[:, :count], data.targets[:, :count], seeds=[seed.child("learner") for seed in seeds], oracle=tests
        )
    except NumericalError:
        if len(seeds) == 1:
            return [_Measured(float("inf"), 0, time.process_time() - started)]
        parts = [slice(index, index + 1) for index in range(len(seeds))]
        return [_measure(data.part(part), learner, count, oracle, seeds[part])[0] for part in parts]
    gaps = [np.square(one.predict(z) - truth) for one, z, truth in zip(fitted, data.test_inputs, data.test_targets, strict=True)]
    errors = [float(gap.sum(1).mean() / truth.var(0).sum()) for gap, truth in zip(gaps, data.test_targets, strict=True)]
    seconds = (time.process_time() - started) / len(seeds)
    return [_Measured(error, one.parameters, seconds) for error, one in zip(errors, fitted, strict=True)]


def curves_record(samples: np.ndarray, error: np.ndarray, *, kernels: np.ndarray, metric: str, **rest: Any) -> LearningCurves:
    """Means, intervals, slopes, gains and sample ratios of measured errors ``(learner, seed, x)``."""
    ratios = metric == "nmse"
    values = np.log(np.maximum(error, 1e-300)) if ratios else error
    mean, low, high = mean_interval(values, axis=1)
    mean, low, high = (np.exp(v) if ratios else v for v in (mean, low, high))
    slopes = _slopes(samples, error)
    slope, slope_low, slope_high = mean_interval(slopes, axis=1)
    best = error[kernels].min(axis=0) if kernels.any() else np.full(error.shape[1:], np.nan)
    with np.errstate(invalid="ignore"):  # infinite minus infinite: no gain to speak of
        gain, gain_low, gain_high = mean_interval(best[None] - error, axis=1)
    ratio, bound = _sample_ratios(samples, mean, kernels)
    return LearningCurves(
        samples=samples,
        test_error=error,
        mean=mean,
        interval=np.stack([low, high], axis=-1),
        slope=slope,
        slope_interval=np.stack([slope_low, slope_high], axis=-1),
        gain=gain,
        gain_interval=np.stack([gain_low, gain_high], axis=-1),
        sample_ratio=ratio,
        ratio_is_bound=bound,
        kernels=kernels,
        metric=metric,
        seeds=error.shape[1],
        headline=(float(gain[0, -1]), float(gain_low[0, -1]), float(gain_high[0, -1])),
        error=f"95 % Student interval over {error.shape[1]} seeds" if error.shape[1] > 1 else "one seed: no interval",
        **rest,
    )


def _slopes(samples: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Log-log slope of each learner and seed, ``(learner, seed)``; NaN with one N or where an error is zero or infinite."""
    learners, seeds, points = error.shape
    usable = np.isfinite(error).all(axis=2) & (error > 0).all(axis=2)
    slopes = np.full((learners, seeds), np.nan)
    if points > 1 and usable.any():
        slopes[usable] = np.polyfit(np.log(samples), np.log(error[usable]).T, 1)[0]
    return slopes


def _sample_ratios(samples: np.ndarray, mean: np.ndarray, kernels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """N of the best kernel over N of each learner at the error that the kernel reaches with the most samples."""
    ratio, bound = np.full(len(mean), np.nan), np.zeros(len(mean), dtype=bool)
    if not kernels.any():
        return ratio, bound
    goal = mean[kernels, -1].min()
    for index, row in enumerate(mean):
        below = np.flatnonzero(row <= goal)
        if below.size == 0:
            continue
        first = int(below[0])
        bound[index] = first == 0 and len(samples) > 1
        needed = float(samples[0]) if first == 0 else _crossing(samples, row, first, goal)
        ratio[index] = samples[-1] / needed
    return ratio, bound


def _crossing(samples: np.ndarray, row: np.ndarray, first: int, goal: float) -> float:
    """N at which the curve falls to the goal, by interpolation between two points in log-log."""
    x, y = np.log(samples[first - 1 : first + 1]), np.log(np.maximum(row[first - 1 : first + 1], 1e-300))
    return float(np.exp(x[0] + (x[1] - x[0]) * (np.log(goal) - y[0]) / (y[1] - y[0])))


def _unique(names: list[str], learners: Sequence[Learner]) -> list[str]:
    """Names with the width where two learners would share one."""
    widths = [getattr(learner, "width", None) for learner in learners]
    return [f"{n}, width {w}" if names.count(n) > 1 and w else n for n, w in zip(names, widths, strict=True)]
