"""Training the linearized network instead: children of the tangent model at each time, on the budget that remains."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from isthmus._core.errors import HypothesisError, NumericalError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature import ggn_operator
from isthmus.linops.eigen import top_eigenpairs
from isthmus.model.data import Sgd
from isthmus.model.evaluation import evaluate
from isthmus.model.network import Network
from isthmus.model.problem import Problem, provenance
from isthmus.model.taylor import taylor_model
from isthmus.results.evolution import LinearizedChildren
from isthmus.results.provenance import Cost
from isthmus.training import train
from isthmus.training.trajectory import Trajectory

_RATE_SAMPLES = 500
_MOMENTUM = 0.9
#: bound on n times the loss's second derivative in an output, for c outputs
_OUTPUT_CURVATURE: dict[str, Callable[[int], float]] = {"cross_entropy": lambda c: 0.5, "mse_entries": lambda c: 2.0 / c}


LOSSES = tuple(_OUTPUT_CURVATURE)


def linearized_children(
    trajectory: Trajectory,
    *,
    steps: Sequence[int],
    rates: Sequence[float] = (1.0,),
    batch: int = 50,
    seed: Seed | int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> LinearizedChildren:
    """The network linearized at each checkpoint, trained for the steps that remain, against the network itself.

    SGD with fresh momentum 0.9 throughout. ``linear_error`` and ``centered_error`` are trained at ``1 / (2 L)``, L the
    largest curvature of the linear model's loss; the nonlinear advantage compares both at the same rate. A budget mixes
    the quality of a kernel with how fast it converges: read it beside `after_kernel`, and beside the training error.

    Args:
        trajectory: the run; the problem needs test data.
        steps: checkpoints at which the network is linearized.
        rates: multiples of the run's own learning rate at which both are compared.
        batch: samples a step.
        seed: names the order of the batches, the same for all children of a checkpoint.
        tell: told (done, total).

    Raises:
        HypothesisError: the loss has no known bound on its curvature in the outputs.
        InputError: the problem has no test data.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    rows = []
    for index, step in enumerate(steps):
        if tell is not None:
            tell(index, len(steps))
        rows.append(_at(trajectory, step, rates, batch, seed.child("linear", step)))
    return LinearizedChildren(
        step=np.array(steps),
        epoch=np.array(steps) / trajectory.steps_per_epoch,
        **{name: np.array([row[name] for row in rows]) for name in rows[0]},
        status=Status.EXACT,
        method=f"SGD, momentum {_MOMENTUM}, batches of {batch}, for the steps that remain; the linearized network by forward mode",
        error="one run each",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(trajectory.problem_at(steps[-1]), seed),
    )


def _at(trajectory: Trajectory, step: int, rates: Sequence[float], batch: int, seed: Seed) -> dict[str, object]:
    anchor, left = trajectory.problem_at(step), trajectory.steps[-1] - step
    groups = trajectory.checkpoint(step).param_groups
    own = float(groups[0].get("lr", np.nan)) if groups else float("nan")
    straight, centered = (anchor.with_network(Network(taylor_model(anchor.network, 1, centered=kind))) for kind in (False, True))
    rate = linear_rate(anchor, seed)
    error, train_error = _child(straight, rate, left, batch, seed)
    compared = np.array([factor * own for factor in rates])
    children = np.array([_child(anchor, r, left, batch, seed)[0] for r in compared])
    return {
        "linear_rate": rate,
        "linear_error": error,
        "linear_train_error": train_error,
        "centered_error": _child(centered, rate, left, batch, seed)[0],
        "rate": compared,
        "advantage": np.array([_child(straight, r, left, batch, seed)[0] for r in compared]) - children,
        "child_error": children,
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
