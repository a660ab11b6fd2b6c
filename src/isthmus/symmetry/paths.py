"""Paths of straight segments between two networks that compute one function, along which the function never changes."""

import itertools
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from isthmus._core.errors import HypothesisError, ShapeError, VerificationError
from isthmus.combinatorics.pieces import Piece
from isthmus.model.network import Network
from isthmus.symmetry.expansion import ExpansionManifold
from isthmus.symmetry.layers import HiddenLayer, hidden_layers
from isthmus.symmetry.membership import Membership, locate
from isthmus.symmetry.reduction import shrunk
from isthmus.symmetry.routing import Round, route
from isthmus.symmetry.rows import State

_ROUNDING = 1e-9


@dataclass(frozen=True)
class ZeroLossPath:
    """A piecewise linear path in parameter space.

    Attributes:
        network: the architecture.
        knots: parameters at the ends of the segments, ``(segments + 1, p)``.
        statistics: running statistics of norms there, which belong to units and move with them, ``(segments + 1, q)``.
        steps: what each segment does, in words.
        sizes: widths of the hidden layers.
        widths: minimal widths of the hidden layers.
        moved: units of each layer that end in another slot.
        change: largest output change at a knot or in the middle of a segment, over the largest output.
    """

    network: Network
    knots: Tensor
    statistics: Tensor
    steps: tuple[str, ...]
    sizes: tuple[int, ...]
    widths: tuple[int, ...]
    moved: tuple[int, ...]
    change: float

    def at(self, position: float) -> Network:
        """The network at a position along the path, in segments from its start."""
        knot = min(int(position), len(self.steps) - 1) if self.steps else 0
        return self._mixed(knot, min(knot + 1, len(self.steps)), position - knot)

    def on_the_line(self, share: float) -> Network:
        """The network on the straight line from the start (0) to the end (1)."""
        return self._mixed(0, len(self.steps), share)

    def _mixed(self, first: int, second: int, share: float) -> Network:
        point, statistics = (torch.lerp(rows[first], rows[second], share) for rows in (self.knots, self.statistics))
        buffers, start = dict(self.network.buffers), 0
        for name in _statistics(self.network):
            size = buffers[name].numel()
            buffers[name] = statistics[start : start + size].reshape(buffers[name].shape)
            start += size
        return self.network.at(point, buffers)


def zero_loss_path(
    first: nn.Module | Network, second: nn.Module | Network, inputs: Tensor, *, tolerance: float = 1e-8
) -> ZeroLossPath:
    """The shortest path of constant function that the star construction gives, from one network to an equivalent one.

    Both ends are brought to "irreducible units and free units" by one segment (copies hand their outgoing vectors to one of
    them, zero-type groups give theirs up). Then units move: a free unit takes over the incoming vector of a unit (it sends
    nothing yet), the outgoing vector is handed over (the sum stays), and the unit that was left is free. With one free
    unit a layer takes as many moves as it has misplaced units and closed cycles; with more, moves run in parallel, and
    those of different layers always do. Signs (odd activations) and scales (positively homogeneous ones, linear factors) are
    changed on the way. Where ``sigma(z) + sigma(-z) = 2 c`` (sigmoid) a unit that changes its sign hands over ``a`` as ``-a``
    while the readers' biases gain ``2 c a``: both are linear along the segment, so the function stays there too.

    Args:
        first: start.
        second: end, of the same architecture.
        inputs: on which the function is compared; taken to float64 like the networks.
        tolerance: relative, for telling copies and for comparing the two reductions.

    Returns:
        The path, checked at its knots and in the middle of every segment.

    Raises:
        ShapeError: the architectures differ.
        HypothesisError: the networks reduce to different irreducible ones, or a layer has no free unit and a different order.
        VerificationError: the function changed along the path: nothing is returned.
    """
    start, end = (Network.of(one).eval().to(torch.float64) for one in (first, second))
    if start.architecture_hash != end.architecture_hash:
        raise ShapeError("The two networks have different architectures; a path needs one parameter space for both.")
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    layers = hidden_layers(start, inputs)
    small = shrunk(start, inputs, opposites=False)
    manifold = ExpansionManifold(small.network, small.layers, tuple(layer.size for layer in layers))
    places = _located(manifold, (start, end), inputs, tolerance)
    planner = _Planner(layers, *places)
    states, steps = planner.plan(start.state, end.state)
    path = ZeroLossPath(
        network=start,
        knots=torch.stack([start.layout.flatten(state) for state in states]),
        statistics=torch.stack([_flat(state, _statistics(start)) for state in states]),
        steps=tuple(steps),
        sizes=tuple(layer.size for layer in layers),
        widths=tuple(layer.size for layer in manifold.layers),
        moved=planner.moved,
        change=0.0,
    )
    path = replace(path, change=_change(path, inputs))
    if not path.change <= max(_ROUNDING, 100 * tolerance):
        raise VerificationError(
            f"Along the planned path the outputs change by {path.change:.3g} of their size; the plan is wrong here and is not "
            "returned. Please report the module."
        )
    return path


