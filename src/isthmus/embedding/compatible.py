"""General compatible embeddings: several layers grown at once, with free mixing between their copies."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus.embedding.growth import Copies
from isthmus.linops.random import gaussian
from isthmus.model.network import Network
from isthmus.model.resizing import Recipe, resized, unit_group
from isthmus.model.units import Slot, UnitGroup, unit_rows, unit_structure

_SUM = 1e-12


@dataclass(frozen=True)
class Compatible:
    """Which old unit each new one copies, in one layer or several, and how much of its error it takes.

    Between two grown layers the weight from copy j of unit s to copy i of unit k is ``M_ij W_ks`` with
    ``sum_j M_ij = 1`` over the copies of s (outputs stay) and ``sum_i beta_i M_ij = beta_j`` over the copies of k (errors
    become ``beta`` times the old ones). M is the solution of least norm plus `spread` times a random one, drawn anew for
    every pair of units. A null unit has the weights zero from what does not grow and weights that cancel over the copies of
    each old unit, reads and is read by null units freely, and its constant output is subtracted in its readers' biases.

    Attributes:
        origins: layer to the old unit behind each new one, every old one at least once; -1: null.
        shares: layer to ``beta``: they add up to one over the copies of a unit and are 0 at null units. Equal shares in
            layers that are left out.
        biases: layer to the pre-activations of its null units, in order; 0 where left out.
        spread: size of the random part of the mixing; 0 for none.
        seed: names it.
    """

    origins: Mapping[str, tuple[int, ...]]
    shares: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    biases: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    spread: float = 0.5
    seed: Seed | int = 0

    def __post_init__(self) -> None:
        if not self.origins:
            raise InputError("A compatible embedding names at least one layer with the origins of its new units.")
        for layer, origin in self.origins.items():
            beta, nulls = self.share(layer), origin.count(-1)
            if len(beta) != len(origin) or any(b for b, o in zip(beta, origin, strict=True) if o < 0):
                raise InputError(
                    f"{layer!r} gets {len(origin)} units: as many shares are needed, 0 at null units; found {list(beta)}."
                )
            totals = {unit: sum(b for b, o in zip(beta, origin, strict=True) if o == unit) for unit in set(origin) - {-1}}
            if wrong := [unit for unit, total in totals.items() if abs(total - 1) > _SUM]:
                raise InputError(
                    f"The shares of the copies of unit {wrong[0]} of {layer!r} add up to {totals[wrong[0]]:g} instead of 1, so "
                    "that the function would change."
                )
            if len(self.bias(layer)) != nulls:
                raise InputError(
                    f"{layer!r} gets {nulls} null units and {len(self.bias(layer))} biases for them; one each is needed."
                )

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that grow."""
        return tuple(self.origins)

    @property
    def added(self) -> int:
        """How many units are new, over all layers."""
        return sum(len(origin) - len(set(origin) - {-1}) for origin in self.origins.values())

    def share(self, layer: str) -> tuple[float, ...]:
        """``beta`` of a layer's new units."""
        count = Counter(self.origins[layer])
        return self.shares.get(layer, tuple(0.0 if unit < 0 else 1 / count[unit] for unit in self.origins[layer]))

    def bias(self, layer: str) -> tuple[float, ...]:
        """Pre-activations of a layer's null units."""
        return self.biases.get(layer, (0.0,) * self.origins[layer].count(-1))

    def copies(self, group: UnitGroup) -> Copies:
        """The new units of one layer.

        Raises:
            InputError: an old unit is left out, or one is named that the layer does not have.
        """
        origin = self.origins[group.name]
        if set(origin) - {-1} != set(range(group.size)):
            raise InputError(
                f"{group.name!r} has units 0..{group.size - 1}, and each must be copied at least once; found origins {list(origin)}."
            )
        return Copies(group, origin, self.share(group.name))


def embedded(network: Network, plan: Compatible, inputs: Tensor) -> tuple[Network, list[Copies]]:
    """The wide network of a compatible embedding.

    Args:
        network: the narrow one.
        plan: what becomes of its units.
        inputs: an example, on which the wide module must run.

    Returns:
        The wide network and the copies made, in the order in which the layers were resized.
    """
    wide, steps = network, []
    for layer in plan.layers:
        group = unit_group(wide, layer, inputs)
        copies = plan.copies(group)
        steps.append(copies)
        offset = torch.zeros(len(copies.origin), dtype=torch.float64)
        offset[torch.tensor(copies.origin) < 0] = torch.tensor(plan.bias(layer), dtype=torch.float64)
        wide = resized(wide, group, Recipe(copies.same, copies.same, offset), inputs=inputs)
    parts = {step.group.name: _Part(unit_group(wide, step.group.name, inputs), step) for step in steps}
    constants = {name: _constants(wide, part, inputs) for name, part in parts.items()}
    tensors = {**wide.buffers, **wide.parameters}
    for name, part in parts.items():
        for tensor in {slot.tensor: None for slot in part.group.outgoing}:
            readers = [p for p in parts.values() if p is not part and tensor in {slot.tensor for slot in p.group.incoming}]
            _Mixing(plan, tensors, part, tensor).apply(readers, constants[name])
    return wide.at({k: tensors[k] for k in wide.parameters}, {k: tensors[k] for k in wide.buffers}), steps


@dataclass(frozen=True)
class _Part:
    """One grown layer: its new units, and what they copy."""

    group: UnitGroup
    copies: Copies

    @property
    def share(self) -> Tensor:
        return torch.tensor(self.copies.share, dtype=torch.float64)

    @property
    def origin(self) -> Tensor:
        return torch.tensor(self.copies.origin)


