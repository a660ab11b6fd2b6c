"""Exchangeable units of a traced module: which tensors a permutation of them moves, and what lies between.

A group is found by following the axes of all tensors through one run (`tracing`): axes that must move together form one
group. Nothing is specified per architecture.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus.model.axes import Axis, fix, free_roots, occurrences
from isthmus.model.axis_rules import rule_for
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.tracing import Event, Role, Trace, listen, trace

Kind = Literal["dense neuron", "conv channel", "gated unit", "attention head", "head dimension", "residual channel", "tied unit"]
_OBSTACLES = {
    "norm": "a norm in {} takes its statistics across these units",
    "softmax": "a softmax in {} runs across these units",
    "reduction": "{} sums or averages over these units without weights",
    "grouped": "a grouped convolution in {} ties them to its groups",
}
_KIND_OBSTACLES: dict[Kind, str] = {
    "tied unit": "one tensor both computes and reads these units (a recurrent, reused or tied layer)",
    "residual channel": "several layers add into these units",
    "head dimension": "all heads share these dimensions, and the scale of attention depends on their number",
}


@dataclass(frozen=True)
class Slot:
    """Where the units of a group lie in one tensor.

    Unit i occupies the entries ``offset + (o * size + i) * inner + k`` of the axis, for all ``o < outer``, ``k < inner``:
    ``inner`` is the block of one unit (positions after Flatten, the dimensions of a head).

    Attributes:
        tensor: name of the parameter or buffer.
        axis: of the tensor.
        offset: of the first unit.
        outer: number of copies of the whole group, one after the other.
        inner: entries per unit and copy.
    """

    tensor: str
    axis: int
    offset: int = 0
    outer: int = 1
    inner: int = 1

    def entries(self, size: int) -> Tensor:
        """Entries of the axis that belong to each unit, ``(size, outer * inner)``."""
        starts = self.offset + torch.arange(self.outer)[None, :, None] * (size * self.inner)
        grid = starts + torch.arange(size)[:, None, None] * self.inner + torch.arange(self.inner)[None, None, :]
        return grid.reshape(size, -1)


@dataclass(frozen=True)
class UnitGroup:
    """Units that can be exchanged without changing the function.

    Attributes:
        name: of the layer that computes them; unique in its network.
        size: how many.
        incoming: places of what feeds them: weight rows and biases, one slot per tensor, axis and block.
        outgoing: places of what reads them: weight columns of the following layers.
        state: places of what belongs to single units on the way: norm scales and shifts, running statistics, gains.
        kind: what a unit is.
        activations: functions applied to each unit on the way, in order, with their options.
        obstacle: why units cannot be added, split or removed one at a time without changing what happens to the others;
            None when they can.
    """

    name: str
    size: int
    incoming: tuple[Slot, ...]
    outgoing: tuple[Slot, ...]
    state: tuple[Slot, ...] = ()
    kind: Kind = "dense neuron"
    activations: tuple[str, ...] = ()
    obstacle: str | None = None

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All places of the group, each once: what a permutation moves."""
        return tuple(dict.fromkeys((*self.incoming, *self.state, *self.outgoing)))


@dataclass(frozen=True)
class UnitStructure:
    """All groups of exchangeable units of a network, and what kept others from being found.

    Attributes:
        groups: in order of execution.
        fixed_by: ``(module, operation)`` of operations that isthmus has no rule for, and that fixed axes they touch.
        reads: for each group, where its units lie in the data that products with weights read (`values`).
    """

    groups: tuple[UnitGroup, ...]
    fixed_by: tuple[tuple[str, str], ...]
    reads: tuple[tuple[Slot, ...], ...]

    def values(self, network: Network, inputs: Tensor) -> dict[str, Tensor]:
        """The data that the network's products with weights read, by the names that the slots in `reads` use.

        Args:
            network: the network of this structure, or another one of its architecture.
            inputs: ``(n, ...)``.
        """
        wanted: dict[int, set[str]] = {}
        for slot in (slot for slots in self.reads for slot in slots):
            call, _, argument = slot.tensor.partition(" ")
            wanted.setdefault(int(call), set()).add(argument)
        return {f"{call} {argument}": value for (call, argument), value in listen(network, inputs, wanted).items()}


