"""Checks by training: what networks of the paper's kind learn, from how many samples, beside their own kernels."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from isthmus._core.seeds import Seed
from isthmus.claims import Evidence, fit_rate
from isthmus.claims.claim import ScaleName
from isthmus.learning.kernel_learners import ClosedKernelLearner, ConjugateKernelLearner, TangentKernelLearner
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
from isthmus.papers.allenzhu2018.structure import Bilinear
from isthmus.training import train
from isthmus.training.ensemble import Schedule

_SEEDS = 5
_TESTS = 1000
_PARITY = Standardized(BooleanFunction([[0, 1, 2, 3, 4]], 20))
_LEARNED = 0.1
_SETTINGS = {"smoke": (400, 50, 60), "desk": (1000, 100, 300), "paper": (1000, 2000, 800)}


def _learner(depth: int, width: int, rate: float, epochs: int, batch: int = 25) -> NetworkLearner:
    return NetworkLearner(depth, width, grid=Grid((rate,), (0.0,)), schedule=Schedule(epochs, batch))


def _samples(target: Target, count: int, seed: Seed) -> tuple[np.ndarray, np.ndarray]:
    drawn = [target.sample(count, seed.child("train", index)) for index in range(_SEEDS)]
    return np.stack([x.numpy() for x, _ in drawn]), np.stack([y.numpy() for _, y in drawn])


def _errors(target: Target, fitted: Sequence[Fitted], seed: Seed) -> np.ndarray:
    """Normalized test errors, one for each seed; training and test samples come from different streams."""
    x, y = (tensor.numpy() for tensor in target.sample(_TESTS, seed.child("test")))
    return np.array([np.square(one.predict(x) - y).mean() / y.var() for one in fitted])


def _trained(target: Target, learner: NetworkLearner, count: int, seed: Seed) -> np.ndarray:
    return _errors(target, learner.fit_seeds(*_samples(target, count, seed), seed=seed.child("net")), seed)


def _class_evidence(depth: int, target: Target, rate: float, scale: ScaleName, seed: Seed) -> Evidence:
    learner = _learner(depth, 100 if depth == 2 else 50, rate, 60 if scale == "smoke" else 400)
    values = _trained(target, learner, 300, seed)
    return Evidence.over_seeds(
        values,
        quantity=f"normalized test error of a {depth}-layer network, hidden weights trained, 300 samples",
        predicted="small",
        threshold=_LEARNED,
        reason="a tenth of the target's variance; 1 is learning nothing",
    )


def check_two_layer(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A wide two-layer network learns a two-layer teacher of three smooth units."""
    return _class_evidence(2, Standardized(TwoLayerTeacher()), 1.0, scale, seed)


