"""Claims of the embedding principle, and what is derived from it here."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from isthmus._core.errors import ModelError
from isthmus._core.numerics import tolerance
from isthmus._core.seeds import Seed
from isthmus.claims import Claim, Evidence, Hypothesis
from isthmus.claims.claim import ScaleName
from isthmus.curvature import hessian_spectrum
from isthmus.embedding import Growth, grow, predict_inertia
from isthmus.embedding.condensation import condensed
from isthmus.embedding.optimizer_state import mapped_gradient
from isthmus.embedding.unit_curvature import splittable
from isthmus.model.derivatives import loss_gradient, loss_value
from isthmus.model.problem import Problem
from isthmus.model.resizing import unit_group
from isthmus.model.units import UnitGroup
from isthmus.papers.zhang2021.instances import (
    parked,
    perturbed_clone,
    planted,
    small_init,
    split_of,
    wide_run,
    width_one_optimum,
)

_SEEDS = {"smoke": 3, "desk": 12, "paper": 40}
_RUNS = {"smoke": (3, 400), "desk": (8, 8000), "paper": (20, 8000)}
_DIRECTION = 0.99
_WIDE = 50
_CRITICAL = 1e-12
_FEW = 64


def _exact(quantity: str, predicted: str, values: np.ndarray, axis: np.ndarray, line: float, reason: str) -> Evidence:
    worst = float(values.max())
    return Evidence(
        quantity=quantity,
        predicted=predicted,
        estimate=worst,
        interval=(worst, worst),
        threshold=line,
        reason=reason,
        exact=True,
        axis=axis,
        measured=values,
    )


def _some_groups(problem: Problem) -> list[UnitGroup]:
    """Layers whose units can be split one by one, three at most."""
    try:
        return splittable(problem)[:3]
    except ModelError:
        return []


def _mapped_error(problem: Problem, change: Callable[[Problem, Growth], Problem]) -> Evidence:
    """Largest relative difference between the wide gradient and the map of the narrow one, layer by layer."""
    few = problem.eval().to(torch.float64).subset(slice(0, _FEW))
    small = few.network.layout.unflatten(loss_gradient(few))
    errors = []
    for group in _some_groups(few):
        growth = Growth(group.name, {0: (0.3, 0.7)})
        wide = change(few, growth)
        expected = wide.network.layout.flatten(mapped_gradient(small, [growth.copies(group)]))
        found = loss_gradient(wide)
        errors.append(float((found - expected).norm() / expected.norm().clamp_min(1e-300)))
    return _exact(
        "largest relative difference between the wide gradient and the map of the narrow one, over layers",
        "0",
        np.array([errors]),
        np.arange(1.0, len(errors) + 1),
        tolerance("float64", terms=few.network.size, depth=8),
        "rounding of float64 gradients",
    )


def check_critical_embedding(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Split a unit of the problem's own network: its gradient is a fixed linear image of the narrow one, zero if that is."""
    return _mapped_error(problem, lambda narrow, growth: narrow._with(network=grow(narrow, growth).network))


