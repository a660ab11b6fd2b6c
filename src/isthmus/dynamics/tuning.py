"""The best step size and momentum on the modes at hand, and optimizers ranked by predicted steps."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from scipy import optimize

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.dynamics.methods import CanonicalNesterov, Method, ScheduledNesterov, TorchSgd
from isthmus.dynamics.optimizers import OptimizerLike, understand_optimizer
from isthmus.dynamics.spectrum import spectrum
from isthmus.model.problem import Problem
from isthmus.results.dynamics import Spectrum
from isthmus.results.optimizers import Ranking, Tuning
from isthmus.results.provenance import Cost

Family = Literal["gradient_descent", "heavy_ball", "nesterov"]
Objective = Literal["rate", "steps"]
_FAMILIES = ("gradient_descent", "heavy_ball", "nesterov")


def closed_form_optimum(family: Family, smallest: float, largest: float) -> TorchSgd:
    """The settings of the best asymptotic rate on ``[mu, L]``, with ``kappa = L / mu``.

    Gradient descent: ``lr = 2 / (mu + L)``, rate ``(kappa - 1) / (kappa + 1)``. Heavy ball: ``lr = 4 / (sqrt L + sqrt mu)^2``,
    ``beta = ((sqrt kappa - 1) / (sqrt kappa + 1))^2``, rate ``sqrt beta`` times a factor k, for the root is double. Nesterov:
    ``lr = 4 / (3 L + mu)``, ``beta = (q - 2) / (q + 2)`` with ``q = sqrt(3 kappa + 1)``, rate ``1 - 2 / q``.

    Args:
        family: which method.
        smallest: mu.
        largest: L.

    Raises:
        InputError: unknown family, or not ``0 < mu <= L``.
    """
    if family not in _FAMILIES or not 0 < smallest <= largest:
        raise InputError(
            f"Families are {', '.join(_FAMILIES)} on 0 < mu <= L; found {family!r} on [{smallest:.3g}, {largest:.3g}]."
        )
    kappa = largest / smallest
    if family == "gradient_descent":
        return TorchSgd(lr=2 / (smallest + largest))
    if family == "heavy_ball":
        beta = ((math.sqrt(kappa) - 1) / (math.sqrt(kappa) + 1)) ** 2
        return TorchSgd(lr=4 / (math.sqrt(largest) + math.sqrt(smallest)) ** 2, momentum=beta)
    q = math.sqrt(3 * kappa + 1)
    return TorchSgd(lr=4 / (3 * largest + smallest), momentum=(q - 2) / (q + 2), nesterov=True)


def tune(
    problem: Problem | Spectrum,
    family: Family = "heavy_ball",
    *,
    objective: Objective = "steps",
    fraction: float = 1e-2,
    max_steps: int = 2000,
    seed: Seed | int = 0,
) -> Tuning:
    """The step size and momentum with the best predicted rate, or the fewest predicted steps to a fraction of the error.

    ``rate`` is solved in closed form on the smallest and largest nonzero eigenvalue (`closed_form_optimum`). ``steps`` searches
    around it on the actual modes and projections, first on a grid, then by Nelder-Mead; ties are broken by the error left at
    that step, and the closed form is among the candidates, so that the result never needs more steps than it.

    Args:
        problem: network, data and loss, or a spectrum.
        family: gradient_descent, heavy_ball or nesterov (torch's, constant momentum).
        objective: rate or steps.
        fraction: of the reachable error (that outside zero modes).
        max_steps: where counting stops.
        seed: names the draws of a Lanczos spectrum.

    Returns:
        The settings, with the closed form beside them.

    Raises:
        InputError: an unknown family or objective, or no mode that could move.
    """
    started = time.perf_counter()
    modes = _modes(problem, seed)
    if objective not in ("rate", "steps") or not 0 < fraction < 1 or max_steps < 1:
        raise InputError(
            f"Needed objective rate or steps, 0 < fraction < 1, max_steps >= 1; found {objective!r}, {fraction}, {max_steps}."
        )
    race = _Race(modes, fraction, max_steps)
    closed = closed_form_optimum(family, float(modes.positive[-1]), modes.largest)
    start = race.run(closed)
    best = start if objective == "rate" else _search(race, family, start)
    return Tuning(
        family=family,
        objective=objective,
        fraction=fraction,
        learning_rate=best.method.lr,
        momentum=best.method.momentum,
        rate=float(best.method.rate(best.method.lr * modes.positive).max()),
        steps=best.steps,
        closed_form_rate=closed.lr,
        closed_form_momentum=closed.momentum,
        closed_form_steps=start.steps,
        tried=race.tried,
        max_steps=max_steps,
        status=Status.EXACT if objective == "rate" else Status.CONVERGED,
        method=f"{objective} of {family} on {len(modes.positive)} nonzero modes of {modes.loss_name}",
        error="exact on the modes; a local search, so other settings may need as few steps" if objective == "steps" else None,
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=modes.provenance,
    )


@dataclass(frozen=True)
class _Lap:
    """One candidate: steps to the fraction (-1: not reached) and the relative error where counting stopped."""

    method: TorchSgd
    steps: int
    residual: float

    def score(self, max_steps: int) -> float:
        """Smaller is better: the step count, then the error left, on one scale."""
        if not math.isfinite(self.residual):
            return math.inf
        return (self.steps if self.steps >= 0 else max_steps + 1) + min(self.residual, 1e6) / (1 + min(self.residual, 1e6))


class _Race:
    """Counts predicted steps of candidates on the modes that can move."""

    def __init__(self, modes: Spectrum, fraction: float, max_steps: int) -> None:
        live = modes.values > modes.cutoff
        self.values, self.start = modes.values[live], modes.coefficients[live]
        if not modes.complete:
            self.values, self.start = np.append(self.values, modes.bucket_value), np.append(self.start, modes.bucket_norm)
        self.size, self.fraction, self.max_steps = float(np.linalg.norm(self.start)), fraction, max_steps
        self.best, self.tried = max_steps, 0
        if not self.size > 0:
            raise InputError("No error lies in modes that training can move; there is nothing to tune.")

    def run(self, method: TorchSgd) -> _Lap:
        """Count until the fraction is reached, or this candidate has lost."""
        self.tried += 1
        residual = 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            for step, z in enumerate(islice(method.iterate(lambda z: self.values * z, self.start), self.best), start=1):
                residual = math.sqrt(float(z @ z)) / self.size
                if residual < self.fraction:
                    self.best = min(self.best, step)
                    return _Lap(method, step, residual)
                if not residual < 1e6:
                    break
        return _Lap(method, -1, residual)


def _search(race: _Race, family: Family, start: _Lap) -> _Lap:
    """The best candidate of a grid around the closed form, refined by Nelder-Mead."""
    found = [start]
    largest = float(race.values[0])

    def lap(point: np.ndarray) -> float:
        lr, momentum = float(np.exp(point[0])), float(1 - np.exp(point[1])) if len(point) > 1 else 0.0
        if not 0 <= momentum < 1:
            return math.inf
        method = TorchSgd(lr=lr, momentum=momentum, nesterov=family == "nesterov" and momentum > 0)
        if lr * largest >= method.limit():
            return math.inf
        found.append(race.run(method))
        return found[-1].score(race.max_steps)

    limits = [start.method.lr * largest, *np.linspace(0.3, 3.7, 18)]
    friction = [] if family == "gradient_descent" else [1 - start.method.momentum, *np.geomspace(0.01, 1.0, 14)]
    grid = (
        [np.log([x / largest]) for x in limits] if not friction else [np.log([x / largest, f]) for x in limits for f in friction]
    )
    scores = [lap(point) for point in grid]
    center = grid[int(np.argmin(scores))]
    optimize.minimize(lap, center, method="Nelder-Mead", options={"maxfev": 80, "initial_simplex": _simplex(center)})
    return min(found, key=lambda one: one.score(race.max_steps))


def _simplex(center: np.ndarray) -> np.ndarray:
    return np.stack([center, *(center + 0.05 * row for row in np.eye(len(center)))])


def rank_optimizers(
    problem: Problem | Spectrum,
    optimizer: OptimizerLike | None = None,
    *,
    fractions: Sequence[float] = (0.1, 0.01, 1e-4),
    max_steps: int = 5000,
    seed: Seed | int = 0,
) -> Ranking:
    """Optimizers at their closed-form settings, ranked by predicted steps to fractions of the reachable error.

    The rows: gradient descent at 1/L and at its optimum, heavy ball and Nesterov at theirs, Nesterov at 1/L, and torch's
    Nesterov with the schedule d = 3 at 1/L. L is the largest eigenvalue; mu the smallest one that has to move before the last
    fraction is reached (all modes below it together hold less than half of that fraction).

    Args:
        problem: network, data and loss, or a spectrum.
        optimizer: an optimizer with a closed form to place among them.
        fractions: of the reachable error, descending.
        max_steps: where counting stops.
        seed: names the draws of a Lanczos spectrum.

    Raises:
        InputError: fractions out of range, an optimizer without a closed form, or nothing to move.
    """
    started = time.perf_counter()
    modes = _modes(problem, seed)
    wanted = sorted((float(f) for f in fractions), reverse=True)
    if not wanted or not all(0 < f < 1 for f in wanted):
        raise InputError(f"Fractions lie between 0 and 1, found {list(fractions)}.")
    race = _Race(modes, wanted[-1], max_steps)
    smallest = _must_move(race, wanted[-1])
    rows = _rows(smallest, modes.largest)
    if optimizer is not None:
        rows.append(("yours", _closed(optimizer, problem)))
    laps = [_count(race, method, wanted) for _, method in rows]
    order = sorted(range(len(rows)), key=lambda row: _key(laps[row], max_steps))
    methods = [rows[row][1] for row in order]
    return Ranking(
        learning_rate=np.array([method.lr for method in methods]),
        momentum=np.array([_momentum(method) for method in methods]),
        steps=np.array([laps[row][0] for row in order], dtype=np.int64),
        residual=np.array([laps[row][1] for row in order]),
        rate=np.array([float(method.rate(method.lr * modes.positive).max()) for method in methods]),
        fraction=np.array(wanted),
        names=[rows[row][0] for row in order],
        own=order.index(len(rows) - 1) if optimizer is not None else -1,
        max_steps=max_steps,
        smallest=smallest,
        largest=modes.largest,
        status=Status.EXACT,
        method=f"predicted steps on {len(race.values)} modes of {modes.loss_name}"
        + ("" if modes.quadratic else ", quadratic model"),
        error="exact for the linearized network" + ("" if modes.quadratic else " under the quadratic model of the loss"),
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=modes.provenance,
    )


def _modes(problem: Problem | Spectrum, seed: Seed | int) -> Spectrum:
    modes = problem if isinstance(problem, Spectrum) else spectrum(problem, seed=as_seed(seed))
    if not len(modes.positive):
        raise InputError("All modes of the kernel are zero: no step of any optimizer moves the outputs.")
    return modes


def _rows(smallest: float, largest: float) -> list[tuple[str, Method]]:
    kappa = math.sqrt(largest / smallest)
    safe = TorchSgd(lr=1 / largest, momentum=(kappa - 1) / (kappa + 1), nesterov=kappa > 1)
    return [
        ("gradient descent, 1/L", TorchSgd(lr=1 / largest)),
        ("gradient descent, best", closed_form_optimum("gradient_descent", smallest, largest)),
        ("heavy ball, best", closed_form_optimum("heavy_ball", smallest, largest)),
        ("Nesterov, 1/L", safe),
        ("Nesterov, best", closed_form_optimum("nesterov", smallest, largest)),
        ("Nesterov, schedule d = 3, 1/L", ScheduledNesterov(lr=1 / largest, d=3)),
    ]


def _must_move(race: _Race, fraction: float) -> float:
    """The smallest eigenvalue whose mode must move: all below it hold less than half the fraction of the error."""
    tail = np.sqrt(np.cumsum(race.start[::-1] ** 2))[::-1] / race.size
    needed = np.flatnonzero(tail > fraction / 2)
    return float(race.values[needed[-1]])


def _closed(optimizer: OptimizerLike, problem: Problem | Spectrum) -> Method:
    if isinstance(optimizer, Method):
        return optimizer
    if isinstance(problem, Spectrum):
        raise InputError("A spectrum alone knows no parameters: pass the Problem, or a Method such as TorchSgd(lr=.1).")
    known = understand_optimizer(optimizer, problem.network)
    if known.method is None:
        raise InputError(
            f"{known.words} has no closed form ({known.reason}), so its steps cannot be counted on the modes. Leave it out."
        )
    return known.method


def _count(race: _Race, method: Method, fractions: list[float]) -> tuple[list[int], float]:
    """First steps below each fraction, and the error left at the end."""
    found, residual, left = [-1] * len(fractions), 1.0, list(range(len(fractions)))
    with np.errstate(over="ignore", invalid="ignore"):
        for step, z in enumerate(islice(method.iterate(lambda z: race.values * z, race.start), race.max_steps), start=1):
            residual = math.sqrt(float(z @ z)) / race.size
            while left and residual < fractions[left[0]]:
                found[left.pop(0)] = step
            if not left or not residual < 1e12:
                break
    return found, residual


def _key(lap: tuple[list[int], float], max_steps: int) -> tuple[list[int], float]:
    steps, residual = lap
    return [step if step >= 0 else max_steps + 1 for step in reversed(steps)], residual if math.isfinite(residual) else math.inf


def _momentum(method: Method) -> float:
    scheduled = isinstance(method, CanonicalNesterov | ScheduledNesterov)
    return method.momentum if isinstance(method, TorchSgd) and not scheduled and method.schedule is None else math.nan
