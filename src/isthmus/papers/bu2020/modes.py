"""Checks on the modes alone: kernels of random two-layer networks, closed forms, no training of a network."""

import math
from collections.abc import Callable
from itertools import islice

import numpy as np
import torch
from torch import nn

from isthmus._core.errors import IsthmusError
from isthmus._core.numerics import tolerance
from isthmus._core.seeds import Seed
from isthmus.claims import Evidence
from isthmus.claims.claim import ScaleName
from isthmus.dynamics import CanonicalNesterov, QuasiHyperbolic, TorchSgd, TwoMomentum, predict_training, spectrum
from isthmus.dynamics.closed_forms import heavy_ball_ode, nesterov_ode
from isthmus.dynamics.limits import high_resolution_equation, limiting_equation
from isthmus.dynamics.methods import Method
from isthmus.linops.random import gaussian
from isthmus.model.problem import Problem
from isthmus.papers.bu2020.instances import SEEDS, two_layer
from isthmus.papers.bu2020.measures import Table
from isthmus.results.dynamics import Spectrum

_WIDTH = 512
_SCHEDULES = (2.0, 3.0, 4.0, 6.0)
_STEEP = (0.05, 0.1, 0.2, 0.4)
_LONG = 200
_METHODS: tuple[Callable[[float], Method], ...] = (
    lambda lr: TorchSgd(lr=lr),
    lambda lr: TorchSgd(lr=lr, momentum=0.9),
    lambda lr: TorchSgd(lr=lr, momentum=0.9, nesterov=True),
    lambda lr: QuasiHyperbolic(lr=lr, nu=0.7, beta=0.9),
)


def _modes(seed: Seed) -> Spectrum:
    return spectrum(two_layer(_WIDTH, seed), verify=False)


def _exponent(square: Callable[[np.ndarray], np.ndarray], lowest: float) -> float:
    """Fitted exponent of the envelope of ``|D(t)|^2``, over a decade of slowest-mode time from 100 on."""
    starts = np.geomspace(100, 1000, 12) / math.sqrt(lowest)
    window = 2 * math.pi / math.sqrt(lowest)
    peaks = [square(np.linspace(start, start + window, 200)).max() for start in starts]
    return float(np.polyfit(np.log(starts + window / 2), np.log(np.maximum(peaks, 1e-300)), 1)[0])


def _sublinear_evidence(scale: ScaleName, seed: Seed, *, ball: bool) -> Evidence:
    measured = []
    for index in range(SEEDS[scale]):
        modes = _modes(seed.child(index))

        def square(times: np.ndarray, d: float, modes: Spectrum = modes) -> np.ndarray:
            friction = 2 * math.sqrt(modes.smallest) / 10
            z = heavy_ball_ode(modes.values, friction, times) if ball else nesterov_ode(modes.values, d, times)
            return ((z * modes.coefficients) ** 2).sum(axis=1)

        measured.append([-_exponent(lambda t, d=d: square(t, d), modes.smallest) for d in _SCHEDULES])
    table = Table(np.array(_SCHEDULES), "schedule d", np.array(measured) / np.array(_SCHEDULES), "fitted exponent over d")
    return table.evidence(
        table.largest(1.0),
        "largest |exponent / d - 1| over schedules d, exponent of t^-p fitted to the envelope of |D(t)|^2",
        "0: the equation D'' + (d/t) D' + H D = 0 decays like t^-d, sublinearly",
        1 / 8,
        "half the relative distance between the closest schedules, 4 and 3: the exponent tells d",
    )


