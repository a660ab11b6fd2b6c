"""How good a learner the tangent kernel of each time is: solved, trained on the same budget, and against the network."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.errors import HypothesisError, InputError, NumericalError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature import ggn_operator
from isthmus.kernel import KernelSpectrum, empirical_ntk
from isthmus.linops.eigen import top_eigenpairs
from isthmus.model.data import Sgd
from isthmus.model.evaluation import evaluate
from isthmus.model.network import Network
from isthmus.model.problem import Problem, provenance
from isthmus.model.taylor import taylor_model
from isthmus.results.evolution import AfterKernel
from isthmus.results.provenance import Cost
from isthmus.training import train
from isthmus.training.trajectory import Trajectory

_RATE_SAMPLES = 500
_MOMENTUM = 0.9
#: largest second derivative of the loss in the outputs, times n: (per sample, per output)
_OUTPUT_CURVATURE = {"cross_entropy": lambda c: 0.5, "mse_entries": lambda c: 2.0 / c}


def after_kernel(
    trajectory: Trajectory,
    *,
    steps: Sequence[int],
    linear_steps: Sequence[int] = (),
    samples: int = 2000,
    batch: int = 50,
    seed: Seed | int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> AfterKernel:
    """The kernel of each time as a learner, solved and trained.

    *Solved*: ridge regression with the sum-over-outputs kernel, ``K(x, X) (K + n l I)^-1 Y`` with Y one-hot minus
    1/classes, the ridge chosen by KARE; the answer does not depend on a budget. *Trained*: the network linearized at
    the checkpoint, trained for the steps that remain with SGD (momentum 0.9) at ``rate = 1 / (2 L)``, L the largest
    curvature of the linear model's loss, and at the network's own rate; the network's own child gets the same budget,
    rate and fresh momentum. Both are reported because a budget mixes the quality of a kernel with how fast it converges.

    Args:
        trajectory: the run; the problem needs test data.
        steps: checkpoints whose kernel is solved.
        linear_steps: checkpoints at which the network is linearized.
        samples: training examples of the solved kernel, drawn once.
        batch: of the trained children.
        seed: names the draws and the order of the children.
        tell: told (done, total).

    Raises:
        InputError: the problem has no test data.
        HypothesisError: linearized children are asked for under a loss whose curvature has no known bound.
    """
    started, seed, problem = time.perf_counter(), as_seed(seed), trajectory.problem
    if problem.test_inputs is None:
        raise InputError("How well a kernel learns is measured on test data. Pass test=(inputs, targets) to Problem.")
    rows = torch.from_numpy(seed.child("samples").numpy().permutation(problem.samples)[:samples])
    total, solved, trained = len(steps) + 4 * len(linear_steps), [], []
    for index, step in enumerate(steps):
        _report(tell, index, total)
        solved.append(_solved(trajectory.problem_at(step), rows))
    for index, step in enumerate(linear_steps):
        _report(tell, len(steps) + 4 * index, total)
        trained.append(_trained(trajectory, step, batch, seed.child("linear", step)))
    columns = {name: np.array([row[name] for row in solved]) for name in solved[0]}
    more = {name: np.array([row[name] for row in trained]) for name in trained[0]} if trained else {}
    epoch, last = np.array(steps) / trajectory.steps_per_epoch, trajectory.problem_at(trajectory.steps[-1])
    final = evaluate(last, data="test").error
    tests = len(problem.test_inputs)
    return AfterKernel(
        step=np.array(steps),
        epoch=epoch,
        **columns,
        linear_step=np.array(linear_steps, dtype=np.int64),
        linear_epoch=np.array(linear_steps, dtype=np.float64) / trajectory.steps_per_epoch,
        **{name: more.get(name, np.empty(0)) for name in _TRAINED},
        final_error=final,
        samples=len(rows),
        test_samples=tests,
        factor=_factor(epoch, columns["solved_error"]),
        match=_match(np.array(steps) / trajectory.steps[-1], columns["solved_error"], final, tests),
        status=Status.EXACT,
        method=f"sum-over-outputs tangent kernel on {len(rows)} training examples, ridge by KARE; linearized children by SGD, "
        f"momentum {_MOMENTUM}, batches of {batch}",
        error=f"binomial over {tests} test examples; one run",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(last, seed),
    )


_TRAINED = ("linear_error", "linear_train_error", "centered_error", "linear_rate", "same_rate_error", "child_error")


def _report(tell: Callable[[int, int], None] | None, done: int, total: int) -> None:
    if tell is not None:
        tell(done, total)


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


def _trained(trajectory: Trajectory, step: int, batch: int, seed: Seed) -> dict[str, float]:
    """Test errors of the children that are trained from a checkpoint to the end of the run."""
    anchor, left = trajectory.problem_at(step), trajectory.steps[-1] - step
    groups = trajectory.checkpoint(step).param_groups
    own = float(groups[0].get("lr", np.nan)) if groups else float("nan")
    rate = linear_rate(anchor, seed)
    straight = {
        centered: anchor.with_network(Network(taylor_model(anchor.network, 1, centered=centered))) for centered in (False, True)
    }
    error, train_error = _child(straight[False], rate, left, batch, seed)
    return {
        "linear_error": error,
        "linear_train_error": train_error,
        "centered_error": _child(straight[True], rate, left, batch, seed)[0],
        "linear_rate": rate,
        "same_rate_error": _child(straight[False], own, left, batch, seed)[0],
        "child_error": _child(anchor, own, left, batch, seed)[0],
    }


def _child(problem: Problem, rate: float, steps: int, batch: int, seed: Seed) -> tuple[float, float]:
    """Test and training error at the end; NaN when the run diverges or the rate is unknown."""
    if not np.isfinite(rate):
        return float("nan"), float("nan")
    try:
        run = train(problem, Sgd(lr=rate, momentum=_MOMENTUM), steps=steps, batch=batch, checkpoints=(), seed=seed)
    except NumericalError:
        return float("nan"), float("nan")
    end = run.problem_at(run.steps[-1])
    return evaluate(end, data="test").error, evaluate(end).error


def linear_rate(problem: Problem, seed: Seed | int = 0) -> float:
    """``1 / (2 L)``, ``L = h lambda_max(J J^T) / n`` the largest curvature of the linearized network's mean loss.

    h bounds the loss's second derivative in the outputs: 1/2 for cross-entropy, 2/c for `mse_entries`. Measured on at
    most 500 training samples.

    Raises:
        HypothesisError: the loss has no known bound.
    """
    if problem.loss.name not in _OUTPUT_CURVATURE:
        raise HypothesisError(
            f"A learning rate for the linearized network needs a bound on the loss's curvature in the outputs; there is one for "
            f"{' and '.join(_OUTPUT_CURVATURE)}, found {problem.loss.name}."
        )
    few = problem.subset(slice(0, _RATE_SAMPLES)).to(torch.float64).eval()
    zeros = torch.zeros_like(few.network.forward(few.network.parameters, few.inputs))
    squares = Problem(few.network, few.inputs, zeros, nn.MSELoss(reduction="sum"))
    largest = float(top_eigenpairs(ggn_operator(squares), 1, rtol=1e-2, seed=as_seed(seed).child("rate")).values[0]) / 2
    return 0.5 * few.samples / (_OUTPUT_CURVATURE[problem.loss.name](problem.outputs) * largest)


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
        return (float("nan"),) * 3
    slack = 2 * np.sqrt(max(final * (1 - final), 1 / tests) / tests)
    first = [np.flatnonzero(error <= final + shift) for shift in (0.0, slack, -slack)]
    middle, low, high = (float(share[hits[0]]) if hits.size else float("nan") for hits in first)
    return middle, low, high
