"""A training run, predicted before it happens."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import numpy as np
import torch

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.dynamics.limits import LimitingEquation, high_resolution_equation, limiting_equation, weight_equation
from isthmus.dynamics.linearized import linearized_path
from isthmus.dynamics.methods import CanonicalNesterov, Method, ScheduledNesterov, TorchSgd, TwoMomentum
from isthmus.dynamics.optimizers import OptimizerLike, Understood, understand_optimizer
from isthmus.dynamics.paths import Point, loss_of, mode_path, output_flow, output_path, outputs_on_test
from isthmus.dynamics.scaling import scaled_loss
from isthmus.dynamics.spectrum import spectrum
from isthmus.model.problem import Problem
from isthmus.results.dynamics import Prediction, Spectrum
from isthmus.results.provenance import Cost

View = Literal["discrete", "ode", "high_resolution", "linearized"]
_KEPT = 60
_GRID = 500
_EXCITED = 1e-6


def predict_training(
    problem: Problem | Spectrum,
    optimizer: OptimizerLike,
    steps: int,
    *,
    view: View = "discrete",
    fractions: Sequence[float] = (0.1, 0.01, 1e-4),
    test: bool = False,
    steps_per_epoch: int = 1,
    seed: Seed | int = 0,
) -> Prediction:
    """The loss curve of full-batch training, from the tangent kernel at the start and the optimizer's own rules.

    For `torch.optim.SGD` in all its forms and the methods of `isthmus.dynamics.methods` the prediction is that of the linearized
    network without running it: mode by mode for a squared error, ``z_i(k) = p(k, lr lambda_i) z_i(0)``, in function space for
    other losses. Any other optimizer is run on the linearized network. Test outputs move with the weights,
    ``f_test = f_test(0) + (alpha - 1) J_test w_0 + J_test J^T r``.

    Args:
        problem: network, data and loss, or a spectrum alone (then the quadratic model of the loss is followed).
        optimizer: `torch.optim` object, ``(optimizer, scheduler)``, factory of either, or a `Method`.
        steps: how far.
        view: ``"discrete"``, the optimizer's own steps; ``"ode"``, the differential equation it tends to; ``"high_resolution"``, one
            order better in the step; ``"linearized"``, a run of the optimizer on the linearized network (needs the problem).
            An optimizer without closed form falls back on it; the record says so.
        fractions: of the initial error, for which the first step below is sought.
        test: predict test outputs and loss too (discrete and linearized views).
        steps_per_epoch: steps between two calls of a scheduler.
        seed: names the draws of a Lanczos spectrum.

    Returns:
        The prediction. Its `warnings` name every condition under which it must not be trusted.

    Raises:
        InputError: no steps, unknown view or optimizer, or a combination that has no prediction; the message says what has.
        HypothesisError: the loss has no convex quadratic model and the view needs one.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    _check(problem, steps, view, fractions, test)
    quiet = problem.eval().to(torch.float64) if isinstance(problem, Problem) else None
    modes = problem if isinstance(problem, Spectrum) else spectrum(problem, seed=seed)
    known = _understand(optimizer, quiet, steps, steps_per_epoch)
    if view in ("ode", "high_resolution"):
        found = _continuous(quiet, modes, known, steps, view)
    elif view == "linearized" or known.method is None:
        found = _linearized(quiet, modes, known, steps, test, steps_per_epoch)
    else:
        found = _discrete(quiet, modes, known.method, steps, test)
    return _record(modes, known, found, list(fractions), test, started)


@dataclass(frozen=True)
class _Found:
    """What a view found, and how to speak of it."""

    step: np.ndarray
    loss: np.ndarray
    error: np.ndarray
    mode_step: np.ndarray
    amplitudes: np.ndarray
    view: str
    exactness: str
    equation: LimitingEquation | None = None
    tests: list[tuple[np.ndarray, float]] = field(default_factory=list)


def _check(problem: Problem | Spectrum, steps: int, view: str, fractions: Sequence[float], test: bool) -> None:
    if not isinstance(problem, Problem | Spectrum):
        raise InputError(f"A Problem or a Spectrum was needed, found {type(problem).__name__}.")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(f"A prediction needs at least one step, found steps={steps!r}.")
    if view not in ("discrete", "ode", "high_resolution", "linearized"):
        raise InputError(f"view={view!r} is unknown; there are discrete, ode, high_resolution and linearized.")
    if any(not 0 < fraction < 1 for fraction in fractions):
        raise InputError(f"The fractions of the initial error lie between 0 and 1, found {list(fractions)}.")
    if test and (not isinstance(problem, Problem) or problem.test_inputs is None):
        raise InputError("Test outputs were asked for without test data. Pass a Problem made with test=(inputs, targets).")
    if test and view in ("ode", "high_resolution"):
        raise InputError(f"Test outputs are predicted by the discrete and linearized views, not by {view!r}.")


