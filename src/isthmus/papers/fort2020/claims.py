"""Claims about the tangent kernel and its motion."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.errors import UnsupportedLayer
from isthmus._core.numerics import tolerance
from isthmus._core.seeds import Seed
from isthmus.claims import Claim, Evidence, Hypothesis, fit_rate
from isthmus.claims.claim import ScaleName
from isthmus.kernel import empirical_ntk, kernel_distance
from isthmus.model.data import Sgd
from isthmus.model.problem import Problem
from isthmus.model.surgery import permute_units
from isthmus.model.units import UnitGroup, exchangeable_units
from isthmus.model.zoo import Scaling, ntk_mlp
from isthmus.papers.fort2020 import training
from isthmus.training import train

_WIDTHS = {"smoke": (64, 128, 256, 512), "desk": (64, 128, 256, 512, 1024), "paper": (64, 128, 256, 512, 1024, 2048, 4096)}
_SEEDS = {"smoke": 4, "desk": 6, "paper": 10}
_SAMPLES = {"smoke": 30, "desk": 60, "paper": 100}
_STEPS = 60
_OUTPUTS = 3
_SLOPE_LINE = -0.25


def _groups(problem: Problem) -> list[UnitGroup]:
    try:
        return [group for group in exchangeable_units(problem) if group.size > 1]
    except UnsupportedLayer:
        return []


def _permutation_evidence(problem: Problem, scale: ScaleName, seed: Seed, tensors: str) -> Evidence:
    few = problem.subset(slice(0, 10 if scale == "smoke" else 40)).to(torch.float64)
    groups = _groups(few)
    before = empirical_ntk(few.network, few.inputs, outputs="trace").kernel
    changes = []
    for index, group in enumerate(groups):
        order = _not_identity(group.size, seed.child(index))
        moved = permute_units(few.network, group, order, tensors="all" if tensors == "all" else "incoming")
        after = empirical_ntk(moved, few.inputs, outputs="trace").kernel
        changes.append(float(np.abs(after - before).max() / np.abs(before).max()))
    worst = max(changes)
    return Evidence(
        quantity="largest change of a kernel entry, relative to the largest entry, over all layers' units",
        predicted="0",
        estimate=worst,
        interval=(worst, worst),
        threshold=tolerance("float64", terms=max(group.size for group in groups), depth=4 * len(groups)),
        reason="rounding of float64 sums over the units",
        exact=True,
        axis=np.arange(1.0, len(groups) + 1),
        measured=np.array([changes]),
    )


def _not_identity(size: int, seed: Seed) -> Tensor:
    """A random cyclic shift of a random order: no unit stays where it was."""
    generator = seed.numpy()
    order = generator.permutation(size)
    shift = np.empty(size, dtype=np.int64)
    shift[order] = np.roll(order, 1)
    return torch.from_numpy(shift)


def check_permutation(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Permute all tensors of the units of each layer; the kernel must not change."""
    return _permutation_evidence(problem, scale, seed, "all")


def control_permutation(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Permute the incoming tensors only: another function, another kernel."""
    return _permutation_evidence(problem, scale, seed, "incoming")


def _motion(problem: Problem, width: int, scaling: Scaling, seed: Seed) -> float:
    """``|K_T - K_0| / |K_0|`` after full-batch gradient descent with ``lr = n c / (4 lambda_max(K_0))``."""
    inputs, targets = problem.inputs, problem.targets
    net = ntk_mlp(inputs.shape[1], width, targets.shape[1], seed=seed, scaling=scaling, activation="tanh")
    student = Problem(net, inputs, targets, nn.MSELoss(), dtype=torch.float64)
    before = empirical_ntk(student.network, inputs)
    largest = float(np.linalg.eigvalsh(before.matrix)[-1])
    rate = 0.25 * targets.numel() / largest
    run = train(student, Sgd(lr=rate, momentum=0.0), steps=_STEPS, batch=len(inputs), checkpoints=(), seed=seed)
    after = empirical_ntk(run.problem_at(_STEPS).network, inputs)
    return kernel_distance(before, after).relative_change


def _width_evidence(problem: Problem, scale: ScaleName, seed: Seed, scaling: Scaling) -> Evidence:
    data = _vector_data(problem, _SAMPLES[scale])
    widths = np.array(_WIDTHS[scale], dtype=np.float64)
    measured = np.array(
        [
            [_motion(data, int(width), scaling, seed.child("seed", i, "width", int(width))) for width in widths]
            for i in range(_SEEDS[scale])
        ]
    )
    rate = fit_rate(widths, measured)
    return Evidence(
        quantity="exponent of |K_T - K_0| / |K_0| in the width",
        predicted="-1/2 or below in NTK parametrization, 0 in mean-field scaling",
        estimate=rate.slope,
        interval=rate.interval,
        threshold=_SLOPE_LINE,
        reason="halfway between -1/2 and no dependence on the width",
        exact=False,
        axis=widths,
        axis_name="width",
        measured=measured,
        measured_name="relative kernel change |K_T - K_0| / |K_0|",
    )


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


def check_width(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Two-layer tanh networks in NTK parametrization on the problem's data: the kernel moves less as they widen."""
    return _width_evidence(problem, scale, seed, "ntk")


def control_width(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The same in mean-field scaling, trained for the same kernel time: the kernel moves as much at every width."""
    return _width_evidence(problem, scale, seed, "mean_field")


_TRAINABLE = (
    Hypothesis("the inputs are real numbers", lambda problem: problem.inputs.is_floating_point()),
    Hypothesis(
        "fresh parameters can be drawn, and there are at least 50 samples and at most 200,000 parameters",
        training.can_start_again,
    ),
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="permutation_invariant_kernel",
        kind="exact",
        statement="Permuting the hidden units of a layer, incoming and outgoing tensors together, leaves the tangent kernel unchanged.",
        source="derived here",
        hypotheses=(Hypothesis("the traced network has a layer of exchangeable units", lambda problem: bool(_groups(problem))),),
        check=check_permutation,
        control=control_permutation,
    ),
    Claim(
        id="kernel_motion_shrinks_with_width",
        kind="asymptotic",
        statement="In NTK parametrization the relative change of the tangent kernel over training shrinks with the width; two-layer "
        "networks on this problem's inputs, fitted over widths.",
        source="derived here; sharpens the abstract's statement that wide networks at suitable initialization follow their "
        "linear expansion",
        hypotheses=(
            Hypothesis("the inputs are real vectors", lambda problem: problem.inputs.is_floating_point()),
            Hypothesis("there are at least 8 samples", lambda problem: problem.samples >= 8),
            Hypothesis("an input has at most 4096 entries", lambda problem: math.prod(problem.inputs.shape[1:]) <= 4096),
        ),
        check=check_width,
        control=control_width,
    ),
    Claim(
        id="standard_training_diverges",
        kind="statistical",
        statement="Standard training leaves the linear expansion: this architecture, trained from fresh starts on these data with SGD "
        "(rate 0.05, momentum 0.9), ends elsewhere than its tangent model trained alike.",
        source="the paper's abstract; the measure and the line are ours",
        hypotheses=(*_TRAINABLE, Hypothesis("no layer behaves otherwise in training", training.same_in_training)),
        check=training.check_diverges,
        control=training.control_diverges,
    ),
)
