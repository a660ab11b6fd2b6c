"""Checks that train real networks of finite width."""

import math

import numpy as np
import torch

from isthmus._core.seeds import Seed
from isthmus.claims import Evidence, fit_rate
from isthmus.claims.claim import ScaleName
from isthmus.dynamics import TorchSgd, predict_training, spectrum
from isthmus.dynamics.ladder import linearized_run
from isthmus.model.problem import Problem
from isthmus.papers.bu2020.instances import SEEDS, WIDTHS, Descent, Scaling, distance, sgd, two_layer
from isthmus.training import train

_STEPS = 100
_BETA = 0.9
_RATE = 0.3


def _errors(problem: Problem, optimizer: Descent, steps: list[int], seed: Seed) -> np.ndarray:
    """Prediction errors ``f - y`` of a trained network at these steps, ``(t, n)``."""
    run = train(problem, optimizer, steps=steps[-1], batch=problem.samples, checkpoints=steps, seed=seed)
    return np.stack([(run.problem_at(step).network(problem.inputs) - problem.targets).reshape(-1).numpy() for step in steps])


def _rate_evidence(scale: ScaleName, seed: Seed, *, repeat: bool) -> Evidence:
    widths, steps = WIDTHS[scale], list(range(_STEPS // 4, _STEPS + 1, 8))
    measured = np.array([[_relative_rate(w, steps, seed.child(i), repeat) for w in widths] for i in range(SEEDS[scale])])
    return Evidence.over_seeds(
        np.abs(measured - 1).max(axis=1),
        quantity="largest |measured / predicted - 1| over widths, of the decay rate log|D| per step under heavy ball, beta = 0.9",
        predicted="0: the rate log rho of the heavy-ball matrix at lambda_0 > 0",
        threshold=_RATE,
        reason="the fit covers a finite window of an oscillation; a plateau gives 1",
        axis=np.array(widths, dtype=np.float64),
        axis_name="width",
        measured=measured,
        measured_name="measured over predicted rate",
    )


def _relative_rate(width: int, steps: list[int], seed: Seed, repeat: bool) -> float:
    """Fitted slope of log|D_k| over the prediction from the smallest nonzero eigenvalue at the start."""
    problem = two_layer(width, seed, repeat=repeat)
    modes = spectrum(problem, verify=False)
    lr = 0.5 / modes.largest
    size = np.linalg.norm(_errors(problem, sgd(lr, _BETA), steps, seed), axis=1)
    rate = float(TorchSgd(lr=lr, momentum=_BETA).rate(lr * modes.positive).max())
    return float(np.polyfit(steps, np.log(size), 1)[0] / math.log(rate))


def check_heavy_ball(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Wide networks on unit vectors under heavy ball: the error falls at the linear rate that lambda_0 predicts."""
    return _rate_evidence(scale, seed, repeat=False)


def control_heavy_ball(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Every input twice with different targets: lambda_0 = 0 and a plateau."""
    return _rate_evidence(scale, seed, repeat=True)


def _width_evidence(scale: ScaleName, seed: Seed, scaling: Scaling) -> Evidence:
    widths = WIDTHS[scale]
    measured = np.array([[_departure(w, scaling, seed.child(i)) for w in widths] for i in range(SEEDS[scale])])
    estimate, interval = distance(fit_rate(np.array(widths, dtype=np.float64), measured), -0.5)
    return Evidence(
        quantity="distance from -1/2 of the exponent in m of max_k |D_k - predicted| / |D_0|, gradient descent, 60 steps",
        predicted="0: the error of the prediction from the initial kernel falls like m^-1/2",
        estimate=estimate,
        interval=interval,
        threshold=0.25,
        reason="halfway between -1/2 and no dependence on the width",
        exact=False,
        axis=np.array(widths, dtype=np.float64),
        axis_name="width",
        measured=measured,
        measured_name="error of the prediction",
    )


def _departure(width: int, scaling: Scaling, seed: Seed) -> float:
    problem = two_layer(width, seed, scaling=scaling)
    modes = spectrum(problem, verify=False)
    lr = 0.5 / modes.largest
    steps = list(range(0, 61, 6))
    found = _errors(problem, sgd(lr), steps, seed)
    powers = (1 - lr * modes.values) ** np.array(steps)[:, None]
    predicted = (powers * modes.coefficients) @ modes.vectors.T
    return float(np.linalg.norm(found - predicted, axis=1).max() / np.linalg.norm(modes.scaled_error))


def check_width(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """NTK parametrization: the discrepancy falls like m^-1/2."""
    return _width_evidence(scale, seed, "ntk")


def control_width(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Mean-field scaling at the same kernel time: the kernel moves at every width, and the discrepancy stays."""
    return _width_evidence(scale, seed, "mean_field")


def _ode_evidence(scale: ScaleName, seed: Seed, *, friction: float) -> Evidence:
    rates = (0.3, 0.1, 0.03, 0.01)
    width = {"smoke": 2048, "desk": 8192, "paper": 65536}[scale]
    measured = np.array([[_ode_gap(rate, width, friction, seed.child(i)) for rate in rates] for i in range(SEEDS[scale])])
    estimate, interval = distance(fit_rate(np.array(rates), measured), 0.5)
    return Evidence(
        quantity="distance from 1/2 of the exponent in lr of max_k |D_k - D(t_k)| / |D_0|, heavy ball of a real network against "
        "D'' + b D' + H D = 0 with its initial kernel",
        predicted="0: the equation is reached at order sqrt(lr), until the width's own error is met",
        estimate=estimate,
        interval=interval,
        threshold=0.25,
        reason="halfway between order 1/2 and order 0",
        exact=False,
        axis=np.array(rates),
        axis_name="lr x largest eigenvalue",
        measured=measured,
        measured_name="distance from the limiting equation",
    )


def _ode_gap(rate: float, width: int, friction: float, seed: Seed) -> float:
    """A network trained at momentum ``1 - 0.6 h`` against the equation with ``b = 0.6 * friction`` in units of sqrt(L)."""
    problem = two_layer(width, seed)
    modes = spectrum(problem, verify=False)
    lr, horizon = rate / modes.largest, 8.0
    count = max(4, round(horizon / math.sqrt(rate)))
    steps = sorted({round(i * count / 12) for i in range(13)})
    momentum = 1 - 0.6 * math.sqrt(rate)
    found = _errors(problem, sgd(lr, momentum), steps, seed)
    wrong = 1 - 0.6 * friction * math.sqrt(rate)
    path = predict_training(modes, TorchSgd(lr=lr, momentum=wrong), count, view="ode")
    predicted = np.stack([path.amplitudes[np.abs(path.mode_step - step).argmin()] for step in steps]) @ modes.vectors.T
    return float(np.linalg.norm(found - predicted, axis=1).max() / np.linalg.norm(modes.scaled_error))


def check_limiting(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Heavy ball on a wide network follows its second-order equation, better and better as the step shrinks."""
    return _ode_evidence(scale, seed, friction=1.0)


def control_limiting(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The equation with a quarter of the friction: the distance stays however small the step."""
    return _ode_evidence(scale, seed, friction=0.25)


def _adam_evidence(scale: ScaleName, seed: Seed, scaling: Scaling) -> Evidence:
    widths = WIDTHS[scale]
    measured = np.array([[_adam_gap(w, scaling, seed.child(i)) for w in widths] for i in range(SEEDS[scale])])
    rate = fit_rate(np.array(widths, dtype=np.float64), measured)
    return Evidence(
        quantity="exponent in m of max_k |f - f_lin| / |y| for Adam on the network and on its linearization, 24 steps",
        predicted="-1/2 in NTK parametrization with lr ~ m^-1/2, 0 in mean-field scaling",
        estimate=rate.slope,
        interval=rate.interval,
        threshold=-0.3,
        reason="closer to -1/2 than to no dependence on the width",
        exact=False,
        axis=np.array(widths, dtype=np.float64),
        axis_name="width",
        measured=measured,
        measured_name="distance from the linearized run",
    )


def _adam_gap(width: int, scaling: Scaling, seed: Seed) -> float:
    problem = two_layer(width, seed, scaling=scaling)
    lr = 0.3 / math.sqrt(width) if scaling == "ntk" else 0.3
    optimizer, steps = Descent(torch.optim.Adam, (("lr", lr),)), [0, 8, 16, 24]
    found = _errors(problem, optimizer, steps, seed)
    twin = linearized_run(problem, optimizer, steps[-1], batch=problem.samples, seed=seed, checkpoints=steps)
    straight = np.stack([(twin.problem_at(s).network(problem.inputs) - problem.targets).reshape(-1).numpy() for s in steps])
    return float(np.linalg.norm(found - straight, axis=1).max() / float(problem.targets.norm()))


def check_adam(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Adam, which acts on weights and not on modes: the linearized run predicts it better as the network widens."""
    return _adam_evidence(scale, seed, "ntk")


def control_adam(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Mean-field scaling, where the network moves away from its linearization at every width."""
    return _adam_evidence(scale, seed, "mean_field")
