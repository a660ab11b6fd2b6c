"""Initialization regimes of two-layer networks: linear, critical, condensed; predicted from scales, measured by training."""

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.intervals import mean_interval
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.embedding.points import TwoLayer
from isthmus.linops.random import gaussian
from isthmus.model.populations import Population
from isthmus.model.problem import Problem, provenance
from isthmus.results.provenance import Cost
from isthmus.results.regimes import InitializationRegime, RegimeMeasurement

_BAND = 0.15
_ARMIJO = 0.5


def initialization_regime(problem: Problem) -> InitializationRegime:
    """In which regime a two-layer network will train from where it stands, by the scales of its weights.

    For ``f = sum_k a_k s(w_k x)`` with ``a ~ N(0, b1^2)``, ``w ~ N(0, b2^2)`` of width m, ``gamma = -log(b1 b2)/log m`` and
    ``gamma' = -log(b1/b2)/log m``: linear for ``gamma < 1`` or ``gamma' > gamma - 1`` (own weights hardly move), condensed for
    ``gamma > 1`` and ``gamma' < gamma - 1`` (they collapse on few directions), critical on the boundary. Scales are taken in
    the data's units, ``b2 |(x, 1)|`` and ``b1 / |y|``. The exponents are limits in the width; at one width they are
    estimates, blind to constant factors, and margins below a factor of two in scale are called critical.

    Args:
        problem: network of one hidden dense layer at its initialization, data and loss.

    Returns:
        Exponents, the signed margin and the regime.

    Raises:
        HypothesisError: the network has another shape.
        InputError: a single unit, or weights that are all zero.

    References:
        Luo et al. 2021, phase diagram of two-layer ReLU networks at infinite width; the data's units are a choice made here.
    """
    started, problem = time.perf_counter(), problem.eval().to(torch.float64)
    layer, (inputs, targets) = TwoLayer(problem), _units(problem)
    flat, m = problem.network.flat, layer.width
    own, outgoing = (float(flat[index].square().mean().sqrt()) for index in (layer.own, layer.outgoing))
    if m < 2 or own * outgoing == 0:
        raise InputError(f"Exponents in the width need at least two units and weights that are not all zero, found {m} units.")
    b2, b1 = own * inputs, outgoing / targets
    gamma, prime = -math.log(b1 * b2) / math.log(m), -math.log(b1 / b2) / math.log(m)
    resolution = math.log(2) / math.log(m)
    return InitializationRegime(
        gamma=gamma,
        gamma_prime=prime,
        margin=_margin(gamma, prime),
        resolution=resolution,
        own_scale=b2,
        outgoing_scale=b1,
        width=m,
        regime=_predicted(gamma, prime, resolution),
        status=Status.ESTIMATED,
        method="root mean squares of own and outgoing weights in the data's units",
        error="exponents at one width carry the logarithm of every constant factor over that of the width",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem),
    )