def _located(
    manifold: ExpansionManifold, ends: tuple[Network, Network], inputs: Tensor, tolerance: float
) -> tuple[Membership, Membership]:
    """Where both ends lie on the expansion manifold of the first one's reduction."""
    first, second = (locate(manifold, one, inputs, tolerance=tolerance) for one in ends)
    if first is not None and second is not None:
        return first, second
    which = "The first network is not" if first is None else "The second network does not"
    what = "recovered from its own reduction" if first is None else "reduce to the same irreducible network as the first"
    raise HypothesisError(
        f"{which} {what} (units {[layer.size for layer in manifold.layers]}, tolerance {tolerance:g}), so no path of equal "
        "function is known between them. Compare their outputs, or reduce both with isthmus.reduce and look at the widths."
    )


@dataclass(frozen=True)
class _Planner:
    """The plan for two located networks.

    Attributes:
        layers: hidden layers at full width.
        first: where the start lies.
        second: where the end lies.
    """

    layers: list[HiddenLayer]
    first: Membership
    second: Membership

    @property
    def slots(self) -> list[tuple[list[int], list[int]]]:
        """For each layer, one slot per irreducible unit at the start and at the end."""
        return [_slots(a, b) for a, b in zip(self.first.pieces, self.second.pieces, strict=True)]

    @property
    def moved(self) -> tuple[int, ...]:
        """Units of each layer whose slots differ."""
        return tuple(sum(a != b for a, b in zip(old, new, strict=True)) for old, new in self.slots)

    def plan(self, start: State, end: State) -> tuple[list[State], list[str]]:
        """States at the knots and the steps between them, without segments of no length."""
        slots = self.slots
        here = self._gathered(start, self.first, [a for a, _ in slots])
        goal = self._gathered(end, self.second, [b for _, b in slots])
        states, steps = [start, here], ["copies hand their outgoing vectors to one of them"]
        for moves, factors in self._rounds(slots):
            here = self._prepared(here, moves, factors)
            states.append(here)
            steps.append("free units take over incoming vectors")
            here = self._handed_over(here, moves, factors)
            states.append(here)
            steps.append("outgoing vectors are handed over")
        states += [goal, end]
        steps += ["free units go to their final incoming vectors", "outgoing vectors are spread over the copies"]
        kept = [i for i, (a, b) in enumerate(itertools.pairwise(states)) if any(not torch.equal(a[k], b[k]) for k in a)]
        return [states[0], *(states[i + 1] for i in kept)], [steps[i] for i in kept]

    def _gathered(self, state: State, place: Membership, slots: list[list[int]]) -> State:
        """Every irreducible unit in one slot; all others send nothing."""
        for layer, piece, factors, chosen in zip(self.layers, place.pieces, place.factors, slots, strict=True):
            out = layer.outgoing(state)
            new, relative = torch.zeros_like(out), torch.tensor(factors, dtype=out.dtype, device=out.device)
            for unit, slot in enumerate(chosen):
                group = list(piece.groups[unit])
                relative[group] /= factors[slot]
                new[slot] = relative[group] @ out[group]
            state = layer.with_outgoing(layer.with_constants(state, layer.constants(relative)), new)
        return state

    def _rounds(self, slots: list[tuple[list[int], list[int]]]) -> list[tuple[list[Round], list[dict[int, float]]]]:
        """Per round: the moves of every layer, and by which factor the incoming vector changes on the way."""
        plans = []
        for index, (layer, (old, new)) in enumerate(zip(self.layers, slots, strict=True)):
            ratio = {}
            for unit, (a, b) in enumerate(zip(old, new, strict=True)):
                ratio[unit] = self.second.factors[index][b] / self.first.factors[index][a]
            plans.append(_layer_rounds(layer, old, new, ratio))
        longest = max((len(plan) for plan in plans), default=0)
        padded = [plan + [((), {})] * (longest - len(plan)) for plan in plans]
        return [([plan[k][0] for plan in padded], [plan[k][1] for plan in padded]) for k in range(longest)]

    def _prepared(self, state: State, moves: list[Round], factors: list[dict[int, float]]) -> State:
        for layer, round_, factor in zip(self.layers, moves, factors, strict=True):
            rows, factors_there = layer.incoming(state).clone(), torch.ones(layer.size, dtype=torch.float64)
            for source, target in round_:
                rows[target] = rows[source]
                factors_there[target] = factor.get(source, 1.0)
            state = layer.with_incoming(state, layer.multiplied(state, rows, factors_there.to(rows)))
        return state

    def _handed_over(self, state: State, moves: list[Round], factors: list[dict[int, float]]) -> State:
        for layer, round_, factor in zip(self.layers, moves, factors, strict=True):
            out, inverse = layer.outgoing(state).clone(), torch.ones(layer.size, dtype=torch.float64)
            for source, target in round_:
                inverse[source] = 1 / factor.get(source, 1.0)
                out[target] = out[source] * inverse[source]
                out[source] = 0
            state = layer.with_outgoing(layer.with_constants(state, layer.constants(inverse.to(out))), out)
        return state