def _constants(wide: Network, part: _Part, inputs: Tensor) -> Tensor:
    """What each null unit sends to its readers, zero for the others, ``(m',)``; its own weights are still zero here."""
    null, found = part.origin < 0, torch.zeros(len(part.origin), dtype=torch.float64)
    if not bool(null.any()):
        return found
    structure = unit_structure(wide, inputs)
    index = next(i for i, group in enumerate(structure.groups) if group.name == part.group.name)
    slot = structure.reads[index][0]
    values = structure.values(wide, inputs[:1])[slot.tensor]
    found[null] = unit_rows(values, slot, part.group.size)[null, 0].double()
    return found


@dataclass(frozen=True)
class _Mixing:
    """The weights of one tensor that reads a grown layer."""

    plan: Compatible
    tensors: dict[str, Tensor]
    part: _Part
    name: str

    def apply(self, readers: Iterable[_Part], constants: Tensor) -> None:
        """Scale copies by the mixing with each grown reader, by their shares elsewhere, and put null units' weights in."""
        tensor = self.tensors[self.name]
        axis, columns = _labels(tensor, self.part.group.outgoing, self.name, self.part.group.size)
        factor, extra = (
            _along(torch.where(columns < 0, 1.0, self.part.share[columns]), axis, tensor.ndim),
            torch.zeros_like(tensor),
        )
        for reader in readers:
            across, rows = _labels(tensor, reader.group.incoming, self.name, reader.group.size)
            read = _along(rows >= 0, across, tensor.ndim) & _along(columns >= 0, axis, tensor.ndim)
            mix = self._mixed(reader)[_along(rows, across, tensor.ndim), _along(columns, axis, tensor.ndim)]
            factor = torch.where(read, mix, factor)
            extra = extra + self._fillers(reader, constants)
        self.tensors[self.name] = tensor * factor.to(tensor) + extra

    def _mixed(self, reader: _Part) -> Tensor:
        """M over new units ``(m'_reader, m')``; zero where either is null."""
        mine, theirs = self.part, reader
        draw = self._draw(len(theirs.origin), len(mine.origin), theirs.group.name)
        found = torch.zeros_like(draw)
        for k in range(theirs.copies.group.size):
            rows = (theirs.origin == k).nonzero()[:, 0]
            for s in range(mine.copies.group.size):
                columns = (mine.origin == s).nonzero()[:, 0]
                block = draw[rows][:, columns]
                found[rows[:, None], columns] = _solved(block, theirs.share[rows], mine.share[columns])
        return found

    def _fillers(self, reader: _Part, constants: Tensor) -> Tensor:
        """Weights of null units in a dense tensor; what they send is taken back in the reader's bias."""
        tensor = self.tensors[self.name]
        bias = self.name.removesuffix("weight") + "bias"
        nulls = bool((reader.origin < 0).any()) or bool((self.part.origin < 0).any())
        if not nulls or tensor.shape != (reader.group.size, self.part.group.size) or bias not in self.tensors:
            return torch.zeros_like(tensor)
        draw = self._draw(len(tensor), tensor.shape[1], reader.group.name + " null") * float(tensor.square().mean().sqrt())
        found = torch.zeros_like(draw)
        silent_rows, silent = reader.origin < 0, self.part.origin < 0
        for s in range(self.part.copies.group.size):
            columns = (self.part.origin == s).nonzero()[:, 0]
            block = draw[silent_rows][:, columns]
            found[silent_rows.nonzero(), columns] = block - block.mean(1, keepdim=True)
        for k in range(reader.copies.group.size):
            rows = (reader.origin == k).nonzero()[:, 0]
            beta, block = reader.share[rows], draw[rows][:, silent]
            found[rows[:, None], silent.nonzero()[:, 0]] = block - torch.outer(beta, beta @ block) / beta.square().sum()
        found[silent_rows.nonzero(), silent.nonzero()[:, 0]] = draw[silent_rows][:, silent]
        self.tensors[bias] = self.tensors[bias] - (found @ constants).to(tensor)
        return found.to(tensor)

    def _draw(self, rows: int, columns: int, name: str) -> Tensor:
        seed = as_seed(self.plan.seed).child("compatible", self.name, name)
        return self.plan.spread * gaussian((rows, columns), seed, torch.float64)


def _solved(start: Tensor, beta: Tensor, goal: Tensor) -> Tensor:
    """The matrix nearest to `start` with ``M 1 = 1`` and ``beta^T M = goal^T`` (both sum to one, which makes it possible)."""
    rows = start + (1 - start.sum(1, keepdim=True)) / start.shape[1]
    return rows + torch.outer(beta, goal - beta @ rows) / beta.square().sum()


def _labels(tensor: Tensor, slots: Iterable[Slot], name: str, size: int) -> tuple[int, Tensor]:
    """The axis of a tensor along which a group's units lie, and the unit of each of its entries (-1: none)."""
    mine = [slot for slot in slots if slot.tensor == name]
    axis = mine[0].axis
    labels = torch.full((tensor.shape[axis],), -1)
    for slot in mine:
        for unit, entries in enumerate(slot.entries(size)):
            labels[entries] = unit
    return axis, labels


def _along(line: Tensor, axis: int, dims: int) -> Tensor:
    shape = [1] * dims
    shape[axis] = len(line)
    return line.reshape(shape)