def exchangeable_units(source: nn.Module | Network | Problem, inputs: Tensor | None = None) -> list[UnitGroup]:
    """The groups of exchangeable units of a network, in order of execution.

    Dense neurons, convolution channels with their norms, attention heads and their dimensions, gated units, residual
    streams and recurrent units are found alike; axes that reach inputs or outputs are fixed and form no group.

    Args:
        source: module, network or problem; run once in evaluation mode, on a private copy.
        inputs: one example or more, ``(n, ...)``, for the shapes; a problem brings its own, and a module whose first
            layer is linear needs none.

    Returns:
        The groups; empty when no axis can be permuted.

    Raises:
        InputError: no inputs, and none can be deduced.
        UnsupportedLayer: the forward pass branches on its data.
    """
    return list(unit_structure(source, inputs).groups)


def unit_structure(source: nn.Module | Network | Problem, inputs: Tensor | None = None) -> UnitStructure:
    """The groups of `exchangeable_units` together with the operations that fixed axes for want of a rule."""
    network = Network.of(source)
    if inputs is None:
        inputs = source.inputs if isinstance(source, Problem) else _deduced_inputs(network)
    few = inputs[:2] if len(inputs) > 1 else torch.cat([inputs, inputs])
    found = trace(network, few, rule_for)
    _fix_squares(found)
    taken: set[str] = set()
    places = _places(found)
    groups = tuple(_group(found, root, slots, taken) for root, slots in places.items())
    reads: dict[Axis, list[Slot]] = {root: [] for root in places}
    for read in found.reads:
        for root, offset, outer, inner in occurrences(read.axis):
            if root in reads:
                reads[root].append(Slot(f"{read.call} {read.argument}", read.dim, offset, outer, inner))
    return UnitStructure(groups, tuple(dict.fromkeys(found.fixed_by)), tuple(map(tuple, reads.values())))


def _deduced_inputs(network: Network) -> Tensor:
    first = next(sub for sub in network.module.modules() if next(sub.parameters(recurse=False), None) is not None)
    if isinstance(first, nn.Linear):
        return torch.zeros(2, first.in_features, dtype=network.dtype, device=network.device)
    raise InputError(
        f"The shape of the inputs cannot be deduced from {type(first).__name__}. Pass a Problem, or inputs= with an example."
    )


def _fix_squares(found: Trace) -> None:
    """Fix a group that is both the outer and the inner part of one flattened axis: no slot describes it."""
    for value in found.parameters.values():
        for label in value.labels:
            _fix_repeated_factors(label.axis.root)


def _fix_repeated_factors(root: Axis) -> None:
    if root.form == "product":
        seen: set[int] = set()
        for part in root.parts:
            mine = set(map(id, free_roots(part)))
            if mine & seen:
                fix(part)
            seen |= mine
    for part in root.parts:
        _fix_repeated_factors(part.root)


def _places(found: Trace) -> dict[Axis, list[Slot]]:
    """Each free axis with its slots, in order of first use."""
    places: dict[Axis, list[Slot]] = {}
    for name, value in found.parameters.items():
        for axis, label in enumerate(value.labels):
            for root, offset, outer, inner in occurrences(label.axis):
                places.setdefault(root, []).append(Slot(name, axis, offset, outer, inner))
    return {root: _merged(slots, root.size) for root, slots in places.items()}


def _outer_partners(found: Trace, root: Axis) -> list[Axis]:
    """Free axes that lie outside of this one in some flattened parameter axis (the heads of a head's dimensions)."""
    partners = []
    for value in found.parameters.values():
        for label in value.labels:
            partners += _before(label.axis.root, root)
    return partners


def _before(term: Axis, root: Axis) -> list[Axis]:
    partners = []
    for position, part in enumerate(term.parts):
        partners += _before(part.root, root)
        if term.form == "product" and any(root is inner for inner in free_roots(part)):
            partners += [axis for outer in term.parts[:position] for axis in free_roots(outer)]
    return partners


def _merged(slots: list[Slot], size: int) -> list[Slot]:
    """Slots that continue one another become one with more copies (the gates of an LSTM)."""
    merged = slots[:1]
    for slot in slots[1:]:
        last = merged[-1]
        end = last.offset + last.outer * size * last.inner
        if (slot.tensor, slot.axis, slot.offset, slot.inner) == (last.tensor, last.axis, end, last.inner):
            merged[-1] = Slot(last.tensor, last.axis, last.offset, last.outer + slot.outer, last.inner)
        else:
            merged.append(slot)
    return merged


