"""Limiting equations under a gradient that is not linear, by an adaptive Runge-Kutta method."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.integrate import DOP853

from isthmus._core.status import Status
from isthmus.dynamics.limits import WeightEquation

_FIRST = 1e-3
Slope = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Path:
    """Points at the times asked for, as far as the gradients allowed reach, ``(t, n)``."""

    points: np.ndarray
    evaluations: int
    status: Status


def integrate(equation: WeightEquation, slope: Slope, start: np.ndarray, times: np.ndarray, *, rtol: float, most: int) -> Path:
    """Follow ``x' = -slope(x)``, or ``x'' + friction(t) x' = -slope(x)`` from rest, by scipy's DOP853.

    Args:
        equation: order and friction.
        slope: the gradient.
        start: x(0), ``(n,)``.
        times: increasing, first 0.
        rtol: relative tolerance of a step.
        most: gradients allowed.
    """
    field, begin, state = _field(equation, slope, np.array(start, dtype=np.float64), float(times[-1]))
    floor = 1e-3 * rtol * max(float(np.abs(start).max()), 1e-3)
    solver = DOP853(field, begin, state, float(times[-1]), rtol=rtol, atol=floor)
    found, size = [np.array(start, dtype=np.float64)], len(start)
    while len(found) < len(times) and solver.status == "running" and solver.nfev < most:
        solver.step()
        if solver.status == "failed":
            break
        inner = solver.dense_output()
        while len(found) < len(times) and times[len(found)] <= solver.t:
            found.append(inner(times[len(found)])[:size])
    status = Status.CONVERGED if len(found) == len(times) else Status.MAX_STEPS
    return Path(np.stack(found), solver.nfev, Status.NOT_FINITE if solver.status == "failed" else status)


def _field(
    equation: WeightEquation, slope: Slope, start: np.ndarray, end: float
) -> tuple[Callable[[float, np.ndarray], np.ndarray], float, np.ndarray]:
    """The vector field, and where it starts: a friction d/t is entered by the Taylor series of its regular solution."""
    if equation.order == 1:
        return lambda t, x: -slope(x), 0.0, start

    def second(t: float, state: np.ndarray) -> np.ndarray:
        place, speed = np.split(state, 2)
        friction = equation.constant + (equation.over_time / t if t else 0.0)
        return np.concatenate([speed, -friction * speed - slope(place)])

    if not equation.over_time:
        return second, 0.0, np.concatenate([start, np.zeros_like(start)])
    first, pull = _FIRST * min(equation.speed, end), slope(start) / (1 + equation.over_time)
    return second, first, np.concatenate([start - pull * first**2 / 2, -pull * first])
