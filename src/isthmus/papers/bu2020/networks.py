"""Checks that train real networks of finite width."""

import math
from collections.abc import Callable

import numpy as np
import torch

from isthmus._core.seeds import Seed
from isthmus.claims import Evidence
from isthmus.claims.claim import ScaleName
from isthmus.dynamics import TorchSgd, predict_training, spectrum
from isthmus.dynamics.ladder import closed_rungs, linearized_run, run_rung
from isthmus.dynamics.scaling import scaled_loss
from isthmus.model.problem import Problem
from isthmus.papers.bu2020.instances import FILTERS, SEEDS, WIDTHS, Descent, Scaling, convolution, sgd, two_layer
from isthmus.papers.bu2020.measures import Table
from isthmus.training import train

_STEPS = 100
_BETA = 0.9
_WIDE = {"smoke": 2048, "desk": 8192, "paper": 65536}
_NARROW = 16


def _errors(problem: Problem, optimizer: Descent, steps: list[int], seed: Seed) -> np.ndarray:
    """Prediction errors ``f - y`` of a trained network at these steps, ``(t, n)``."""
    run = train(problem, optimizer, steps=steps[-1], batch=problem.samples, checkpoints=steps, seed=seed)
    return np.stack([(run.problem_at(step).network(problem.inputs) - problem.targets).reshape(-1).numpy() for step in steps])


def _over_widths(
    scale: ScaleName, seed: Seed, measure: Callable[[int, Seed], float], name: str, *, widths: tuple[int, ...] | None = None
) -> Table:
    """One measurement for each seed and width, by default those of the scale."""
    widths = widths or WIDTHS[scale]
    measured = np.array([[measure(width, seed.child(i)) for width in widths] for i in range(SEEDS[scale])])
    return Table(np.array(widths, dtype=np.float64), "width", measured, name)


def _width_law(table: Table, quantity: str, predicted: str) -> Evidence:
    """The exponent in the width is -1/2, or nearer to it than to 0."""
    reason = "halfway between -1/2 and no dependence on the width"
    return table.evidence(table.exponent_from(-0.5), quantity, predicted, 0.25, reason)


def _rate_evidence(scale: ScaleName, seed: Seed, *, repeat: bool) -> Evidence:
    steps = list(range(_STEPS // 4, _STEPS + 1, 15))
    table = _over_widths(scale, seed, lambda w, s: _relative_rate(w, steps, s, repeat), "measured over predicted rate")
    return table.evidence(
        table.largest(1.0),
        "largest |measured / predicted - 1| over widths, of the decay rate log|D| per step under heavy ball, beta = 0.9",
        "0: the rate log rho of the heavy-ball matrix at lambda_0 > 0",
        0.5,
        "closer to the predicted linear rate (0) than to no convergence (1)",
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
    table = _over_widths(scale, seed, lambda w, s: _departure(w, scaling, s), "error of the prediction")
    return _width_law(
        table,
        "distance from -1/2 of the exponent in m of max_k |D_k - predicted| / |D_0|, gradient descent, 60 steps",
        "0: the error of the prediction from the initial kernel falls like m^-1/2",
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


def _ode_evidence(scale: ScaleName, seed: Seed, *, width: int) -> Evidence:
    rates = (0.3, 0.1, 0.03, 0.01)
    measured = np.array([[_ode_gap(rate, width, seed.child(i)) for rate in rates] for i in range(SEEDS[scale])])
    table = Table(np.array(rates), "lr x largest eigenvalue", measured, "distance from the limiting equation")
    return table.evidence(
        table.exponent_from(0.5),
        "distance from 1/2 of the exponent in lr of max_k |D_k - D(t_k)| / |D_0|, heavy ball of a real network against "
        "D'' + b D' + H D = 0 with its initial kernel",
        "0: the equation is reached at order sqrt(lr), until the width's own error is met",
        0.25,
        "halfway between order 1/2 and order 0",
    )


def _ode_gap(rate: float, width: int, seed: Seed) -> float:
    """A network trained at momentum ``1 - 0.6 h`` against the equation with ``b = 0.6`` in units of sqrt(L)."""
    problem = two_layer(width, seed)
    modes = spectrum(problem, verify=False)
    lr, horizon = rate / modes.largest, 8.0
    count = max(4, round(horizon / math.sqrt(rate)))
    steps = sorted({round(i * count / 12) for i in range(13)})
    momentum = 1 - 0.6 * math.sqrt(rate)
    found = _errors(problem, sgd(lr, momentum), steps, seed)
    path = predict_training(modes, TorchSgd(lr=lr, momentum=momentum), count, view="ode")
    predicted = np.stack([path.amplitudes[np.abs(path.mode_step - step).argmin()] for step in steps]) @ modes.vectors.T
    return float(np.linalg.norm(found - predicted, axis=1).max() / np.linalg.norm(modes.scaled_error))


def check_limiting(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Heavy ball on a wide network follows its second-order equation, better and better as the step shrinks."""
    return _ode_evidence(scale, seed, width=_WIDE[scale])


def control_limiting(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A narrow network: its kernel moves, and the distance stays however small the step."""
    return _ode_evidence(scale, seed, width=_NARROW)


def _adam_evidence(scale: ScaleName, seed: Seed, scaling: Scaling) -> Evidence:
    table = _over_widths(scale, seed, lambda w, s: _adam_gap(w, scaling, s), "distance from the linearized run")
    return _width_law(
        table,
        "distance from -1/2 of the exponent in m of max_k |f - f_lin| / |y| for Adam on the network and on its linearization, 24 steps",
        "0 in NTK parametrization with lr ~ m^-1/2; mean-field scaling does not depend on the width",
    )


def _adam_gap(width: int, scaling: Scaling, seed: Seed) -> float:
    problem = two_layer(width, seed, scaling=scaling)
    lr = 0.3 / math.sqrt(width) if scaling == "ntk" else 0.3
    optimizer, steps = Descent(torch.optim.Adam, (("lr", lr),)), [0, 12, 24]
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


def _convolution_evidence(scale: ScaleName, seed: Seed, scaling: Scaling) -> Evidence:
    table = _over_widths(
        scale, seed, lambda w, s: _convolution_gap(w, scaling, s), "error of the prediction", widths=FILTERS[scale]
    )
    return _width_law(
        table,
        "distance from -1/2 of the exponent in filters of max_k |u_k - predicted| / |u_0|, u the scaled error, gradient descent on "
        "cross-entropy, 30 steps",
        "0: the recursion in function space with the initial kernel is off by m^-1/2",
    )


def _convolution_gap(width: int, scaling: Scaling, seed: Seed) -> float:
    """A trained convolution against the optimizer's recursion in function space with its initial kernel."""
    problem = convolution(width, seed, scaling=scaling)
    modes = spectrum(problem, verify=False)
    lr, steps = 0.5 / modes.largest, list(range(0, 31, 10))
    run = train(problem, sgd(lr), steps=steps[-1], batch=problem.samples, checkpoints=steps, seed=seed)
    found = run_rung("network", run, problem, scaled_loss(problem), steps)
    predicted = closed_rungs(problem, modes, TorchSgd(lr=lr), steps)[-1]
    return float(np.linalg.norm(found.errors - predicted.errors, axis=1).max() / np.linalg.norm(modes.scaled_error))


def check_convolution(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Convolutions under cross-entropy: the prediction from the initial kernel improves as the filters multiply."""
    return _convolution_evidence(scale, seed, "ntk")


def control_convolution(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Mean-field scaling at the same kernel time."""
    return _convolution_evidence(scale, seed, "mean_field")