def _group(found: Trace, root: Axis, slots: list[Slot], taken: set[str]) -> UnitGroup:
    roles = {slot: found.roles.get((slot.tensor, slot.axis), set()) for slot in slots}
    outgoing = tuple(slot for slot, role in roles.items() if "outgoing" in role)
    incoming = tuple(slot for slot, role in roles.items() if "incoming" in role)
    state = tuple(slot for slot, role in roles.items() if not role & {"incoming", "outgoing"})
    mine = [event for event in found.events if any(root is part for part in free_roots(event.axis))]
    happened = {event.what: event for event in reversed(mine)}
    around = _outer_partners(found, root)
    headed = any(
        event.what == "batch" and any(outer is part for outer in around for part in free_roots(event.axis))
        for event in found.events
    )
    facts = _Facts(found, happened, roles, incoming, outgoing, "heads" if headed else "blocks" if around else "")
    kind = facts.kind()
    name = _name((incoming or state or outgoing)[0].tensor, kind)
    while name in taken:
        name += "'"
    taken.add(name)
    applied = dict.fromkeys(event.operation for event in mine if event.what == "activation")
    activations = () if kind in {"attention head", "head dimension"} else tuple(applied)
    return UnitGroup(name, root.size, incoming, outgoing, state, kind, activations, facts.obstacle(kind))


def _name(tensor: str, kind: Kind) -> str:
    layer = tensor.removesuffix(".weight").removesuffix("_weight")
    endings = {"attention head": " heads", "head dimension": " head dimensions", "residual channel": " stream"}
    return layer + endings.get(kind, "")


@dataclass(frozen=True)
class _Facts:
    """What the trace says of one group."""

    found: Trace
    happened: dict[str, Event]
    roles: dict[Slot, set[Role]]
    incoming: tuple[Slot, ...]
    outgoing: tuple[Slot, ...]
    around: Literal["heads", "blocks", ""]

    def kind(self) -> Kind:
        rows = [slot for slot in self.incoming if len(self.found.parameters[slot.tensor].labels) > 1]
        several = sum(slot.outer for slot in rows) > 1
        both = {slot.tensor for slot in self.incoming} & {slot.tensor for slot in self.outgoing}
        recurrent = both - {slot.tensor for slot in set(self.incoming) & set(self.outgoing)}
        if any(self.found.uses.get(name, 0) > 1 for name in recurrent):
            return "tied unit"
        if "batch" in self.happened:
            return "attention head"
        if "contraction" in self.happened or self.around == "heads":
            return "head dimension"
        if several and "addition" in self.happened:
            return "residual channel"
        if both:
            return "tied unit"
        if several and "multiplication" in self.happened:
            return "gated unit"
        return "conv channel" if "convolution" in self.happened else "dense neuron"

    def obstacle(self, kind: Kind) -> str | None:
        for what, reason in _OBSTACLES.items():
            if what in self.happened:
                return reason.format(self.happened[what].module)
        if kind in _KIND_OBSTACLES:
            return _KIND_OBSTACLES[kind]
        if self.around:
            return "they are one factor of a flattened axis: every block has them"
        unclear = next((slot.tensor for slot, role in self.roles.items() if len(role) != 1), None)
        if unclear is not None:
            return f"{unclear} plays no single role for these units"
        if not self.outgoing or not self.incoming:
            return "no layer reads these units through weights, or none computes them"
        uses = self.found.uses
        reused = next((slot.tensor for slot in (*self.incoming, *self.outgoing) if uses.get(slot.tensor, 0) > 1), None)
        return f"{reused} is used more than once" if reused else None


def moved_state(tensors: dict[str, Tensor], slots: Iterable[Slot], permutation: Tensor) -> dict[str, Tensor]:
    """The tensors with unit i at each slot replaced by unit ``permutation[i]``."""
    moved = dict(tensors)
    for slot, order in _orders(tensors, slots, permutation):
        moved[slot.tensor] = moved[slot.tensor].index_select(slot.axis, order)
    return moved


def _orders(tensors: dict[str, Tensor], slots: Iterable[Slot], permutation: Tensor) -> Iterator[tuple[Slot, Tensor]]:
    for slot in slots:
        tensor = tensors[slot.tensor]
        entries = slot.entries(len(permutation))
        order = torch.arange(tensor.shape[slot.axis])
        order[entries.reshape(-1)] = entries[permutation.cpu()].reshape(-1)
        yield slot, order.to(tensor.device)


def unit_rows(tensor: Tensor, slot: Slot, size: int) -> Tensor:
    """What belongs to each unit at a slot of a tensor, ``(size, features)``: its block, times all the other axes."""
    rows = tensor.movedim(slot.axis, 0)
    if (slot.offset, slot.outer, slot.inner) == (0, 1, 1) and len(rows) == size:
        return rows.reshape(size, -1)
    return rows[slot.entries(size).reshape(-1).to(tensor.device)].reshape(size, -1)
