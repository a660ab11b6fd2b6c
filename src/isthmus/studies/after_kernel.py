"""How good a learner the tangent kernel of each time is, against the network."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.kernel import KernelSpectrum, empirical_ntk
from isthmus.model.evaluation import evaluate
from isthmus.model.problem import Problem, provenance
from isthmus.results.evolution import AfterKernel
from isthmus.results.provenance import Cost
from isthmus.training.trajectory import Trajectory


def after_kernel(
    trajectory: Trajectory,
    *,
    steps: Sequence[int],
    samples: int = 2000,
    seed: Seed | int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> AfterKernel:
    """The kernel of each time as a learner, solved: its answer depends on no budget.

    Ridge regression with the sum-over-outputs kernel, ``K(x, X) (K + n l I)^-1 Y``, Y one-hot minus 1/classes, the ridge
    chosen by KARE on the training examples alone.

    Args:
        trajectory: the run; the problem needs test data.
        steps: checkpoints whose kernel is solved.
        samples: training examples behind the kernel, drawn once.
        seed: names the draw.
        tell: told (done, total).

    Raises:
        InputError: the problem has no test data.
    """
    started, seed, problem = time.perf_counter(), as_seed(seed), trajectory.problem
    if problem.test_inputs is None:
        raise InputError("How well a kernel learns is measured on test data. Pass test=(inputs, targets) to Problem.")
    rows = torch.from_numpy(seed.child("samples").numpy().permutation(problem.samples)[:samples])
    solved = []
    for index, step in enumerate(steps):
        if tell is not None:
            tell(index, len(steps))
        solved.append(_solved(trajectory.problem_at(step), rows))
    columns = {name: np.array([row[name] for row in solved]) for name in solved[0]}
    epoch, last = np.array(steps) / trajectory.steps_per_epoch, trajectory.problem_at(trajectory.steps[-1])
    final, tests = evaluate(last, data="test").error, len(problem.test_inputs)
    return AfterKernel(
        step=np.array(steps),
        epoch=epoch,
        **columns,
        final_error=final,
        samples=len(rows),
        test_samples=tests,
        factor=_factor(epoch, columns["solved_error"]),
        match=_match(np.array(steps) / trajectory.steps[-1], columns["solved_error"], final, tests),
        status=Status.EXACT,
        method=f"ridge regression with the sum-over-outputs tangent kernel on {len(rows)} training examples, ridge by KARE",
        error=f"binomial over {tests} test examples; one run",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(last, seed),
    )


def _solved(problem: Problem, rows: Tensor) -> dict[str, float]:
    exact = problem.to(torch.float64)
    inputs, test_inputs = exact.inputs[rows], exact.test_inputs
    assert test_inputs is not None and exact.test_targets is not None
    targets, test_targets = _columns(exact, exact.targets[rows]), _columns(exact, exact.test_targets)
    spectrum = KernelSpectrum(empirical_ntk(exact.network, inputs, outputs="trace", verify=False))
    cross = empirical_ntk(exact.network, test_inputs, inputs, outputs="trace", verify=False).matrix
    fit = spectrum.ridge(targets)
    predicted = fit.predict(cross)
    found = {
        "solved_error": _wrong(exact, predicted),
        "solved_squared": float(((predicted - test_targets) ** 2).sum(1).mean()),
        "offset_squared": float("nan"),
        "ridge": float(fit.ridge or 0.0) * len(rows) / spectrum.scale,
        "at_edge": bool(fit.choice and fit.choice.at_edge),
        "network_error": evaluate(problem, data="test").error,
    }
    if not exact.loss.classes:
        start, test_start = (exact.network(x).cpu().numpy() for x in (inputs, test_inputs))
        moved = test_start + spectrum.ridge(targets - start).predict(cross)
        found["offset_squared"] = float(((moved - test_targets) ** 2).sum(1).mean())
    return found


def _columns(problem: Problem, targets: Tensor) -> np.ndarray:
    """Targets as real columns: one-hot minus 1/classes, or the targets themselves."""
    if problem.classification:
        codes = nn.functional.one_hot(targets.reshape(-1), problem.outputs).double() - 1 / problem.outputs
        return codes.cpu().numpy()
    return targets.reshape(len(targets), -1).double().cpu().numpy()


def _wrong(problem: Problem, predicted: np.ndarray) -> float:
    if not problem.classification or problem.test_targets is None:
        return float("nan")
    return float((predicted.argmax(1) != problem.test_targets.reshape(-1).cpu().numpy()).mean())


def _factor(epoch: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """The largest factor by which a later kernel beats the first, and when."""
    if np.isnan(error).any() or len(error) == 0:
        return float("nan"), float("nan")
    ratio = error[0] / np.maximum(error, 1e-12)
    best = int(ratio.argmax())
    return float(ratio[best]), float(epoch[best])


def _match(share: np.ndarray, error: np.ndarray, final: float, tests: int) -> tuple[float, float, float]:
    """The first share of training at which the kernel's error is at most the network's final one, with its interval."""
    if np.isnan(final) or np.isnan(error).any():
        return float("nan"), float("nan"), float("nan")
    slack = 2 * np.sqrt(max(final * (1 - final), 1 / tests) / tests)
    first = [np.flatnonzero(error <= final + shift) for shift in (0.0, slack, -slack)]
    middle, low, high = (float(share[hits[0]]) if hits.size else float("nan") for hits in first)
    return middle, low, high