def _understand(optimizer: OptimizerLike, problem: Problem | None, steps: int, steps_per_epoch: int) -> Understood:
    if problem is not None:
        return understand_optimizer(optimizer, problem.network, steps=steps, steps_per_epoch=steps_per_epoch)
    if not isinstance(optimizer, Method):
        raise InputError(
            "A spectrum alone knows no parameters: pass the Problem, or a Method such as TorchSgd(lr=.1, momentum=.9)."
        )
    return Understood(optimizer, "", optimizer.words, None)


def _continuous(problem: Problem | None, modes: Spectrum, known: Understood, steps: int, view: str) -> _Found:
    if known.method is None or known.method.decay:
        why = known.reason or "weight decay moves the minimum"
        raise InputError(f"{known.words} has no limiting equation here ({why}). Use view='discrete' or 'linearized'.")
    equation = (limiting_equation if view == "ode" else high_resolution_equation)(known.method)
    step, kept = _spread(steps, _GRID), _spread(steps, _KEPT)
    words = "the limiting equation, not the optimizer's own steps; it differs by the order of the step size"
    if not modes.quadratic and view == "ode" and problem is not None and modes.complete:
        grid = np.unique(np.concatenate([step, kept]))
        points = output_flow(problem, modes, weight_equation(known.method), grid)
        at = [points[place] for place in np.searchsorted(grid, step)]
        amplitudes = np.stack([points[place].scaled for place in np.searchsorted(grid, kept)])
        loss, error = np.array([point.loss for point in at]), np.array([point.error for point in at])
        words += f", integrated in function space under {modes.loss_name} itself"
        return _Found(step, loss, error, kept, amplitudes, view, words, equation)
    words += "" if modes.quadratic else f"; {modes.loss_name} is replaced by its quadratic model at the start"
    values = modes.values if modes.complete else np.append(modes.values, modes.bucket_value)
    start = modes.coefficients if modes.complete else np.append(modes.coefficients, modes.bucket_norm)
    square = ((equation.amplitude(values, step) * start) ** 2).sum(axis=1)
    amplitudes = equation.amplitude(modes.values, kept) * modes.coefficients
    return _Found(step, modes.offset + 0.5 * square, np.sqrt(square), kept, amplitudes, view, words, equation)


def _discrete(problem: Problem | None, modes: Spectrum, method: Method, steps: int, test: bool) -> _Found:
    kept = _spread(steps, _KEPT)
    keep, exact = set(kept.tolist()), modes.quadratic or problem is None
    if not modes.complete and (test or not exact):
        raise InputError(
            f"Only {len(modes.values)} modes are known, and this needs all of them. Use view='linearized', or fewer samples "
            "(problem.subset)."
        )
    if exact:
        path = mode_path(modes, method, keep, pulls=scaled_loss(problem) if test and problem else None)
    else:
        path = output_path(problem, modes, method, keep)  # pyright: ignore[reportArgumentType]
    with np.errstate(over="ignore", invalid="ignore"):
        points = list(islice(path, steps + 1))
    tests = [_test_point(problem, points[step]) for step in kept] if test and problem is not None else []
    return _Found(
        np.arange(steps + 1),
        np.array([point.loss for point in points]),
        np.array([point.error for point in points]),
        kept,
        np.stack([points[step].scaled for step in kept]),
        "discrete",
        _exactness(modes, exact, problem is None),
        tests=tests,
    )


def _exactness(modes: Spectrum, by_modes: bool, alone: bool) -> str:
    if not by_modes:
        return "the optimizer's own recursion in function space under the loss itself; equals a run on the linearized network"
    words = "closed form, mode by mode; equals a run of the same optimizer on the linearized network to rounding"
    if not modes.complete:
        share = modes.bucket_norm / max(float(np.linalg.norm(modes.scaled_error)), 1e-300)
        words = f"mode by mode for {len(modes.values)} modes; the rest ({share:.1%} of the error) moves as one mode"
    if alone and not modes.quadratic:
        words += f"; {modes.loss_name} is replaced by its quadratic model at the start"
    return words


def _test_point(problem: Problem, point: Point) -> tuple[np.ndarray, float]:
    if point.pull is None:
        raise AssertionError("kept points carry r when test outputs are asked for")
    outputs = outputs_on_test(problem, point.pull, point.shrink)
    return outputs, loss_of(problem, outputs, test=True)


def _linearized(
    problem: Problem | None, modes: Spectrum, known: Understood, steps: int, test: bool, steps_per_epoch: int
) -> _Found:
    if problem is None:
        raise InputError("A run on the linearized network needs the Problem; a spectrum alone has no parameters.")
    kept = _spread(steps, _KEPT)
    path = linearized_path(problem, modes, known, kept, test=test, steps_per_epoch=steps_per_epoch)
    why = f" (no closed form: {known.reason})" if known.reason else ""
    return _Found(
        kept,
        path.loss,
        path.error,
        kept,
        path.amplitudes,
        "linearized",
        f"a run of the optimizer on the linearized network{why}",
        tests=path.tests,
    )


