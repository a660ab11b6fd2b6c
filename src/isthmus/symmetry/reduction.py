"""From a trained network to the irreducible one behind it: exact merging, refit, and the certificate that decides."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.model.derivatives import loss_value
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.resizing import output_difference
from isthmus.symmetry.layers import HiddenLayer, hidden_layers
from isthmus.symmetry.merging import Cluster, Dropped, clusters, merged
from isthmus.symmetry.opposites import relieved
from isthmus.symmetry.refitting import quick, refitted

TOLERANCES = (1e-9, 1e-6, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1)
_FLOOR = 1e-26
_ROOM = 1e-3
_TOO_FAR = 0.1
_SAME_OUTPUTS = 1e-3


@dataclass(frozen=True)
class UnitRole:
    """What a unit of the given network is.

    Attributes:
        kind: ``distinct``, ``copy`` (shares its values with others), or why it leaves nothing: ``parked`` (nothing reads it),
            ``zero group`` (outgoing vectors cancel), ``dead`` (zero on all inputs), ``constant``, ``opposite`` (another unit of
            the opposite incoming vector carries the nonlinear part of both, and the linear one cancels or others carry it).
        group: number of the irreducible unit that it belongs to; zero-type groups have numbers after those; -1 for dead,
            constant and opposite units.
        factor: its value over that of its group's first unit: 1, -1 (opposite sign), or a positive scale.
    """

    kind: str
    group: int
    factor: float


@dataclass(frozen=True)
class Shrunk:
    """A network after merging, before any refit.

    Attributes:
        network: the smaller network.
        layers: its hidden layers.
        roles: for each hidden layer of the given network, its units' roles.
        change: largest output change over the largest output, on the inputs.
    """

    network: Network
    layers: tuple[HiddenLayer, ...]
    roles: tuple[tuple[UnitRole, ...], ...]
    change: float


@dataclass(frozen=True)
class Attempt:
    """One tolerance tried.

    Attributes:
        tolerance: at which units were merged.
        widths: that came out.
        change: relative output change by merging alone.
        loss: after the refit.
        accepted: whether the refit loss is not above the given network's and the outputs are the same.
    """

    tolerance: float
    widths: tuple[int, ...]
    change: float
    loss: float
    accepted: bool


@dataclass(frozen=True)
class Reduction:
    """The irreducible network found behind a network.

    Attributes:
        problem: the reduced network with the data and loss.
        roles: for each hidden layer of the given network, its units' roles.
        widths: of the reduced hidden layers.
        change: relative output change by merging alone, before the refit.
        total_change: the same after it.
        loss: of the given network.
        refit_loss: of the reduced one.
        tolerance: at which the accepted merge was made.
        attempts: all tolerances tried.
    """

    problem: Problem
    roles: tuple[tuple[UnitRole, ...], ...]
    widths: tuple[int, ...]
    change: float
    total_change: float
    loss: float
    refit_loss: float
    tolerance: float
    attempts: tuple[Attempt, ...]


def reduce(problem: Problem, *, tolerances: Sequence[float] = TOLERANCES, steps: int = 200) -> Reduction:
    """The narrowest network that merging finds and that the data cannot tell from the given one.

    Merges are proposed at several tolerances. No tolerance decides: each proposal is refitted, and it is accepted when the
    loss after the refit is not above the given network's (by more than 0.1 %, or the rounding floor of 1e-26 times the mean
    squared output) and the outputs are the same to 0.1 % of the largest. Among the accepted the narrowest wins. A proposal
    that is good enough as it is needs no refit; small networks get one all the same.

    Args:
        problem: network of any traceable kind, data and loss; taken to float64.
        tolerances: relative distances at which units are joined.
        steps: evaluations allowed for each refit.

    Returns:
        The reduction. When nothing can be merged, the network itself.

    Raises:
        HypothesisError: no layer has exchangeable units.
        UnsupportedLayer: the network cannot be traced.

    References:
        The refit is part of the method: merging alone leaves a loss many orders above a converged network's.
    """
    problem = problem.eval().to(torch.float64)
    loss = loss_value(problem)
    limit = max(loss * (1 + _ROOM), _FLOOR * float(problem.network(problem.inputs).square().mean()))
    whole = tuple(layer.size for layer in hidden_layers(problem.network, problem.inputs))
    best, tried, seen = None, [], {}
    for tolerance in tolerances:
        small = shrunk(problem.network, problem.inputs, tolerance=tolerance)
        if small.change > _TOO_FAR:
            continue
        if small.roles not in seen:
            seen[small.roles] = _settled(problem, small, limit, steps, whole)
        after, accepted = seen[small.roles]
        widths = tuple(layer.size for layer in small.layers)
        tried.append(Attempt(tolerance, widths, small.change, loss_value(after), accepted))
        if accepted and (best is None or sum(widths) < sum(best[1].widths)):
            best = (small, tried[-1], after)
    small, attempt, after = best if best is not None else _unchanged(problem, loss)
    return Reduction(
        problem=after,
        roles=small.roles,
        widths=tuple(layer.size for layer in small.layers),
        change=small.change,
        total_change=output_difference(problem.network, after.network, problem.inputs),
        loss=loss,
        refit_loss=loss_value(after),
        tolerance=attempt.tolerance,
        attempts=tuple(tried),
    )


def shrunk(network: Network, inputs: Tensor, *, tolerance: float = 1e-9, opposites: bool = True) -> Shrunk:
    """Join and drop redundant units in every hidden layer until nothing changes any more.

    Layers are visited from the inputs on, again and again, because a unit that is dropped in one layer may make units
    redundant in the layer before (nothing reads them now) and in the layer after (their values agree now).

    Args:
        network: in float64 and evaluation mode.
        inputs: on which values are compared.
        tolerance: relative.
        opposites: also relieve opposite units of an even plus linear activation, which changes the outgoing vectors of others.

    Returns:
        The smaller network with every unit's role.
    """
    layers = hidden_layers(network, inputs)
    small = network
    books = [_Book.of(layer.size) for layer in layers]
    changed = True
    while changed:
        changed = False
        for index, layer in enumerate(layers):
            found = clusters(small, layer, inputs, tolerance)
            if opposites and all(cluster.kind is None and len(cluster.members) == 1 for cluster in found):
                small, found = relieved(small, layer, tolerance)
            kept = sum(cluster.kind is None for cluster in found)
            if kept == layer.size or kept == 0:
                continue
            small, layers[index], changed = merged(small, layer, found), layer.resized(kept), True
            books[index].note(found)
    return Shrunk(small, tuple(layers), tuple(book.roles() for book in books), output_difference(network, small, inputs))


@dataclass
class _Book:
    """Who of a layer's original units stands where, as merges go on."""

    alive: list[list[tuple[int, float]]]
    gone: list[tuple[Dropped, list[tuple[int, float]]]]

    @classmethod
    def of(cls, size: int) -> "_Book":
        return cls([[(unit, 1.0)] for unit in range(size)], [])

    def note(self, found: Sequence[Cluster]) -> None:
        alive = []
        for cluster in found:
            pairs = zip(cluster.members, cluster.factors, strict=True)
            joined = [(unit, own * factor) for member, factor in pairs for unit, own in self.alive[member]]
            if cluster.kind is None:
                alive.append(joined)
            else:
                self.gone.append((cluster.kind, joined))
        self.alive = alive

    def roles(self) -> tuple[UnitRole, ...]:
        table: dict[int, UnitRole] = {}
        for group, members in enumerate(self.alive):
            for unit, factor in members:
                table[unit] = UnitRole("copy" if len(members) > 1 else "distinct", group, factor)
        group = len(self.alive)
        for kind, members in self.gone:
            counted = kind in ("parked", "zero group")
            for unit, factor in members:
                name = "zero group" if kind == "parked" and len(members) > 1 else kind
                table[unit] = UnitRole(name, group if counted else -1, factor)
            group += counted
        return tuple(table[unit] for unit in sorted(table))


def _unchanged(problem: Problem, loss: float) -> tuple[Shrunk, Attempt, Problem]:
    layers = tuple(hidden_layers(problem.network, problem.inputs))
    roles = tuple(_Book.of(layer.size).roles() for layer in layers)
    widths = tuple(layer.size for layer in layers)
    return Shrunk(problem.network, layers, roles, 0.0), Attempt(0.0, widths, 0.0, loss, accepted=True), problem


def _settled(problem: Problem, small: Shrunk, limit: float, steps: int, whole: tuple[int, ...]) -> tuple[Problem, bool]:
    """A proposal after the refit that it needs, and whether it passes."""
    after = problem._with(network=small.network)
    accepted = _same(problem, after, limit)
    if tuple(layer.size for layer in small.layers) == whole or (accepted and not quick(after)):
        return after, accepted
    fitted = refitted(after, steps=steps)
    better = _same(problem, fitted, limit)
    return (fitted, better) if better or not accepted else (after, accepted)


def _same(given: Problem, found: Problem, limit: float) -> bool:
    """The certificate: no higher loss, and the same outputs."""
    return loss_value(found) <= limit and output_difference(given.network, found.network, given.inputs) <= _SAME_OUTPUTS
