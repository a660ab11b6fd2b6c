"""A hidden layer as rows: one incoming and one outgoing vector per unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from isthmus._core.errors import HypothesisError, ShapeError
from isthmus.model.network import Network
from isthmus.model.resizing import Recipe, resized, unit_groups
from isthmus.model.units import Slot, UnitGroup
from isthmus.symmetry.activations import ActivationClass, activation_class

_KINDS = ("dense neuron", "conv channel")
State = dict[str, Tensor]


@dataclass(frozen=True)
class HiddenLayer:
    """A group of exchangeable units with the symmetry of their activation.

    Attributes:
        group: the tensors that feed and read the units.
        activation: class of the function between them.
        example: a few inputs of the network.
    """

    group: UnitGroup
    activation: ActivationClass
    example: Tensor = field(repr=False, compare=False)

    @property
    def size(self) -> int:
        """Number of units."""
        return self.group.size

    def resized(self, size: int) -> "HiddenLayer":
        """The same layer at another number of units."""
        return replace(self, group=replace(self.group, size=size))

    def incoming(self, state: Mapping[str, Tensor]) -> Tensor:
        """``(units, d_in)``: everything that belongs to a unit on its input side: weights, bias, norm scales."""
        return torch.cat([_rows(state, slot, self.size) for slot in self._own], dim=1)

    def outgoing(self, state: Mapping[str, Tensor]) -> Tensor:
        """``(units, d_out)``: everything that reads a unit."""
        return torch.cat([_rows(state, slot, self.size) for slot in self.group.outgoing], dim=1)

    def with_incoming(self, state: Mapping[str, Tensor], rows: Tensor) -> State:
        """The state with other incoming vectors."""
        return _replaced(state, self._own, self.size, rows)

    def with_outgoing(self, state: Mapping[str, Tensor], rows: Tensor) -> State:
        """The state with other outgoing vectors."""
        return _replaced(state, self.group.outgoing, self.size, rows)

    def reader_biases(self, state: Mapping[str, Tensor]) -> list[str | None]:
        """For each place that reads the units, the bias that a constant can go to; None where there is none."""
        names = [(slot, f"{slot.tensor.rpartition('.')[0]}.bias") for slot in self.group.outgoing]
        return [name if name in state and state[slot.tensor].ndim == 2 else None for slot, name in names]

    @property
    def biased(self) -> bool:
        """Whether a unit's incoming vector has a bias."""
        return any(slot.tensor.endswith("bias") for slot in self._own)

    @property
    def _own(self) -> tuple[Slot, ...]:
        return (*self.group.incoming, *self.group.state)


def hidden_layers(network: Network, inputs: Tensor) -> list[HiddenLayer]:
    """The hidden layers whose units can be joined and split one by one, in order of execution.

    Dense neurons and convolution channels; attention heads, gated units and residual streams are exchangeable too, but
    their activations are no functions of one number, so that none of the symmetries here is known of them.

    Args:
        network: any traceable network.
        inputs: some inputs that it accepts; the activations are classified with them.

    Returns:
        At least one layer.

    Raises:
        UnsupportedLayer: the forward pass branches on its data, or the units cannot be watched.
        HypothesisError: no layer has such units.
    """
    inputs = inputs.to(network.dtype) if inputs.is_floating_point() else inputs
    groups = [g for g in unit_groups(network, inputs) if g.kind in _KINDS and g.obstacle is None]
    if not groups:
        raise HypothesisError(
            f"{type(network.module).__name__} has no hidden layer of exchangeable neurons or channels, so every statement about "
            "copies of its minima is empty here. A network with at least one hidden layer is needed."
        )
    if any(group.size == 1 for group in groups):
        order = list(state_of(network))
        groups.sort(key=lambda group: order.index(group.incoming[0].tensor))
    return [HiddenLayer(group, activation_class(network, group, inputs), inputs[:2]) for group in groups]


def state_of(network: Network) -> State:
    """All tensors of a network by name."""
    return {**network.buffers, **network.parameters}


def at_state(network: Network, state: Mapping[str, Tensor]) -> Network:
    """The network at these tensors."""
    return network.at({k: state[k] for k in network.parameters}, {k: state[k] for k in network.buffers})


def select_units(network: Network, layer: HiddenLayer, units: Sequence[int]) -> Network:
    """The network whose unit i of a layer is unit ``units[i]`` of the given one; repeats and omissions are allowed.

    Incoming and outgoing tensors are gathered alike, nothing is rescaled: a unit listed twice counts twice in what reads
    it, and the caller divides the outgoing tensors as wanted.

    Args:
        network: the network.
        layer: at its present size.
        units: indices into the layer, at least one.

    Returns:
        A new network of the same kind, in the same mode.

    Raises:
        ShapeError: an index is outside the layer, or none is given.
    """
    if not units or min(units) < 0 or max(units) >= layer.size:
        raise ShapeError(f"Units of {layer.group.name} are numbered 0..{layer.size - 1}; found {list(units)[:8]}.")
    gather = torch.eye(layer.size, dtype=network.dtype, device=network.device)[list(units)]
    recipe = Recipe(own=gather, outgoing=gather, offset=gather.new_zeros(len(units)))
    return resized(network, layer.group, recipe, inputs=layer.example.to(network.dtype))


def row_distances(first: Tensor, second: Tensor) -> Tensor:
    """Euclidean distances between rows by differences, exact for near-equal rows (the usual expansion loses half the digits)."""
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")


def _rows(state: Mapping[str, Tensor], slot: Slot, size: int) -> Tensor:
    tensor = state[slot.tensor].movedim(slot.axis, 0)
    return tensor[slot.entries(size).to(tensor.device)].reshape(size, -1)


def _replaced(state: Mapping[str, Tensor], slots: Sequence[Slot], size: int, rows: Tensor) -> State:
    changed, start = dict(state), 0
    for slot in slots:
        tensor = changed[slot.tensor].movedim(slot.axis, 0).clone()
        places = slot.entries(size).to(tensor.device)
        width = places.shape[1] * tensor[0].numel()
        tensor[places] = rows[:, start : start + width].reshape(*places.shape, *tensor.shape[1:])
        changed[slot.tensor] = tensor.movedim(0, slot.axis)
        start += width
    return changed