def _spread(steps: int, count: int) -> np.ndarray:
    """At most about `count` steps from 0 to `steps`, half of them evenly, half logarithmically."""
    if steps < count:
        return np.arange(steps + 1)
    both = np.concatenate([np.linspace(0, steps, count // 2), np.geomspace(1, steps, count // 2)])
    return np.unique(both.round().astype(np.int64))


def _record(modes: Spectrum, known: Understood, found: _Found, fractions: list[float], test: bool, started: float) -> Prediction:
    relative = found.error / found.error[0] if found.error[0] > 0 else found.error
    rate, rate_all, slowest = _rates(modes, known.method)
    outputs = np.stack([outputs for outputs, _ in found.tests]) if test else np.zeros((len(found.mode_step), 0, modes.outputs))
    finite = bool(np.isfinite(found.loss).all())
    return Prediction(
        step=found.step,
        loss=found.loss,
        error_norm=relative,
        mode_step=found.mode_step,
        amplitudes=found.amplitudes,
        values=modes.values.copy(),
        test_outputs=outputs,
        test_loss=np.array([loss for _, loss in found.tests]) if test else np.full(len(found.mode_step), np.nan),
        view=found.view,
        exactness=found.exactness,
        optimizer=known.words,
        ode_time=found.equation.words if found.equation else "",
        fraction=fractions,
        steps_to_fraction=[_first_below(found.step, relative, fraction) for fraction in fractions],
        rate=rate,
        rate_all=rate_all,
        slowest_excited=slowest,
        ode_exponent=_exponent(known.method),
        crossover=_crossover(modes, known.method),
        warnings=prediction_warnings(modes, known.method),
        status=Status.EXACT if finite else Status.NOT_FINITE,
        method=f"{found.view} prediction of {known.words} on {modes.loss_name}, {len(modes.values)} modes",
        error="rounding, against the linearized network; the network itself departs from it: see compare",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=modes.provenance,
    )


def _first_below(step: np.ndarray, relative: np.ndarray, fraction: float) -> int:
    below = np.flatnonzero(relative < fraction)
    return int(step[below[0]]) if below.size else -1


def _rates(modes: Spectrum, method: Method | None) -> tuple[float, float, float]:
    """Asymptotic rate of the slowest excited mode, of all nonzero modes, and the slowest excited eigenvalue."""
    if method is None or (isinstance(method, TorchSgd) and method.schedule is not None) or not len(modes.positive):
        return math.nan, math.nan, math.nan
    live = modes.values > modes.cutoff
    excited = live & (np.abs(modes.coefficients) > _EXCITED * np.linalg.norm(modes.scaled_error))
    factors = method.rate(method.lr * (modes.values + method.decay))
    if not excited.any():
        return math.nan, float(factors[live].max()), math.nan
    slowest = int(np.flatnonzero(excited)[factors[excited].argmax()])
    return float(factors[slowest]), float(factors[live].max()), float(modes.values[slowest])


def _exponent(method: Method | None) -> str:
    if method is None or method.decay:
        return ""
    try:
        return limiting_equation(method).exponent
    except InputError:
        return ""


def _crossover(modes: Spectrum, method: Method | None) -> float:
    """``d / |log(1 - lr lambda_0)|`` for the scheduled Nesterov methods, with the smallest nonzero eigenvalue."""
    if not isinstance(method, CanonicalNesterov | ScheduledNesterov) or not len(modes.positive):
        return math.nan
    x = method.lr * float(modes.positive[-1])
    return method.d / -math.log1p(-x) if x < 1 else math.nan


def prediction_warnings(modes: Spectrum, method: Method | None) -> list[str]:
    """Conditions under which a kernel prediction must not be trusted, each with its consequence."""
    found = []
    if method is not None and not (isinstance(method, TorchSgd) and method.schedule is not None):
        x, limit = method.lr * (modes.largest + method.decay), method.limit()
        if x > limit:
            found.append(
                f"lr x largest eigenvalue is {x:.3g}, above the limit {limit:.3g} of {method.words}: the linearized network diverges and "
                f"no kernel prediction holds; the largest stable lr is {limit / (modes.largest + method.decay):.3g}"
            )
    if isinstance(method, TwoMomentum) and method.frictionless:
        found.append("the two momenta add up to 1 or more: there is no friction, and modes with small eigenvalues hardly decay")
    if modes.floor > modes.offset + 1e-12 * max(modes.loss, 1e-300):
        found.append(f"zero modes hold a part of the error: the predicted loss never falls below {modes.floor:.4g}")
    return found + modes.causes