def measured_regime(
    problem: Problem,
    gamma: float,
    gamma_prime: float = 0.0,
    *,
    widths: Sequence[int] = (16, 32, 64, 128, 256),
    seeds: int = 12,
    steps: int = 3000,
    goal: float = 0.1,
    seed: Seed | int = 0,
) -> RegimeMeasurement:
    """Train at several widths from one point of the phase diagram and see how the motion of own weights scales.

    ``|w - w_0| / |w_0| ~ m^S``: S is negative in the linear regime, zero in the critical one, positive where the network
    condenses. All parameters follow gradient descent with the step length of each run adapted, so that the path is that of
    gradient flow, until the loss is `goal` of the zero function's.

    Args:
        problem: network of one hidden dense layer (its own width and values do not matter), data, squared loss or another.
        gamma: exponent of the product of scales.
        gamma_prime: exponent of their ratio.
        widths: at least four.
        seeds: runs at each width.
        steps: gradient evaluations of a run.
        goal: share of the zero function's loss at which a run stops.
        seed: names the initializations.

    Returns:
        The exponent with its interval over seeds, and the regime that it names; `unresolved` when the interval is too wide
        or when at some width fewer than half of the runs came down to the goal.

    Raises:
        HypothesisError: the network has another shape.
        InputError: fewer than four widths or two seeds.
    """
    if len(set(widths)) < 4 or min(widths) < 2 or seeds < 2 or steps < 1 or not 0 < goal < 1:
        raise InputError(
            f"An exponent needs at least 4 widths above 1, 2 seeds, one step and a goal in (0, 1); found {list(widths)}, {seeds}, "
            f"{steps}, {goal}."
        )
    started, problem, seed = time.perf_counter(), problem.eval().to(torch.float64), as_seed(seed)
    base, moved, losses = TwoLayer(problem), np.zeros((seeds, len(widths))), np.zeros((seeds, len(widths)))
    for column, width in enumerate(widths):
        layer = base.at_width(width)
        starts = _started(layer, gamma, gamma_prime, seeds, seed.child("width", width))
        population = Population(layer.problem)
        zero = float(population.losses(torch.zeros(1, layer.problem.network.size, dtype=torch.float64))[0])
        ends, found = _descended(population, starts, steps, goal * zero)
        own = layer.own.reshape(-1)
        moved[:, column] = ((ends - starts)[:, own].norm(dim=1) / starts[:, own].norm(dim=1)).numpy()
        losses[:, column] = found.numpy() / zero
    slopes = np.polyfit(np.log(widths), np.log(moved).T, 1)[0]
    mean, low, high = (float(v) for v in mean_interval(slopes))
    return RegimeMeasurement(
        width=np.array(widths),
        moved=moved,
        loss=losses,
        gamma=gamma,
        gamma_prime=gamma_prime,
        predicted=_predicted(gamma, gamma_prime, 0.0),
        slope=mean,
        interval=np.array([low, high]),
        regime=_measured(low, high) if bool((np.mean(losses <= goal, axis=0) >= 0.5).all()) else "unresolved",
        status=Status.ESTIMATED if bool((losses <= goal).all()) else Status.MAX_STEPS,
        method=f"gradient descent with adapted steps to {goal:g} of the zero function's loss, at most {steps} evaluations",
        error=f"95 % Student interval over {seeds} seeds; finite widths",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem, seed),
    )


def _margin(gamma: float, prime: float) -> float:
    return min(gamma - 1, gamma - 1 - prime)


def _predicted(gamma: float, prime: float, resolution: float) -> str:
    margin = _margin(gamma, prime)
    return "critical" if abs(margin) <= resolution else "condensed" if margin > 0 else "linear"


def _measured(low: float, high: float) -> str:
    if high < -_BAND:
        return "linear"
    if low > _BAND:
        return "condensed"
    return "critical" if low >= -_BAND and high <= _BAND else "unresolved"


def _units(problem: Problem) -> tuple[float, float]:
    """Root mean square of ``|(x, 1)|`` over the samples, and of the targets (1 for labels)."""
    inputs = problem.inputs.reshape(problem.samples, -1).double()
    size = float((inputs.square().sum(1) + 1).mean().sqrt())
    height = float(problem.targets.double().square().mean().sqrt()) if problem.targets.is_floating_point() else 1.0
    return size, max(height, 1e-300)


def _started(layer: TwoLayer, gamma: float, prime: float, count: int, seed: Seed) -> Tensor:
    """Gaussian weights with ``b1 b2 = m^-gamma`` and ``b1 / b2 = m^-gamma'`` in the data's units, ``(count, p)``."""
    inputs, targets = _units(layer.problem)
    b1, b2 = layer.width ** (-(gamma + prime) / 2), layer.width ** ((prime - gamma) / 2)
    points = torch.zeros(count, layer.problem.network.size, dtype=torch.float64)
    for index, scale, name in ((layer.own, b2 / inputs, "own"), (layer.outgoing, b1 * targets, "outgoing")):
        points[:, index] = scale * gaussian((count, *index.shape), seed.child(name), torch.float64)
    return points


def _descended(population: Population, points: Tensor, steps: int, goal: float) -> tuple[Tensor, Tensor]:
    """Gradient descent, each run with its own step length: longer after a decrease as large as promised, else halved."""
    losses, gradients = population.gradients(points)
    square = gradients.square().sum(1)
    rate = 0.01 * points.norm(dim=1) / square.sqrt().clamp_min(1e-300)
    for _ in range(steps):
        running = losses > goal
        if not bool(running.any()):
            break
        trial = points - rate[:, None] * gradients
        lower, slopes = population.gradients(trial)
        good = running & (lower <= losses - _ARMIJO * rate * square)
        points = torch.where(good[:, None], trial, points)
        gradients = torch.where(good[:, None], slopes, gradients)
        losses, square = torch.where(good, lower, losses), gradients.square().sum(1)
        rate = torch.where(good, 1.5 * rate, torch.where(running, 0.5 * rate, rate))
    return points, losses
