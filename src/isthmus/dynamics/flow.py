"""Gradient flow of the network itself: the limiting equation without the kernel's idealization."""

import math
import time

import numpy as np
import torch

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus.curvature import hessian_operator
from isthmus.dynamics.integrate import integrate
from isthmus.dynamics.limits import WeightEquation, weight_equation
from isthmus.dynamics.methods import Method
from isthmus.dynamics.optimizers import OptimizerLike, Understood, understand_optimizer
from isthmus.linops.eigen import top_eigenpairs
from isthmus.model.derivatives import loss_gradient, loss_value
from isthmus.model.problem import Problem, provenance
from isthmus.results.flows import GradientFlow
from isthmus.results.provenance import Cost


def gradient_flow(
    problem: Problem,
    optimizer: OptimizerLike,
    steps: int,
    *,
    points: int = 13,
    rtol: float = 1e-8,
    max_evaluations: int = 50_000,
    sharpness: bool = True,
    seed: Seed | int = 0,
) -> GradientFlow:
    """The differential equation that an optimizer tends to, on the network itself, by an adaptive Runge-Kutta method.

    ``w' = -grad L`` for gradient descent (``t = k lr``), ``w'' + b w' = -grad L`` for heavy ball and ``w'' + (d/t) w' = -grad L`` for
    the scheduled Nesterov methods (``t = k sqrt(lr)``), coupled weight decay included. Where `predict_training` idealizes the
    network to its kernel and keeps the step, this keeps the network and idealizes the step; the sharpness along the flow says
    how long that can be right: until lr x sharpness meets the optimizer's limit (`edge_step`).

    For small networks: the cost is about ``4 x time x sharpness`` gradients over all samples, in float64.

    Args:
        problem: network, data and loss; evaluated in evaluation mode.
        optimizer: one with a limiting equation, as in `predict_training`.
        steps: optimizer steps whose time is covered.
        points: times at which the flow is kept.
        rtol: relative tolerance of each step of the integrator (DOP853).
        max_evaluations: gradients allowed; the flow found so far is returned beyond, flagged.
        sharpness: compute the Hessian's largest eigenvalue at each point.
        seed: names Lanczos' start vectors.

    Returns:
        The flow at the points.

    Raises:
        InputError: no limiting equation, fewer than one step or two points, or a tolerance that is not positive.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    problem = problem.eval().to(torch.float64)
    known = understand_optimizer(optimizer, problem.network)
    equation = _check(known, steps, points, rtol)
    method: Method = known.method  # pyright: ignore[reportAssignmentType]
    kept = np.unique(np.linspace(0, steps, points).round().astype(int))

    def slope(weights: np.ndarray) -> np.ndarray:
        gradient = loss_gradient(problem.at(torch.from_numpy(weights)), chunk=problem.samples)
        return gradient.cpu().numpy() + method.decay * weights

    path = integrate(equation, slope, problem.network.flat.cpu().numpy(), kept * equation.speed, rtol=rtol, most=max_evaluations)
    kept = kept[: len(path.points)]
    places = [problem.at(torch.from_numpy(weights)) for weights in path.points]
    tops = [_sharpness(place, seed) + method.decay if sharpness else math.nan for place in places]
    margin = method.lr * np.array(tops) / method.limit()
    beyond = np.flatnonzero(margin >= 1)
    return GradientFlow(
        step=kept,
        time=kept * equation.speed,
        loss=np.array([loss_value(place) for place in places]),
        gradient_norm=np.array([float(loss_gradient(place).norm()) for place in places]),
        sharpness=np.array(tops),
        margin=margin,
        weights=path.points,
        edge_step=int(kept[beyond[0]]) if beyond.size else -1,
        optimizer=known.words,
        equation=equation.words,
        rtol=rtol,
        evaluations=path.evaluations,
        status=path.status,
        method=f"DOP853 on {equation.words}, {problem.loss.name} over {problem.samples} samples",
        error="local error of each integrator step, relative to the weights",
        cost=Cost(matvecs=path.evaluations, seconds=time.perf_counter() - started),
        provenance=provenance(problem, seed),
    )


def _check(known: Understood, steps: int, points: int, rtol: float) -> WeightEquation:
    if steps < 1 or points < 2 or rtol <= 0:
        raise InputError(f"A flow needs at least one step, two points and a positive rtol, found {steps}, {points} and {rtol}.")
    if known.method is None:
        raise InputError(
            f"{known.words} has no limiting equation here ({known.reason}). Use central_flow for RMSprop, or "
            "predict_training(view='linearized')."
        )
    return weight_equation(known.method)


def _sharpness(problem: Problem, seed: Seed) -> float:
    return float(top_eigenpairs(hessian_operator(problem), 1, rtol=1e-4, seed=seed.child("flow")).values[0])
