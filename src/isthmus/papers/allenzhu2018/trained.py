"""Checks by training: what networks of the paper's kind learn, from how many samples, beside their own kernels.

Every network chooses its learning rate on held-out training samples and is trained again on all of them; ridges are chosen
by KARE. At smoke scale the checks that train many networks (rates over sizes, three models) take one rate in the middle of the
grid for all, so that nothing is chosen. No test sample takes part in any choice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from isthmus._core.seeds import Seed
from isthmus.claims import Evidence
from isthmus.claims.claim import ScaleName
from isthmus.learning.kernel_learners import (
    ClosedKernelLearner,
    ConjugateKernelLearner,
    TangentKernelLearner,
)
from isthmus.learning.learners import Fitted, Grid, Learner, NetworkLearner
from isthmus.learning.mixing import NoisySgd, Switches
from isthmus.learning.pseudo import PseudoNetwork
from isthmus.learning.targets import (
    BooleanFunction,
    Composite,
    LinearTarget,
    Standardized,
    Target,
    ThreeLayerTeacher,
    TwoLayerTeacher,
)
from isthmus.linops.random import gaussian
from isthmus.model.evaluation import evaluate
from isthmus.model.problem import Problem
from isthmus.model.zoo import relu_net
from isthmus.papers.allenzhu2018.measured import rate
from isthmus.papers.allenzhu2018.structure import Bilinear
from isthmus.studies.learning_curves import learning_curves
from isthmus.training import train
from isthmus.training.ensemble import Schedule

_SEEDS = {"smoke": 5, "desk": 5, "paper": 10}
_TESTS = {"smoke": 1000, "desk": 4000, "paper": 10_000}
_RATES = {"smoke": (0.3, 1.0), "desk": (0.1, 0.3, 1.0, 3.0), "paper": (0.1, 0.3, 1.0, 3.0)}
_MIDDLE = 0.5
_EPS = 0.1
_EPS_WORDS = "eps of the statement, chosen here: a tenth of the target's variance"
_TWO, _THREE = Standardized(TwoLayerTeacher()), Standardized(ThreeLayerTeacher())
_STAIRCASE = Standardized(BooleanFunction.staircase(3, 20))
_PARITY = Standardized(BooleanFunction([list(range(7))], 20))
_LINEAR = Standardized(LinearTarget())
_NMSE = "normalized test error"


def _network(scale: ScaleName, depth: int, width: int, epochs: int, *, batch: int = 25) -> NetworkLearner:
    return NetworkLearner(depth, width, grid=Grid(_RATES[scale], (0.0,)), schedule=Schedule(epochs, batch))


def _one_of_many(scale: ScaleName, width: int, epochs: int, *, batch: int = 25, order: int | None = None) -> NetworkLearner:
    """A three-layer learner of a check that trains many."""
    rates = (_MIDDLE,) if scale == "smoke" else _RATES[scale]
    return NetworkLearner(3, width, order=order, grid=Grid(rates, (0.0,)), schedule=Schedule(epochs, batch))


def _errors(target: Target, learners: Sequence[Learner], samples: Sequence[int], scale: ScaleName, seed: Seed) -> np.ndarray:
    """Normalized test errors ``(learner, seed, N)``; training and test samples come from different streams."""
    found = learning_curves(target, learners, samples, seeds=_SEEDS[scale], test_samples=_TESTS[scale], seed=seed)
    return found.test_error


def _learned(target: Target, learner: Learner, scale: ScaleName, seed: Seed) -> Evidence:
    """Test error of one learner on 300 samples; OPT is 0, for the targets of a class lie in it."""
    values = _errors(target, [learner], [300], scale, seed)[0, :, 0]
    return Evidence.over_seeds(
        values,
        quantity=f"normalized test error on 300 samples, {learner.name}",
        predicted="OPT + eps with OPT = 0",
        threshold=_EPS,
        reason=_EPS_WORDS,
    )


def check_two_layer(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A wide two-layer network learns a two-layer teacher of three smooth units."""
    return _learned(_TWO, _network(scale, 2, 100, 50 if scale == "smoke" else 400), scale, seed)