def control_two_layer(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A parity of five coordinates among twenty, far from the class at this number of samples."""
    return _class_evidence(2, _PARITY, 0.1, scale, seed)


def check_three_layer(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A wide three-layer network learns a three-layer teacher."""
    return _class_evidence(3, Standardized(ThreeLayerTeacher()), 0.3, scale, seed)


def control_three_layer(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The parity."""
    return _class_evidence(3, _PARITY, 0.1, scale, seed)


def _steps_evidence(target: Target, rate: float, scale: ScaleName, seed: Seed) -> Evidence:
    epochs = np.array((2, 5, 12, 30) if scale == "smoke" else (2, 5, 12, 30, 75))
    measured = np.stack([_trained(target, _learner(3, 50, rate, int(count)), 300, seed) for count in epochs], axis=1)
    steps = epochs * 12.0
    fitted = fit_rate(steps, measured)
    return Evidence(
        quantity="exponent of the test error in the number of SGD steps",
        predicted="-1/2 or below, the theory's steps of order 1/error^2",
        estimate=fitted.slope,
        interval=fitted.interval,
        threshold=-0.5,
        reason="the two-layer theorem's shape; the range measured is far from any asymptotics",
        exact=False,
        axis=steps,
        axis_name="SGD steps",
        measured=measured,
        measured_name="normalized test error",
    )


def check_steps(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Polynomially many steps suffice on the class."""
    return _steps_evidence(Standardized(ThreeLayerTeacher()), 0.3, scale, seed)


def control_steps(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """On the parity more steps do not help."""
    return _steps_evidence(_PARITY, 0.1, scale, seed)


def _width_evidence(parameters: np.ndarray, measured: np.ndarray) -> Evidence:
    fitted = fit_rate(parameters, measured)
    return Evidence(
        quantity="exponent of the test error in the number of trained parameters, samples fixed",
        predicted="0 or below: the error does not grow with the number of parameters",
        estimate=fitted.slope,
        interval=fitted.interval,
        threshold=0.1,
        reason="near 0 on a log-log scale",
        exact=False,
        axis=parameters,
        axis_name="trained parameters",
        measured=measured,
        measured_name="normalized test error",
    )


def check_width(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Three-layer networks of growing width on the same samples."""
    widths = (20, 40, 80, 160) if scale == "smoke" else (20, 40, 80, 160, 320)
    columns = [_trained(Composite(), _learner(3, width, 0.5, 40, 50), 400, seed) for width in widths]
    parameters = np.array([width * (4 + width) for width in widths], dtype=np.float64)
    return _width_evidence(parameters, np.stack(columns, axis=1))


def control_width(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Unregularized least squares on random features towards as many features as samples, labels as noisy as their signal."""
    count, widths = 400, (100, 200, 300, 390)
    x, y = _samples(Composite(), count, seed)
    y = y + y.std() * seed.child("noise").numpy().normal(size=y.shape)
    z, truth = (tensor.numpy() for tensor in Composite().sample(_TESTS, seed.child("test")))
    measured = np.empty((_SEEDS, len(widths)))
    for index in range(_SEEDS):
        for column, width in enumerate(widths):
            weights = seed.child("features", index, width).numpy().normal(size=(5, width))
            train_rows, test_rows = (np.maximum(np.c_[points, np.ones(len(points))] @ weights, 0) for points in (x[index], z))
            solution = np.linalg.lstsq(train_rows, y[index], rcond=None)[0]
            measured[index, column] = np.square(test_rows @ solution - truth).mean() / truth.var()
    return _width_evidence(np.array(widths, dtype=np.float64), measured)


def _beyond_evidence(target: Target, rate: float, scale: ScaleName, seed: Seed) -> Evidence:
    count, width, epochs = _SETTINGS[scale]
    network = _trained(target, _learner(3, width, rate, epochs, 50), count, seed)
    x, y = _samples(target, count, seed)
    kernels: list[Learner] = [TangentKernelLearner(3, width), ConjugateKernelLearner(3, width), TangentKernelLearner(2, width)]
    if scale != "smoke":
        kernels += [ClosedKernelLearner(), ClosedKernelLearner.infinite_width(3)]
    fitted = [[kernel.fit(x[i], y[i], seed=seed.child("kernel", i)) for i in range(_SEEDS)] for kernel in kernels]
    best = np.min([_errors(target, row, seed) for row in fitted], axis=0)
    names = ", ".join(kernel.name for kernel in kernels)
    return Evidence.over_seeds(
        np.log10(network / best),
        quantity=f"log10 of the test error of a three-layer network over that of the best kernel ({names}), {count} samples, width {width}",
        predicted="well below 0",
        threshold=-0.15,
        reason="the kernel's error times 0.7: a clear margin on the same samples",
    )


def check_beyond(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The composite target of the paper's experiments."""
    return _beyond_evidence(Composite(), 0.5, scale, seed)


def control_beyond(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A linear target, which every kernel learns."""
    return _beyond_evidence(Standardized(LinearTarget()), 0.05, scale, seed)


def _escape_evidence(noise: float, scale: ScaleName, seed: Seed) -> Evidence:
    ratios, steps = [], 300 if scale == "smoke" else 2000
    for index in range(_SEEDS):
        here = seed.child(index)
        network = PseudoNetwork.of(relu_net(4, 12, 1, 3, seed=here).double())
        x = gaussian((50, 4), here.child("x"), torch.float64)
        problem = Problem(Bilinear(network), x, gaussian((50, 1), here.child("y"), torch.float64), nn.MSELoss())
        recipe = NoisySgd(0.02, Switches(noise=noise), seed=here.child("noise"))
        run = train(problem, recipe, steps=steps, batch=50, seed=here, checkpoints=())
        ratios.append(evaluate(run.problem_at(steps)).loss / evaluate(problem).loss)
    return Evidence.over_seeds(
        np.array(ratios),
        quantity=f"training loss of the bilinear objective after {steps} steps of noisy gradient descent, over that at the start",
        predicted="below 1",
        threshold=0.95,
        reason="1 is staying at the saddle",
    )


def check_escape(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Noise finds the negative curvature."""
    return _escape_evidence(0.05, scale, seed)


def control_escape(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Plain gradient descent, whose gradient at the start is zero."""
    return _escape_evidence(0.0, scale, seed)