def check_sublinear(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The limiting equation of Nesterov's method: exponent d on kernels of random networks."""
    return _sublinear_evidence(scale, seed, ball=False)


def control_sublinear(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Heavy ball's equation in its place, which decays exponentially."""
    return _sublinear_evidence(scale, seed, ball=True)


def _linear_evidence(scale: ScaleName, seed: Seed, *, equation: bool) -> Evidence:
    d, measured = 3.0, []
    for index in range(SEEDS[scale]):
        modes, row = _modes(seed.child(index)), []
        for steep in _STEEP:
            lr = steep / modes.largest
            lowest = lr * modes.smallest
            steps = np.arange(round(10 / lowest), round(40 / lowest))
            z = nesterov_ode(lr * modes.values, d, steps) if equation else _unit_path(CanonicalNesterov(lr=lr, d=d), modes, steps)
            size = np.sqrt(((z * modes.coefficients) ** 2).sum(axis=1)) * steps ** (d / 2)
            width = max(2, math.ceil(2 * math.pi / math.sqrt(lowest)))
            peaks = np.array([size[i : i + width].max() for i in range(0, len(size) - width, width)])
            places = steps[: len(peaks) * width : width]
            row.append(float(np.polyfit(places, np.log(peaks), 1)[0] / (0.5 * math.log1p(-lowest))))
        measured.append(row)
    table = Table(np.array(_STEEP), "lr x largest eigenvalue", np.array(measured), "measured over predicted rate")
    return table.evidence(
        table.largest(1.0),
        "largest |rate / (log(1 - lr lambda_0) / 2) - 1| over steps, rate of k^{d/2} |D_k| per step, d = 3",
        "0: the algorithm itself is linear, k^{-d/2} (1 - lr lambda_0)^{k/2}",
        0.5,
        "closer to the linear rate (0) than to no linear rate at all (1), which the limiting equation has",
    )


def _unit_path(method: CanonicalNesterov, modes: Spectrum, steps: np.ndarray) -> np.ndarray:
    """Modes that start at 1, at these consecutive steps, ``(t, mode)``."""
    path = method.iterate(lambda z: modes.values * z, np.ones(len(modes.values)))
    return np.array(list(islice(path, int(steps[0]) - 1, int(steps[-1]))))


def check_algorithm(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The discrete algorithm on the same modes: linear at rate (1 - lr lambda_0)^{1/2} a step."""
    return _linear_evidence(scale, seed, equation=False)


def control_algorithm(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The limiting equation at the same times: no exponential part."""
    return _linear_evidence(scale, seed, equation=True)


def _order_evidence(scale: ScaleName, seed: Seed, *, high: bool) -> Evidence:
    rates, measured = np.array([1e-2, 3e-3, 1e-3, 3e-4]), []
    for index in range(SEEDS[scale]):
        modes = _modes(seed.child(index))
        measured.append([_order_gap(modes, rate, high) for rate in rates])
    table = Table(rates, "lr x largest eigenvalue", np.array(measured), "distance from the equation")
    return table.evidence(
        table.exponent_from(1.0),
        "distance from 1 of the exponent in lr of max_k |D_k - D(t_k)| / |D_0|, Nesterov with d = 3",
        "0: with the term sqrt(lr) H D' the equation is reached one order better",
        0.25,
        "halfway between order 1 and order 1/2",
    )


def _order_gap(modes: Spectrum, rate: float, high: bool) -> float:
    method = CanonicalNesterov(lr=rate / modes.largest, d=3)
    equation = (high_resolution_equation if high else limiting_equation)(method)
    steps = np.arange(round(10 / math.sqrt(rate)) + 1)
    exact = np.stack(
        [modes.coefficients, *islice(method.iterate(lambda z: modes.values * z, modes.coefficients), len(steps) - 1)]
    )
    gap = equation.amplitude(modes.values, steps) * modes.coefficients - exact
    return float(np.linalg.norm(gap, axis=1).max() / np.linalg.norm(modes.coefficients))


def check_order(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The high-resolution equation against the algorithm."""
    return _order_evidence(scale, seed, high=True)


def control_order(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The low-resolution equation, of order 1/2."""
    return _order_evidence(scale, seed, high=False)


def _limit_evidence(scale: ScaleName, seed: Seed, factors: tuple[float, ...]) -> Evidence:
    measured = []
    for index in range(SEEDS[scale]):
        modes = _modes(seed.child(index))
        measured.append([max(_growth(modes, method, factor) for method in _METHODS) for factor in factors])
    table = Table(np.array(factors), "step over its limit", np.log10(np.array(measured)), "log10 of |D_k| / |D_0|")
    return table.evidence(
        table.highest(),
        f"largest log10(|D_k| / |D_0|) after {_LONG} steps over gradient descent, heavy ball, Nesterov and quasi-hyperbolic momentum",
        "negative: every mode shrinks below the limit that the method's own formula gives, and grows above it",
        0.0,
        "the error is smaller than at the start",
    )


def _growth(modes: Spectrum, method: Callable[[float], Method], factor: float) -> float:
    """``|D_k| / |D_0|`` at a step that is `factor` times the method's limit."""
    made = method(factor * method(1.0).limit() / modes.largest)
    points = made.iterate(lambda z: modes.values * z, modes.coefficients)
    last = next(islice(points, _LONG - 1, None))
    return float(np.linalg.norm(last) / np.linalg.norm(modes.coefficients))


def check_limits(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Steps below the limit."""
    return _limit_evidence(scale, seed, (0.25, 0.5, 0.75, 0.95))


def control_limits(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Steps above it."""
    return _limit_evidence(scale, seed, (1.05, 1.1, 1.2, 1.3))


def _friction_evidence(scale: ScaleName, seed: Seed, beta2: float) -> Evidence:
    measured = []
    for index in range(SEEDS[scale]):
        modes = _modes(seed.child(index))
        measured.append([_slowness(modes, steep / modes.largest, beta2) for steep in _STEEP])
    table = Table(np.array(_STEEP), "lr x largest eigenvalue", np.array(measured), "rate of descent over rate with momenta")
    return table.evidence(
        table.highest(),
        f"largest ratio of gradient descent's linear rate to that of two momenta (0.2, {beta2:g}), on the slowest mode of the error",
        "1 - beta1 - beta2 = 0.6 for small steps: below 1",
        1.0,
        "momentum that keeps some friction is faster than gradient descent; without friction small modes hardly decay",
    )


def _slowness(modes: Spectrum, lr: float, beta2: float) -> float:
    """log-rate per step of gradient descent over that of the two-momentum method, from runs on the smallest mode."""
    lowest, count = float(modes.smallest), round(30 / (lr * modes.smallest))
    points = TwoMomentum(lr=lr, beta1=0.2, beta2=beta2).iterate(lambda z: lowest * z, np.ones(1))
    path = np.array([float(z[0]) for z in islice(points, count)])
    window = count // 10
    peaks = np.array([np.abs(path[i : i + window]).max() for i in range(0, count - window + 1, window)])
    live = peaks > 1e-200
    rate = np.polyfit(window * np.flatnonzero(live), np.log(peaks[live]), 1)[0]
    return float(math.log1p(-lr * lowest) / rate)


def check_friction(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Momenta that add up to 0.4."""
    return _friction_evidence(scale, seed, 0.2)


def control_friction(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Momenta that add up to 1, as in the authors' notebook: no friction."""
    return _friction_evidence(scale, seed, 0.8)


def linearizable(problem: Problem) -> bool:
    """Whether the network has derivatives of single examples, so that it has a linearization."""
    try:
        problem.eval().network.require_per_example(problem.inputs)
    except IsthmusError:
        return False
    return problem.network.size <= 5_000_000


def _convex_evidence(problem: Problem, seed: Seed, loss: nn.Module) -> Evidence:
    few = problem.eval().to(torch.float64).subset(slice(0, 6))
    shape = few.network.forward(few.network.parameters, few.inputs).shape
    targets = gaussian(shape, seed.child("targets"), torch.float64)
    fitted = Problem(few.network, few.inputs, targets, loss)
    modes = spectrum(fitted, verify=False)
    lr = 1.0 / modes.largest
    run = predict_training(fitted, lambda p: torch.optim.SGD([{"params": list(p)}], lr=lr, momentum=0.9), 40, view="linearized")
    modal = predict_training(modes, TorchSgd(lr=lr, momentum=0.9), 40)
    gap = float(np.abs(modal.amplitudes - run.amplitudes).max() / np.linalg.norm(modes.scaled_error))
    return Evidence.worst_of(
        np.array([[gap]]),
        quantity="largest distance between heavy ball on the linearized network and heavy ball on D.H D/2, over 40 steps, "
        "relative to |D_0|",
        predicted="0: over the prediction error the problem is the quadratic with Hessian H",
        threshold=tolerance("float64", terms=few.network.size, depth=40),
        reason="rounding of float64 over 40 steps",
        axis=np.arange(1.0, 2.0),
    )


def check_convex(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The user's own network, linearized, with squared error on random targets."""
    return _convex_evidence(problem, seed, nn.MSELoss())


def control_convex(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A loss that is not quadratic in the outputs: its error does not follow the quadratic."""
    return _convex_evidence(problem, seed, _Quartic())


class _Quartic(nn.Module):
    """Squares and fourth powers of the error: convex, and not quadratic."""

    reduction = "mean"

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        error = outputs - targets
        return (error.square() + error.pow(4)).flatten(1).sum(1).mean()