def control_two_layer(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A linear model in the network's place."""
    return _learned(_TWO, ClosedKernelLearner.linear(), scale, seed)


def check_three_layer(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A wide three-layer network learns a three-layer teacher."""
    return _learned(_THREE, _network(scale, 3, 50, 30 if scale == "smoke" else 400), scale, seed)


def control_three_layer(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A linear model in the network's place."""
    return _learned(_THREE, ClosedKernelLearner.linear(), scale, seed)


def _steps(target: Target, scale: ScaleName, seed: Seed) -> Evidence:
    epochs = np.array((2, 5, 12, 30) if scale == "smoke" else (2, 5, 12, 30, 75))
    learners = [_one_of_many(scale, 40, int(count)) for count in epochs]
    return rate(
        "exponent of the test error in the number of SGD steps, 300 samples",
        "-1/2 or below: steps of order 1/error^2",
        epochs * 12.0,
        _errors(target, learners, [300], scale, seed)[:, :, 0].T,
        -0.5,
        "the exponent that the statement's number of steps implies; the range measured is far from any asymptotics",
        names=("SGD steps", _NMSE),
    )


def check_steps(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Polynomially many steps suffice on the class."""
    return _steps(_THREE, scale, seed)


def control_steps(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A parity of seven coordinates among twenty: more steps do not help at this number of samples."""
    return _steps(_PARITY, scale, seed)


def _samples(target: Target, scale: ScaleName, seed: Seed) -> Evidence:
    counts, seen = ((40, 80, 160, 320), 4800) if scale == "smoke" else ((40, 80, 160, 320, 640), 38_400)
    learners = {count: _one_of_many(scale, 40, seen // count, batch=10) for count in counts}
    measured = np.stack([_errors(target, [learner], [count], scale, seed)[0, :, 0] for count, learner in learners.items()])
    measured = np.minimum(
        measured, 1.0
    )  # the mean predicts as well; on a parity a network that died may be far worse off its samples
    return rate(
        "exponent of the test error (at most 1) in the number of samples, as many steps at each",
        "-1/2 or below: samples of order 1/error^2",
        np.array(counts),
        measured.T,
        -0.5,
        "the exponent that the statement's number of samples implies; the range measured is far from any asymptotics",
        names=("training samples", _NMSE),
    )


def check_samples(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Polynomially many samples suffice on the class."""
    return _samples(_THREE, scale, seed)


def control_samples(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The parity."""
    return _samples(_PARITY, scale, seed)


def _widths(target: Target, learners: Sequence[Learner], widths: Sequence[int], scale: ScaleName, seed: Seed) -> Evidence:
    count, parameters = 400, np.array([width * (4 + width) for width in widths], dtype=np.float64)
    growth = math.log(math.log(widths[-1]) / math.log(widths[0])) / math.log(parameters[-1] / parameters[0])
    return rate(
        "exponent of the test error in the number of trained parameters, 400 samples",
        "0 or below: the error does not grow with the number of parameters",
        parameters,
        _errors(target, learners, [count], scale, seed)[:, :, 0].T,
        growth,
        "what one factor log m adds over these widths; the statement's samples grow polylogarithmically in m",
        names=("trained parameters", _NMSE),
    )


def check_width(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Three-layer networks of growing width on the same samples."""
    widths, epochs = ((8, 16, 32, 64), 30) if scale == "smoke" else ((10, 20, 40, 80, 160), 150)
    return _widths(Composite(), [_one_of_many(scale, width, epochs, batch=50) for width in widths], widths, scale, seed)


@dataclass(frozen=True)
class _Interpolator(Learner):
    """Least squares without ridge on random ReLU features, labels made as noisy as their signal: overfits near one feature a sample."""

    features: int

    @property
    def name(self) -> str:
        return "unregularized random features"

    @property
    def words(self) -> str:
        return f"{self.features} random ReLU features, least squares without ridge, labels with noise of the size of the signal"

    def fit(
        self, inputs: np.ndarray, targets: np.ndarray, *, seed: Seed, oracle: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Fitted:
        weights = seed.child("features").numpy().normal(size=(inputs.shape[1] + 1, self.features))
        noisy = targets + targets.std() * seed.child("noise").numpy().normal(size=targets.shape)

        def rows(points: np.ndarray) -> np.ndarray:
            return np.maximum(np.c_[points, np.ones(len(points))] @ weights, 0)

        solution = np.linalg.lstsq(rows(inputs), noisy, rcond=None)[0]
        return Fitted(lambda points: rows(points) @ solution, {}, "nothing to choose", self.features)


def control_width(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A model whose error grows with its size: unregularized, towards as many features as samples, on noisy labels."""
    widths = (8, 12, 15, 17)
    return _widths(Composite(), [_Interpolator(width * (4 + width)) for width in widths], widths, scale, seed)


def _beyond(
    target: Target, kernels: Sequence[Learner], learner: NetworkLearner, count: int, scale: ScaleName, seed: Seed
) -> Evidence:
    errors = _errors(target, [learner, *kernels], [count], scale, seed)[:, :, 0]
    names = ", ".join(kernel.name for kernel in kernels)
    return Evidence.over_seeds(
        errors[0] - errors[1:].min(axis=0),
        quantity=f"test error of a {learner.name} of width {learner.width} minus that of the best kernel ({names}), {count} samples",
        predicted="far below 0: an error that the kernels do not reach",
        threshold=-_EPS,
        reason=f"a gain above the {_EPS_WORDS}",
    )


def _own_kernels(target: Target, scale: ScaleName, seed: Seed) -> Evidence:
    count, width, epochs = {"smoke": (300, 50, 40), "desk": (1000, 100, 300), "paper": (1000, 2000, 800)}[scale]
    kernels = [TangentKernelLearner(3, width), ConjugateKernelLearner(3, width), TangentKernelLearner(2, width)]
    return _beyond(target, kernels, _network(scale, 3, width, epochs, batch=50), count, scale, seed)


def check_beyond(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The composite target of the paper's experiments."""
    return _own_kernels(Composite(), scale, seed)


def control_beyond(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A linear target, which every kernel learns."""
    return _own_kernels(_LINEAR, scale, seed)


def _all_kernels(target: Target, scale: ScaleName, seed: Seed) -> Evidence:
    count, width, epochs = {"smoke": (300, 40, 25), "desk": (1000, 100, 200), "paper": (4000, 1000, 400)}[scale]
    kernels: list[Learner] = [TangentKernelLearner(3, width), ClosedKernelLearner(), ClosedKernelLearner.infinite_width(3)]
    return _beyond(target, kernels, _network(scale, 3, width, epochs), count, scale, seed)


def check_staircase(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """``x0 + x0 x1 + x0 x1 x2`` among twenty signs: few coordinates matter, and a network finds them."""
    return _all_kernels(_STAIRCASE, scale, seed)


def control_staircase(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The composite target in four dimensions: within reach of a Gaussian kernel."""
    return _all_kernels(Composite(), scale, seed)


def _between(target: Target, scale: ScaleName, size: tuple[int, int, int], seed: Seed) -> Evidence:
    count, width, epochs = size
    learners = [_one_of_many(scale, width, epochs, batch=50, order=order) for order in (None, 2, 1)]
    network, quadratic, linear = _errors(target, learners, [count], scale, seed)[:, :, 0]
    return Evidence.over_seeds(
        np.maximum(network - quadratic, quadratic - linear),
        quantity="the larger of two differences of test errors, quadratic minus linear model and network minus quadratic model, "
        f"{count} samples, width {width}",
        predicted="below 0: the quadratic model lies between",
        threshold=-0.02,
        reason="line chosen here: a fiftieth of the target's variance",
    )


def check_between(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Network, quadratic and linear model from the same starts by the same training."""
    size = {"smoke": (400, 40, 40), "desk": (1000, 100, 300), "paper": (1000, 2000, 800)}[scale]
    return _between(Composite(), scale, size, seed)


def control_between(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A linear target, which all three learn from fewer samples."""
    return _between(_LINEAR, scale, (150, 15, 40), seed)


def _escape(noise: float, scale: ScaleName, seed: Seed) -> Evidence:
    ratios, steps = [], 120 if scale == "smoke" else 1000
    for index in range(_SEEDS[scale]):
        here = seed.child(index)
        network = PseudoNetwork.of(relu_net(4, 12, 1, 3, seed=here).double())
        x = gaussian((50, 4), here.child("x"), torch.float64)
        problem = Problem(Bilinear(network), x, gaussian((50, 1), here.child("y"), torch.float64), nn.MSELoss())
        recipe = NoisySgd(0.04, Switches(noise=noise), seed=here.child("noise"))
        run = train(problem, recipe, steps=steps, batch=50, seed=here, checkpoints=())
        ratios.append(evaluate(run.problem_at(steps)).loss / evaluate(problem).loss)
    return Evidence.over_seeds(
        np.array(ratios),
        quantity=f"training loss of the bilinear objective after {steps} steps of noisy gradient descent, over that at the start",
        predicted="below 1",
        threshold=0.99,
        reason="1 is staying at the saddle; the line is chosen here",
    )


def check_escape(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Noise finds the negative curvature."""
    return _escape(0.05, scale, seed)


def control_escape(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Plain gradient descent, whose gradient at the start is zero."""
    return _escape(0.0, scale, seed)