def control_critical_embedding(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A clone whose own weights are off by a tenth."""
    return _mapped_error(problem, lambda narrow, growth: perturbed_clone(narrow, growth.layer, seed))


def _degeneracy(scale: ScaleName, seed: Seed, widen: Callable[[Problem, int, Seed], Problem], added: tuple[int, ...]) -> Evidence:
    missing = np.zeros((_SEEDS[scale], len(added)))
    for i in range(_SEEDS[scale]):
        narrow = planted((2, 2, 1), seed.child(i))
        zero = hessian_spectrum(narrow).inertia.zero
        for j, units in enumerate(added):
            missing[i, j] = units - (hessian_spectrum(widen(narrow, units, seed.child(i, j))).inertia.zero - zero)
    return _exact(
        "neurons added minus zero Hessian eigenvalues gained",
        "at most 0",
        missing,
        np.array(added, dtype=np.float64),
        0.0,
        "a count: each neuron must bring at least one zero eigenvalue",
    )


def check_degeneracy(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Split units of planted critical points: at least one zero Hessian eigenvalue for each neuron added."""
    return _degeneracy(scale, seed, lambda narrow, units, s: split_of(narrow, "0", units, s), (1, 2, 3))


def control_degeneracy(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A perturbed clone is no embedding and brings no zero eigenvalue."""
    return _degeneracy(scale, seed, lambda narrow, _, s: perturbed_clone(narrow, "0", s), (1,))


def _losses() -> list[nn.Module]:
    return [nn.MSELoss(), nn.SmoothL1Loss(beta=0.5), nn.BCEWithLogitsLoss()]


def _over_data(seed: Seed, scale: ScaleName, error: Callable[[Problem, Seed], float]) -> Evidence:
    """One widening of one network, under several losses and several random data sets."""
    losses, rows = _losses(), []
    for i in range(_SEEDS[scale]):
        point = planted((2, 3, 2), seed.child("network"))
        generator = torch.Generator().manual_seed(seed.child("data", i).integer)
        x, y = (torch.randn(30, 2, generator=generator, dtype=torch.float64) for _ in range(2))
        targets = [y, y, (y > 0).double()]
        rows.append([error(Problem(point.network, x, t, loss), seed) for loss, t in zip(losses, targets, strict=True)])
    return _exact(
        "largest relative difference between the wide gradient and the map of the narrow one, over losses and data",
        "0",
        np.array(rows),
        np.arange(1.0, len(losses) + 1),
        tolerance("float64", terms=64, depth=8),
        "rounding of float64 gradients",
    )


def _split_error(problem: Problem, seed: Seed) -> float:
    growth = Growth("0", {1: (0.3, 0.7)})
    wide = problem._with(network=grow(problem, growth).network)
    small = problem.network.layout.unflatten(loss_gradient(problem))
    copies = growth.copies(unit_group(problem, "0"))
    expected = wide.network.layout.flatten(mapped_gradient(small, [copies]))
    return float((loss_gradient(wide) - expected).norm() / expected.norm())


def _parked_error(problem: Problem, seed: Seed) -> float:
    """Part of the wide gradient that the narrow gradient does not determine: that of the parked unit's outputs."""
    wide = parked(problem, "0", seed)
    slope = wide.network.layout.unflatten(loss_gradient(wide))["2.weight"][:, -1]
    return float(slope.norm() / loss_gradient(problem).norm())


def check_any_data(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The same split maps gradients alike under squared, smooth L1 and logistic loss and on every data set."""
    return _over_data(seed, scale, _split_error)


def control_any_data(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A unit parked at random own weights keeps outputs, but its output weights get a gradient that depends on the data."""
    return _over_data(seed, scale, _parked_error)


_TARGET = (3, 3)


def _contained(scale: ScaleName, seed: Seed, widen: Callable[[Problem, tuple[int, int], Seed], Problem]) -> Evidence:
    """Critical points of every narrower three-layer network, widened to 3-3 hidden units: their gradient norms."""
    widths = [(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if (a, b) != _TARGET]
    slopes = np.zeros((_SEEDS[scale], len(widths)))
    for i in range(_SEEDS[scale]):
        for j, pair in enumerate(widths):
            narrow = planted((2, *pair, 1), seed.child(i, j))
            slopes[i, j] = float(loss_gradient(widen(narrow, pair, seed.child("split", i, j))).norm())
    return _exact(
        "gradient norm of the image in the widest network, over all narrower widths",
        "0",
        slopes,
        np.arange(1.0, len(widths) + 1),
        _CRITICAL,
        "planted points have gradient norm 1e-16; rounding of float64 sums",
    )


def _widened(problem: Problem, pair: tuple[int, int], seed: Seed) -> Problem:
    for layer, width, goal in zip(("0", "2"), pair, _TARGET, strict=True):
        problem = split_of(problem, layer, goal - width, seed.child(layer))
    return problem


def check_contains(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Critical points of all narrower networks of depth three are critical points of the widest after splitting."""
    return _contained(scale, seed, _widened)


def control_contains(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Widening by units parked at random weights with zero output instead."""
    return _contained(scale, seed, lambda narrow, _, s: parked(narrow, "0", s))


def _inertia_gap(scale: ScaleName, seed: Seed, flip: bool) -> Evidence:
    """Difference of predicted and true inertia counts over shares on all sides of 0 and 1."""
    shares = (0.3, 1.0, 1.6)
    gaps = np.zeros((_SEEDS[scale], len(shares)))
    for i in range(_SEEDS[scale]):
        narrow = planted((2, 2, 1), seed.child(i), size=1.0)
        for j, share in enumerate(shares):
            growth = Growth("0", {0: (1 - share, share)})
            other = Growth("0", {0: (share + 1, -share)}) if flip else growth
            found = predict_inertia(narrow, other).wide
            true = hessian_spectrum(narrow._with(network=grow(narrow, growth).network)).inertia
            gaps[i, j] = abs(found.negative - true.negative) + abs(found.zero - true.zero) + abs(found.positive - true.positive)
    return _exact(
        "difference between inertia counts predicted from the small network and counted in the wide one",
        "0",
        gaps,
        np.array(shares),
        0.0,
        "integers",
    )


def check_inertia(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Inertia after a split, predicted from S and D of the small network alone, against the wide Hessian."""
    return _inertia_gap(scale, seed, flip=False)


def control_inertia(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The prediction for a share on the other side of 0 and 1."""
    return _inertia_gap(scale, seed, flip=True)


def _over_runs(
    scale: ScaleName,
    seed: Seed,
    spread: float,
    number: Callable[[Problem], float],
    words: tuple[str, str, str],
    line: float,
) -> Evidence:
    count, steps = _RUNS[scale]
    rows = np.array([[number(p) for p in wide_run(_WIDE, spread, steps, seed.child("run", i))] for i in range(count)])
    best = rows.min(axis=1)
    quantity, predicted, reason = words
    return Evidence.over_seeds(
        best,
        quantity=quantity,
        predicted=predicted,
        threshold=line,
        reason=reason,
        axis=np.array([steps / 2, steps]),
        measured=rows,
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
)
_SIMPLE = (
    "smallest number of directions that 50 units follow along the run (cosine at least 0.99)",
    "1 to 3",
    "a tenth of the units",
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


_SPLITTABLE = Hypothesis(
    "the network has a layer whose units can be split one by one", lambda problem: bool(_some_groups(problem))
)
_ABSTRACT = "the paper's abstract"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="critical_embedding",
        kind="exact",
        statement="Splitting a unit keeps the outputs and maps the gradient by a fixed linear map, so that a critical point of the "
        "narrower network becomes one of the wider; checked on this network at its own parameters.",
        source=f"{_ABSTRACT}; the linear map is derived here",
        hypotheses=(_SPLITTABLE,),
        check=check_critical_embedding,
        control=control_critical_embedding,
    ),
    Claim(
        id="higher_degeneracy",
        kind="exact",
        statement="Each neuron added by splitting adds at least one zero Hessian eigenvalue; planted critical points of 2-2-1 tanh "
        "networks.",
        source=f"{_ABSTRACT} and text",
        hypotheses=(),
        check=check_degeneracy,
        control=control_degeneracy,
    ),
    Claim(
        id="independent_of_loss_and_data",
        kind="exact",
        statement="One and the same splitting maps gradients alike for squared, smooth L1 and logistic loss and any data.",
        source=_ABSTRACT,
        hypotheses=(),
        check=check_any_data,
        control=control_any_data,
    ),
    Claim(
        id="contains_all_narrower",
        kind="exact",
        statement="The landscape of a network with two hidden layers of width 3 contains, after splitting, critical points of all narrower "
        "networks.",
        source=_ABSTRACT,
        hypotheses=(),
        check=check_contains,
        control=control_contains,
    ),
    Claim(
        id="inertia_from_the_small_network",
        kind="exact",
        statement="The inertia after a split follows from two small matrices of the narrow network: In(H) + In([[a(1-a)S, D'], [D, 0]]).",
        source="derived here; for one output and a(1-a) > 0 known since Fukumizu and Amari (2000)",
        hypotheses=(),
        check=check_inertia,
        control=control_inertia,
    ),
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
)
