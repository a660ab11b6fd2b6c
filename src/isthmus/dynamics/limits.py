"""The differential equation that a method tends to as its step goes to zero, and its high-resolution correction."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isthmus._core.errors import InputError
from isthmus.dynamics import closed_forms
from isthmus.dynamics.methods import CanonicalNesterov, Method, QuasiHyperbolic, ScheduledNesterov, TorchSgd, TwoMomentum


@dataclass(frozen=True)
class LimitingEquation:
    """A limiting equation in closed form.

    Attributes:
        amplitude: ``(values, steps) -> (t, mode)``, modes that start at 1, at the times of these steps.
        words: the equation on the prediction error D, and the map of time.
        exponent: what it says of the squared error in the long run.
    """

    amplitude: Callable[[np.ndarray, np.ndarray], np.ndarray]
    words: str
    exponent: str


@dataclass(frozen=True)
class WeightEquation:
    """The limiting equation on the weights of the network itself, with the loss's own gradient.

    ``w' = -grad L`` at order 1, ``w'' + (constant + over_time / t) w' = -grad L`` at order 2, at rest in the beginning.

    Attributes:
        order: 1 or 2.
        speed: time of one optimizer step.
        constant: friction that stays.
        over_time: friction that falls like 1/t.
        words: the equation, and the map of time.
    """

    order: int
    speed: float
    words: str
    constant: float = 0.0
    over_time: float = 0.0


def weight_equation(method: Method) -> WeightEquation:
    """What the method tends to on the network itself, momenta read as in `limiting_equation`.

    Raises:
        InputError: the method has no fixed limit (a schedule, friction that vanishes).
    """
    h = math.sqrt(method.lr)
    if isinstance(method, CanonicalNesterov | ScheduledNesterov):
        return WeightEquation(2, h, f"w'' + ({method.d:g}/t) w' = -grad L, t = k sqrt(lr)", over_time=method.d)
    if isinstance(method, TorchSgd) and method.schedule is None and method.momentum:
        b = _friction(method)
        return WeightEquation(2, h, f"w'' + b w' = -grad L, t = k sqrt(lr), b = (1 - beta) / sqrt(lr) = {b:.4g}", constant=b)
    speed = _flow_speed(method)
    return WeightEquation(1, speed, f"w' = -grad L, t = {speed / method.lr:.4g} k lr")


def limiting_equation(method: Method) -> LimitingEquation:
    """The equation of lowest order in the step size.

    Heavy ball and Nesterov at constant momentum are read with ``b = (1 - beta) / sqrt(lr)`` held fixed (second order in time);
    quasi-hyperbolic and two-momentum methods with their momenta held fixed (gradient flow).

    Raises:
        InputError: the method has no fixed limit (a schedule, friction that vanishes).
    """
    lr = method.lr
    if isinstance(method, CanonicalNesterov | ScheduledNesterov):
        return LimitingEquation(
            lambda values, steps: closed_forms.nesterov_ode(values, method.d, steps * math.sqrt(lr)),
            f"D'' + ({method.d:g}/t) D' + H D = 0, t = k sqrt(lr)",
            f"squared error falls like t^-{method.d:g}: sublinear",
        )
    if isinstance(method, TorchSgd) and method.schedule is None and method.momentum:
        friction = _friction(method)
        return LimitingEquation(
            lambda values, steps: closed_forms.heavy_ball_ode(values, friction, steps * math.sqrt(lr)),
            f"D'' + b D' + H D = 0, t = k sqrt(lr), b = (1 - beta) / sqrt(lr) = {friction:.4g} held fixed",
            "linear: exp(-b t) for modes above b^2/4, exp(-(b - sqrt(b^2 - 4 lambda)) t) below",
        )
    speed = _flow_speed(method)
    return LimitingEquation(
        lambda values, steps: closed_forms.flow(values, steps * speed),
        f"D' = -H D, t = {speed / lr:.4g} k lr" + ("" if isinstance(method, TorchSgd) else " (momenta held fixed)"),
        "linear: exp(-2 lambda_0 t)",
    )


def high_resolution_equation(method: Method) -> LimitingEquation:
    """The equation that keeps the terms of order sqrt(lr) (order lr for gradient descent): one order better.

    ``D' = -(H + lr H^2 / 2) D`` for gradient descent; ``D'' + b' D' + (1 + b' h/2) H D = 0`` for heavy ball, with the further
    term ``h H D'`` for Nesterov (``h = sqrt(lr)``, ``b' = 2 (1 - beta) / ((1 + beta) h)``; Shi, Du, Jordan, Su 2018), started at the
    speed of torch's first step; `nesterov_high_resolution` for the schedules.

    Raises:
        InputError: none is known for this method.
    """
    lr, h = method.lr, math.sqrt(method.lr)
    if isinstance(method, CanonicalNesterov | ScheduledNesterov):
        return LimitingEquation(
            lambda values, steps: closed_forms.nesterov_high_resolution(values, lr, method.d, (steps + method.d / 2) * h),
            f"D'' + ({method.d:g}/t) D' + h H D' + (1 + {method.d:g} h/(2t)) H D = 0, t = (k + {method.d / 2:g}) h, h = sqrt(lr)",
            "linear: t^-d exp(-h lambda_0 t)",
        )
    if not isinstance(method, TorchSgd) or method.schedule is not None or method.dampening:
        raise InputError(f"No high-resolution equation is known for {method.words}. Use view='ode' or view='discrete'.")
    if not method.momentum:
        return LimitingEquation(
            lambda values, steps: closed_forms.flow(values * (1 + lr * values / 2), steps * lr),
            "D' = -(H + lr H^2 / 2) D, t = k lr",
            "linear: exp(-2 (lambda_0 + lr lambda_0^2 / 2) t)",
        )
    beta, friction = method.momentum, 2 * (1 - method.momentum) / ((1 + method.momentum) * h)

    def amplitude(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
        extra, start = (h * values, (beta + 0.5) * h * values) if method.nesterov else (0.0 * values, h * values / 2)
        return closed_forms.oscillator(friction + extra, values * (1 + friction * h / 2), -start, steps * h)

    term = " + h H D'" if method.nesterov else ""
    return LimitingEquation(
        amplitude,
        f"D'' + b D'{term} + (1 + b h/2) H D = 0, t = k h, h = sqrt(lr), b = 2 (1 - beta) / ((1 + beta) h) = {friction:.4g}",
        "linear",
    )


def _friction(method: TorchSgd) -> float:
    if method.momentum >= 1:
        raise InputError(f"Momentum {method.momentum:g} has no friction: no limiting equation decays. Use a momentum below 1.")
    if method.dampening:
        raise InputError("With dampening the limit of torch's SGD is not heavy ball's equation. Use view='discrete'.")
    return (1 - method.momentum) / math.sqrt(method.lr)


def _flow_speed(method: Method) -> float:
    """Time per step of the gradient flow that the method tends to with its momenta held fixed."""
    if isinstance(method, TwoMomentum) and not method.frictionless:
        return method.lr / (1 - method.beta1 - method.beta2)
    if isinstance(method, QuasiHyperbolic):
        return method.lr
    if isinstance(method, TorchSgd) and method.schedule is None and not method.momentum:
        return method.lr
    raise InputError(f"{method.words} has no limiting equation with a fixed form. Use view='discrete'.")
