"""Checks about the lazy limit: two-layer networks in NTK parametrization on the problem's data, over widths."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from isthmus._core.seeds import Seed
from isthmus.claims import Evidence, fit_rate
from isthmus.claims.claim import ScaleName
from isthmus.kernel import empirical_ntk, kernel_distance
from isthmus.model.data import Sgd
from isthmus.model.problem import Problem
from isthmus.model.zoo import Scaling, ntk_mlp
from isthmus.training import train

_WIDTHS = {"smoke": (64, 128, 256, 512), "desk": (64, 128, 256, 512, 1024), "paper": (64, 128, 256, 512, 1024, 2048, 4096)}
_SEEDS = {"smoke": 5, "desk": 6, "paper": 10}
_SAMPLES = {"smoke": 24, "desk": 60, "paper": 100}
_STEPS = {"smoke": 30, "desk": 60, "paper": 60}
_OUTPUTS = 3
_SLOPE_LINE = -0.25


@dataclass(frozen=True)
class _Motion:
    """What one run did.

    Attributes:
        kernel: ``|K_T - K_0| / |K_0|``.
        function: ``|f_T - f_lin| / |f_T - f_0|``.
    """

    kernel: float
    function: float


def _run(problem: Problem, width: int, scaling: Scaling, steps: int, seed: Seed) -> _Motion:
    """Full-batch gradient descent with ``lr = n c / (4 lambda_max(K_0))``, against its linear expansion in closed form.

    The loss is the mean over all entries, so a step of the expansion is ``f <- f - 2 lr K_0 (f - Y) / (n c)``.
    """
    inputs, targets = problem.inputs, problem.targets
    net = ntk_mlp(inputs.shape[1], width, targets.shape[1], seed=seed, scaling=scaling, activation="tanh")
    student = Problem(net, inputs, targets, nn.MSELoss(), dtype=torch.float64)
    before = empirical_ntk(student.network, inputs, verify=False)
    values, vectors = np.linalg.eigh(before.matrix)
    run = train(
        student,
        Sgd(lr=0.25 * targets.numel() / float(values[-1]), momentum=0.0),
        steps=steps,
        batch=len(inputs),
        checkpoints=(),
        seed=seed,
    )
    end = run.problem_at(steps)
    start, moved = (net(inputs).reshape(-1).numpy() for net in (student.network, end.network))
    goal = targets.reshape(-1).numpy()
    straight = goal + vectors @ ((1 - 0.5 * values / values[-1]) ** steps * (vectors.T @ (start - goal)))
    gap = float(np.linalg.norm(moved - straight) / np.linalg.norm(moved - start))
    return _Motion(kernel_distance(before, empirical_ntk(end.network, inputs, verify=False)).relative_change, gap)


def _vector_data(problem: Problem, samples: int) -> Problem:
    """The first samples as unit-variance vectors, with at most three target columns, in float64."""
    count = min(samples, problem.samples)
    inputs = problem.inputs[:count].reshape(count, -1).double()
    inputs = (inputs - inputs.mean()) / inputs.std().clamp_min(1e-12)
    targets = problem.targets[:count]
    if not targets.is_floating_point():
        targets = nn.functional.one_hot(targets.reshape(count, -1)[:, 0] % _OUTPUTS, _OUTPUTS)
    targets = targets.reshape(count, -1)[:, :_OUTPUTS].double()
    return Problem(nn.Linear(inputs.shape[1], targets.shape[1]).double(), inputs, targets, nn.MSELoss())


_QUANTITIES = {
    "kernel": ("|K_T - K_0| / |K_0|", "relative kernel change |K_T - K_0| / |K_0|"),
    "function": ("|f_T - f_lin| / |f_T - f_0|, network against its linear expansion", "distance from the expansion / way gone"),
}


def _evidence(problem: Problem, scale: ScaleName, seed: Seed, scaling: Scaling, what: Literal["kernel", "function"]) -> Evidence:
    """The exponent in the width of one of the numbers of `_Motion`."""
    data, widths = _vector_data(problem, _SAMPLES[scale]), _WIDTHS[scale]
    runs = [
        [_run(data, width, scaling, _STEPS[scale], seed.child("seed", index, "width", width)) for width in widths]
        for index in range(_SEEDS[scale])
    ]
    measured = np.array([[getattr(run, what) for run in row] for row in runs])
    axis = np.array(widths, dtype=np.float64)
    rate = fit_rate(axis, measured)
    quantity, name = _QUANTITIES[what]
    return Evidence(
        quantity=f"exponent of {quantity} in the width",
        predicted="-1/2 or below in NTK parametrization, 0 in mean-field scaling",
        estimate=rate.slope,
        interval=rate.interval,
        threshold=_SLOPE_LINE,
        reason="halfway between -1/2 and no dependence on the width",
        exact=False,
        axis=axis,
        axis_name="width",
        measured=measured,
        measured_name=name,
    )


def check_kernel(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Two-layer tanh networks in NTK parametrization on the problem's data: the kernel moves less as they widen."""
    return _evidence(problem, scale, seed, "ntk", "kernel")


def control_kernel(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The same in mean-field scaling, trained for the same kernel time: the kernel moves as much at every width."""
    return _evidence(problem, scale, seed, "mean_field", "kernel")


def check_function(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Two-layer tanh networks in NTK parametrization at a small rate: training follows the linear expansion."""
    return _evidence(problem, scale, seed, "ntk", "function")


def control_function(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The same in mean-field scaling: the network leaves its expansion by as much at every width."""
    return _evidence(problem, scale, seed, "mean_field", "function")