def _slots(first: Piece, second: Piece) -> tuple[list[int], list[int]]:
    """One slot per irreducible unit in either network; a common one where the two groups of copies share it."""
    pairs = []
    for mine, theirs in zip(first.groups[: first.r], second.groups[: first.r], strict=True):
        common = [slot for slot in mine if slot in theirs]
        pairs.append((common[0], common[0]) if common else (mine[0], theirs[0]))
    return [a for a, _ in pairs], [b for _, b in pairs]


def _layer_rounds(
    layer: HiddenLayer, old: list[int], new: list[int], ratio: dict[int, float]
) -> list[tuple[Round, dict[int, float]]]:
    """Rounds of one layer; a unit changes its sign or scale on its first move, and steps out and back if it has none."""
    start: list[int | None] = [None] * layer.size
    goal: list[int | None] = [None] * layer.size
    for unit, (a, b) in enumerate(zip(old, new, strict=True)):
        start[a], goal[b] = unit, unit
    rounds: list[Round] = list(route(start, goal))
    moved = {start[source] for round_ in rounds for source, _ in round_ if start[source] is not None}
    free = [slot for slot, unit in enumerate(goal) if unit is None]
    turned = [unit for unit in ratio if not _one(ratio[unit]) and unit not in moved]
    if turned and not free:
        raise HypothesisError(
            f"{layer.group.name} has no free unit, and {len(turned)} of its units differ in sign or scale: at minimal width these "
            "copies are isolated. One more unit in the layer connects them."
        )
    for k in range(0, len(turned), max(len(free), 1)):
        away = tuple((new[unit], slot) for unit, slot in zip(turned[k:], free, strict=False))
        rounds += [away, tuple((slot, home) for home, slot in away)]
    place, pending, result = {slot: unit for slot, unit in enumerate(start) if unit is not None}, dict(ratio), []
    for round_ in rounds:
        factors = {source: pending.pop(place[source]) for source, _ in round_ if place[source] in pending}
        units = [(place.pop(source), target) for source, target in round_]
        place |= {target: unit for unit, target in units}
        result.append((round_, factors))
    return result


def _one(value: float) -> bool:
    return abs(value - 1) <= 1e-12


def _statistics(network: Network) -> list[str]:
    """Buffers that belong to a path: the floating ones; counters and frozen integers stay."""
    return [name for name, value in network.buffers.items() if value.is_floating_point()]


def _flat(state: State, names: list[str]) -> Tensor:
    return torch.cat([state[name].reshape(-1) for name in names]) if names else torch.empty(0)


def _change(path: ZeroLossPath, inputs: Tensor) -> float:
    before = path.at(0)(inputs)
    positions = [half / 2 for half in range(2 * len(path.steps) + 1)]
    worst = max(float((path.at(position)(inputs) - before).abs().max()) for position in positions)
    return worst / float(before.abs().max().clamp_min(1e-300))
