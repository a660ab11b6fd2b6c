"""Joining units that point the same way: the narrow network that a condensed one imitates."""

from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.embedding.vectors import is_odd, unit_vectors
from isthmus.model.problem import Problem
from isthmus.model.resizing import Recipe, resized, unit_groups
from isthmus.model.units import UnitGroup


@dataclass(frozen=True)
class Joined:
    """One layer's units by direction.

    Attributes:
        layer: its group of units.
        group: index of the direction that each unit follows, ``(m,)``; -1 for units too weak to count.
        sign: +1, or -1 for a unit that follows the opposite direction (odd activations only).
        count: number of directions.
    """

    layer: str
    group: Tensor
    sign: Tensor
    count: int


@dataclass(frozen=True)
class Condensed:
    """A network whose units of one direction are one unit.

    Attributes:
        problem: with the narrow network, not yet refitted.
        layers: what was joined, layer by layer.
    """

    problem: Problem
    layers: tuple[Joined, ...]


def condensed(problem: Problem, *, cosine: float = 0.9, weak: float = 0.01) -> Condensed:
    """Join the dense units of each layer whose own parameters (w, b) have at least this cosine.

    Units are taken by their strength ``|p| |u|``, strongest first; the weakest, together `weak` of the total, are dropped.
    The joint unit has the strength-weighted mean of the own parameters and ``u = sum_k s_k u_k |p_k| / |p|``, exact for
    positively homogeneous activations and to first order for small weights. Signs are folded for odd activations.

    Args:
        problem: network, data and loss.
        cosine: smallest cosine of the directions of two units that count as one.
        weak: share of the total strength that may be dropped.

    Returns:
        The narrow network, at least one unit in each layer. Refit it before judging: off a plateau this merge alone is
        a bad approximation.
    """
    found = []
    names = [g.name for g in unit_groups(problem) if g.obstacle is None and g.kind == "dense neuron"]
    for name in names:
        group = next(g for g in unit_groups(problem) if g.name == name)
        own, out = unit_vectors(problem, group)
        layer = joined(group, own, out, cosine=cosine, weak=weak)
        network = resized(problem.network, group, _recipe(layer, own, out), inputs=problem.inputs)
        problem = problem._with(network=network)
        found.append(layer)
    return Condensed(problem, tuple(found))


def joined(group: UnitGroup, own: Tensor, out: Tensor, *, cosine: float = 0.9, weak: float = 0.01) -> Joined:
    """The directions that a layer's units follow: strongest first, each unit to the nearest leader within the cosine.

    Args:
        group: the layer.
        own: own parameters of each unit, ``(m, d_p)``.
        out: outgoing weights, ``(m, d_u)``.
        cosine: smallest that counts as one direction.
        weak: share of the total strength that may be dropped.
    """
    odd = is_odd(group)
    strength = own.norm(dim=1) * out.norm(dim=1)
    order = strength.argsort(descending=True, stable=True)
    rest = strength[order].flip(0).cumsum(0).flip(0)
    loud = set(order[rest > weak * strength.sum()].tolist()) or {int(order[0])}
    direction = own / own.norm(dim=1, keepdim=True).clamp_min(1e-300)
    angles = direction @ direction.T
    member, sign = torch.full((len(own),), -1), torch.ones(len(own), dtype=torch.float64)
    leaders: list[int] = []
    for unit in order.tolist():
        if unit not in loud:
            continue
        row = angles[unit, leaders]
        score = row.abs() if odd else row
        if len(leaders) and float(score.max()) >= cosine:
            member[unit] = int(score.argmax())
            sign[unit] = float(torch.sign(row[member[unit]]))
        else:
            member[unit] = len(leaders)
            leaders.append(unit)
    return Joined(group.name, member, sign, len(leaders))


def _recipe(layer: Joined, own: Tensor, out: Tensor) -> Recipe:
    """One unit for each direction: strength-weighted mean of own parameters, outgoing weights rescaled to it."""
    size = own.norm(dim=1).clamp_min(1e-300)
    strength = own.norm(dim=1) * out.norm(dim=1)
    belongs = torch.nn.functional.one_hot(layer.group + 1, layer.count + 1)[:, 1:].T.double()
    weights = belongs * (strength * layer.sign)
    mean = weights / (belongs * strength).sum(1, keepdim=True).clamp_min(1e-300)
    length = (mean @ own).norm(dim=1).clamp_min(1e-300)
    outgoing = belongs * layer.sign * size / length[:, None]
    return Recipe(mean, outgoing, torch.zeros(layer.count))
