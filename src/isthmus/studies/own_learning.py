"""Is a person's own network better than its own kernels on equal samples?"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import BudgetError, InputError, NumericalError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.engine.memory import available_bytes
from isthmus.kernel import Auto, KernelSpectrum, empirical_ntk, kernel_ridge
from isthmus.learning.decomposition import examples
from isthmus.model.data import OptimizerFactory
from isthmus.model.network import Network
from isthmus.model.problem import Problem, provenance
from isthmus.results.learning import LearningCurves
from isthmus.results.provenance import Cost
from isthmus.studies.learning_curves import curves_record
from isthmus.training import train
from isthmus.training.trajectory import Trajectory

_FLOPS, _MEMORY_SHARE = 3e11, 0.4
_SELECT, _LEAST = 500, 64
_NAMES = ["this network", "tangent kernel at its start", "last layer at its start", "tangent kernel at its end"]


def own_learning_curves(
    trajectory: Trajectory,
    optimizer: OptimizerFactory,
    *,
    batch: int,
    samples: int = 4000,
    test_samples: int = 1000,
    seeds: int = 3,
    steps: int | None = None,
    seed: Seed | int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> LearningCurves:
    """Train the run's network again on a sixteenth to a half of the samples, beside ridge regression with its own kernels.

    From the run's start, by its own optimizer, on drawn subsets; a seed is a subset with a batch order. The kernels are
    that of the start over all parameters, that over the parameters of the last layer alone, and, for comparison, that of
    the end of the full run (which saw all samples, so it is not counted as fixed). Kernels are summed over outputs; the
    targets are one-hot labels, or as given; the ridge is chosen by KARE on at most 500 of the samples.

    Args:
        trajectory: the run; the problem must have test data, and class labels or a squared loss.
        optimizer: the run's.
        batch: the run's batch size.
        samples: at most this many training samples are used at all; fewer where the kernel would cost more than
            3e11 operations.
        test_samples: at most this many test examples.
        seeds: repetitions.
        steps: optimizer steps of each training; a third of the run's by default, the same at every N.
        seed: names the subsets.
        tell: told (done, total).

    Returns:
        Share of wrong labels, or normalized squared error, with intervals over seeds.

    Raises:
        InputError: the problem has no test data or another kind of targets, or too few samples.
        BudgetError: even 64 samples make too large a kernel.
    """
    started, seed, problem = time.perf_counter(), as_seed(seed), trajectory.problem
    if not comparable(problem):
        raise InputError("The comparison needs test data, and class labels (n,) or a squared loss with targets (n, k).")
    first, last = trajectory.problem_at(trajectory.steps[0]), trajectory.problem_at(trajectory.steps[-1])
    labeled = _labeled(problem, problem.targets)
    count = _affordable(first, min(samples, len(labeled)))
    pool = labeled[torch.from_numpy(seed.child("pool").numpy().permutation(len(labeled))[:count])]
    x, y = problem.inputs[pool], problem.targets[pool]
    z, truth, _ = examples(problem, test_samples, seed.child("test"))
    z, truth = (t[_labeled(problem, truth)] for t in (z, truth))
    networks = [first.network, _last_layer(first.network), last.network]
    kernels = [(_trace(network, x), _trace(network, z, x)) for network in networks]
    sizes = np.array(sorted({max(count // part, 8) for part in (16, 8, 4, 2)}))
    budget = steps or max(1, trajectory.steps[-1] // 3)
    errors, seconds = np.empty((len(_NAMES), seeds, len(sizes))), np.zeros((len(_NAMES), len(sizes)))
    for index in range(seeds):
        order = seed.child("subset", index).numpy().permutation(count)
        for column, size in enumerate(sizes):
            rows = order[:size]
            subset = first.subset(pool[rows].sort().values)
            errors[0, index, column], spent = _timed(
                _trained, subset, optimizer, batch, budget, z, truth, seed.child("train", index, int(size))
            )
            seconds[0, column] += spent
            for row, (gram, cross) in enumerate(kernels, 1):
                errors[row, index, column], spent = _timed(
                    _kernel_error, problem, gram[np.ix_(rows, rows)], cross[:, rows], y[rows], truth
                )
                seconds[row, column] += spent
            if tell is not None:
                tell(index * len(sizes) + column + 1, seeds * len(sizes))
    return curves_record(
        sizes,
        errors,
        kernels=np.array([False, True, True, False]),
        metric="error" if problem.classification else "nmse",
        parameters=np.array([network.size for network in (first.network, *networks)]),
        cpu_seconds=seconds,
        learners=_NAMES,
        words=_words(budget, networks),
        target=problem.name,
        test_samples=len(z),
        oracle=False,
        status=Status.ESTIMATED,
        method=f"subsets of {count} training samples; the network from its own start, {budget} steps of its own optimizer at every N; "
        "kernels by exact ridge regression, summed over outputs, ridge by KARE",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(first, seed),
    )


def comparable(problem: Problem) -> bool:
    """Whether network and kernel ridge regression can be scored alike: labels ``(n,)``, or squared loss with ``(n, k)``."""
    if problem.test_inputs is None or len(_labeled(problem, problem.targets)) < 2 * _LEAST:
        return False
    if problem.classification:
        return problem.targets.ndim == 1
    return problem.loss.name in ("mse_entries", "sum") and problem.targets.ndim == 2


def _labeled(problem: Problem, targets: Tensor) -> Tensor:
    """Rows whose label counts (`ignore_index` of a cross-entropy leaves some out); all rows of a regression."""
    rows = torch.arange(len(targets), device=targets.device)
    return rows[problem.loss.counted(targets)] if problem.classification and targets.ndim == 1 else rows


def _affordable(problem: Problem, count: int) -> int:
    """The number of samples, halved until the kernel fits in operations and memory."""
    while count >= _LEAST:
        plan = Auto().plan(problem.network, problem.inputs[:count], None, "trace")
        if plan.flops <= _FLOPS and plan.bytes + 3 * 8 * count**2 <= _MEMORY_SHARE * available_bytes():
            return count
        count //= 2
    raise BudgetError(
        f"The tangent kernel of {_LEAST} samples would need {plan.flops:.2g} operations; the limit here is {_FLOPS:.2g}."
    )


def _last_layer(network: Network) -> Network:
    """The network with only the last layer's parameters free: its tangent kernel is the last hidden features' kernel."""
    owner = list(network.parameters)[-1].rpartition(".")[0]
    return network.restricted([name for name in network.parameters if name.rpartition(".")[0] == owner])


def _trace(network: Network, inputs: Tensor, others: Tensor | None = None) -> np.ndarray:
    """The kernel in float64: in float32 the small ridges of a low-rank kernel drown in rounding."""
    x, z = (t.double() if t is not None and t.is_floating_point() else t for t in (inputs, others))
    assert x is not None
    return empirical_ntk(network.to(torch.float64), x, z, outputs="trace", verify=others is None).matrix


def _columns(problem: Problem, targets: Tensor) -> np.ndarray:
    if problem.classification:
        return torch.nn.functional.one_hot(targets, problem.outputs).double().cpu().numpy()
    return targets.double().cpu().numpy()


def _kernel_error(problem: Problem, gram: np.ndarray, cross: np.ndarray, targets: Tensor, truth: Tensor) -> float:
    columns, few = _columns(problem, targets), min(len(gram), _SELECT)
    offset = columns.mean(0)
    ridge = KernelSpectrum(gram[:few, :few]).choose(columns[:few] - offset).ridge
    return _test_error(problem, kernel_ridge(gram, columns - offset, ridge).predict(cross) + offset, truth)


def _timed(function: Callable[..., float], *arguments: Any) -> tuple[float, float]:
    """What it returns, and the CPU seconds it took."""
    clock = time.process_time()
    return function(*arguments), time.process_time() - clock


def _trained(
    problem: Problem, optimizer: OptimizerFactory, batch: int, steps: int, inputs: Tensor, truth: Tensor, seed: Seed
) -> float:
    try:
        run = train(problem, optimizer, steps=steps, batch=min(batch, problem.samples), seed=seed, checkpoints=())
    except NumericalError:
        return float("inf")
    return _test_error(problem, run.problem_at(steps).network(inputs).double().cpu().numpy(), truth)


def _test_error(problem: Problem, outputs: np.ndarray, truth: Tensor) -> float:
    if problem.classification:
        return float((outputs.argmax(1) != truth.cpu().numpy()).mean())
    expected = truth.double().cpu().numpy()
    return float(np.square(outputs - expected).sum(1).mean() / expected.var(0).sum())


def _words(steps: int, networks: Sequence[Network]) -> list[str]:
    return [
        f"{steps} steps of the run's own optimizer from the run's start",
        f"kernel over {networks[0].size} parameters at the start",
        f"kernel over the {networks[1].size} parameters of the last layer at the start",
        "kernel over all parameters at the end of the full run, which saw all samples",
    ]
