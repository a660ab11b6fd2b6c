"""Claims about training: wide networks pass near narrow critical points, and their units condense."""

from collections.abc import Callable

import numpy as np

from isthmus._core.seeds import Seed
from isthmus.claims import Claim, Evidence, fit_rate
from isthmus.claims.claim import ScaleName
from isthmus.embedding import measured_regime
from isthmus.embedding.condensation import condensed
from isthmus.model.derivatives import loss_value
from isthmus.model.problem import Problem
from isthmus.papers.zhang2021.instances import humps, small_init, wide_run, width_one_optimum

_RUNS = {"smoke": (3, 400), "desk": (8, 8000), "paper": (20, 8000)}
_STARTS = {"smoke": 6, "desk": 24, "paper": 48}
_DIRECTION = 0.99
_WIDE = 50


def _over_runs(
    scale: ScaleName,
    seed: Seed,
    spread: float,
    number: Callable[[Problem], float],
    words: tuple[str, str, str, str],
    line: float,
) -> Evidence:
    count, steps = _RUNS[scale]
    rows = np.array([[number(p) for p in wide_run(_WIDE, spread, steps, seed.child("run", i))] for i in range(count)])
    best = rows.min(axis=1)
    quantity, predicted, reason, name = words
    return Evidence.over_seeds(
        best,
        quantity=quantity,
        predicted=predicted,
        threshold=line,
        reason=reason,
        axis=np.array([steps / 2, steps]),
        axis_name="steps of gradient descent",
        measured=rows,
        measured_name=name,
    )


def _offset(problem: Problem) -> float:
    """Mean squared output distance to the width-1 critical function, over its loss."""
    narrow = width_one_optimum()
    difference = problem.network(problem.inputs) - narrow.network(problem.inputs)
    return float(difference.square().mean()) / loss_value(narrow)


def _directions(problem: Problem) -> float:
    return float(condensed(problem, cosine=_DIRECTION).layers[0].count)


_ATTRACTED = (
    "smallest mean squared output distance to the width-1 critical function, relative to its loss, along a width-50 run",
    "much below 1",
    "a twentieth of the plateau's loss",
    "squared output distance / loss",
)
_SIMPLE = (
    "smallest number of directions that 50 units follow along the run (cosine at least 0.99)",
    "1 to 3",
    "a tenth of the units",
    "directions",
)


def check_attracted(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Width 50 on the paper's one-dimensional data from its small initialization: near the width-1 critical function."""
    return _over_runs(scale, seed, small_init(_WIDE), _offset, _ATTRACTED, 0.05)


def control_attracted(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The same from weights of order one."""
    return _over_runs(scale, seed, 1.0, _offset, _ATTRACTED, 0.05)


def check_simple(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The units of the same run follow few directions."""
    return _over_runs(scale, seed, small_init(_WIDE), _directions, _SIMPLE, _WIDE / 10)


def control_simple(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Weights of order one: many directions throughout."""
    return _over_runs(scale, seed, 1.0, _directions, _SIMPLE, _WIDE / 10)


def _motion(gamma: float, scale: ScaleName, seed: Seed) -> Evidence:
    """How the relative motion of own weights grows with the width, for starts of this exponent."""
    found = measured_regime(humps(), gamma, seeds=_STARTS[scale], steps=400, seed=seed)
    rate = fit_rate(found.width, found.moved)
    return Evidence(
        quantity="minus the exponent S of |w - w_0| / |w_0| ~ m^S over widths 16 to 256",
        predicted="S > 0 in the condensed regime",
        estimate=-rate.slope,
        interval=(-rate.interval[1], -rate.interval[0]),
        threshold=-0.15,
        reason="away from the critical regime's S = 0",
        exact=False,
        axis=found.width.astype(np.float64),
        axis_name="width",
        measured=found.moved,
        measured_name="relative motion of own weights",
    )


def check_condensing(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Starts of scale m^-1.25 (gamma 2.5): own weights move the farther the wider the network."""
    return _motion(2.5, scale, seed)


def control_condensing(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Starts of the linear regime (gamma 0.5): they move the less."""
    return _motion(0.5, scale, seed)


_ABSTRACT = "the paper's abstract"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="wide_training_attracted",
        kind="statistical",
        statement="From small initialization a width-50 network on the paper's one-dimensional data passes near the critical function of "
        "width 1.",
        source=f"{_ABSTRACT}; the measure and its line are set here",
        hypotheses=(),
        check=check_attracted,
        control=control_attracted,
    ),
    Claim(
        id="low_complexity_bias",
        kind="statistical",
        statement="On that plateau its 50 units follow few directions: the function has low complexity.",
        source=f"{_ABSTRACT}; the measure and its line are set here",
        hypotheses=(),
        check=check_simple,
        control=control_simple,
    ),
    Claim(
        id="small_start_condenses",
        kind="asymptotic",
        statement="Below the critical scale of initialization own weights move relative to their start by a positive power of the width, "
        "so that training forgets it; above it by a negative power.",
        source="phase diagram of two-layer ReLU networks (Luo et al. 2021), by the notes at second hand; data and scales are chosen here",
        hypotheses=(),
        check=check_condensing,
        control=control_condensing,
    ),
)
