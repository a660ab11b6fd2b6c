"""Claims of the embedding principle: critical points of narrow networks are critical points of wide ones."""

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
from isthmus.embedding import Growth, grow
from isthmus.embedding.optimizer_state import StateMap, mapped_gradient
from isthmus.embedding.unit_curvature import splittable
from isthmus.model.derivatives import loss_gradient
from isthmus.model.problem import Problem
from isthmus.model.resizing import unit_group
from isthmus.model.units import UnitGroup
from isthmus.papers.zhang2021.instances import parked, perturbed_clone, planted, split_of
from isthmus.papers.zhang2021.measures import SEEDS

_CRITICAL = 1e-12
_FEW = 64


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
        expected = wide.network.layout.flatten(mapped_gradient(small, [StateMap.of_copies(growth.copies(group))]))
        found = loss_gradient(wide)
        errors.append(float((found - expected).norm() / expected.norm().clamp_min(1e-300)))
    return Evidence.worst_of(
        np.array([errors]),
        quantity="largest relative difference between the wide gradient and the map of the narrow one, over layers",
        predicted="0",
        threshold=tolerance("float64", terms=few.network.size, depth=8),
        reason="rounding of float64 gradients",
        axis=np.arange(1.0, len(errors) + 1),
    )


def check_critical_embedding(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Split a unit of the problem's own network: its gradient is a fixed linear image of the narrow one, zero if that is."""
    return _mapped_error(problem, lambda narrow, growth: narrow._with(network=grow(narrow, growth).network))


def control_critical_embedding(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A clone whose own weights are off by a tenth."""
    return _mapped_error(problem, lambda narrow, growth: perturbed_clone(narrow, growth.layer, seed))


def _degeneracy(scale: ScaleName, seed: Seed, widen: Callable[[Problem, int, Seed], Problem], added: tuple[int, ...]) -> Evidence:
    missing = np.zeros((SEEDS[scale], len(added)))
    for i in range(SEEDS[scale]):
        narrow = planted((2, 2, 1), seed.child(i))
        zero = hessian_spectrum(narrow).inertia.zero
        for j, units in enumerate(added):
            missing[i, j] = units - (hessian_spectrum(widen(narrow, units, seed.child(i, j))).inertia.zero - zero)
    return Evidence.worst_of(
        missing,
        quantity="neurons added minus zero Hessian eigenvalues gained",
        predicted="at most 0",
        threshold=0.0,
        reason="a count: each neuron must bring at least one zero eigenvalue",
        axis=np.array(added, dtype=np.float64),
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
    for i in range(SEEDS[scale]):
        point = planted((2, 3, 2), seed.child("network"))
        generator = torch.Generator().manual_seed(seed.child("data", i).integer)
        x, y = (torch.randn(30, 2, generator=generator, dtype=torch.float64) for _ in range(2))
        targets = [y, y, (y > 0).double()]
        rows.append([error(Problem(point.network, x, t, loss), seed) for loss, t in zip(losses, targets, strict=True)])
    return Evidence.worst_of(
        np.array(rows),
        quantity="largest relative difference between the wide gradient and the map of the narrow one, over losses and data",
        predicted="0",
        threshold=tolerance("float64", terms=64, depth=8),
        reason="rounding of float64 gradients",
        axis=np.arange(1.0, len(losses) + 1),
    )


def _split_error(problem: Problem, seed: Seed) -> float:
    growth = Growth("0", {1: (0.3, 0.7)})
    wide = problem._with(network=grow(problem, growth).network)
    small = problem.network.layout.unflatten(loss_gradient(problem))
    image = StateMap.of_copies(growth.copies(unit_group(problem, "0")))
    expected = wide.network.layout.flatten(mapped_gradient(small, [image]))
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
    slopes = np.zeros((SEEDS[scale], len(widths)))
    for i in range(SEEDS[scale]):
        for j, pair in enumerate(widths):
            narrow = planted((2, *pair, 1), seed.child(i, j))
            slopes[i, j] = float(loss_gradient(widen(narrow, pair, seed.child("split", i, j))).norm())
    return Evidence.worst_of(
        slopes,
        quantity="gradient norm of the image in the widest network, over all narrower widths",
        predicted="0",
        threshold=_CRITICAL,
        reason="planted points have gradient norm 1e-16; rounding of float64 sums",
        axis=np.arange(1.0, len(widths) + 1),
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
)
