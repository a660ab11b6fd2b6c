"""A hidden layer as rows: one incoming and one outgoing vector per unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from isthmus._core.errors import HypothesisError, ShapeError, UnsupportedLayer
from isthmus.model.network import Network
from isthmus.model.resizing import Recipe, resized, unit_groups
from isthmus.model.units import Slot, UnitGroup
from isthmus.symmetry.activations import ActivationClass, UnitFunction, marked_columns, unit_function
from isthmus.symmetry.rows import State, rows_at, with_rows


@dataclass(frozen=True)
class HiddenLayer:
    """A group of exchangeable units with the symmetry of what they send.

    Attributes:
        group: the tensors that feed and read the units.
        function: the class of their function, and what carries it.
        example: a few inputs of the network.
    """

    group: UnitGroup
    function: UnitFunction
    example: Tensor = field(repr=False, compare=False)

    @property
    def size(self) -> int:
        """Number of units."""
        return self.group.size

    @property
    def activation(self) -> ActivationClass:
        """The class of the units' function."""
        return self.function.activation

    def resized(self, size: int) -> "HiddenLayer":
        """The same layer at another number of units."""
        return replace(self, group=replace(self.group, size=size))

    def incoming(self, state: Mapping[str, Tensor]) -> Tensor:
        """``(units, d_in)``: everything that belongs to a unit on its input side: weights, bias, norm scales."""
        return rows_at(state, self._own, self.size)

    def outgoing(self, state: Mapping[str, Tensor]) -> Tensor:
        """``(units, d_out)``: everything that reads a unit."""
        return rows_at(state, self.group.outgoing, self.size)

    def with_incoming(self, state: Mapping[str, Tensor], rows: Tensor) -> State:
        """The state with other incoming vectors."""
        return with_rows(state, self._own, self.size, rows)

    def with_outgoing(self, state: Mapping[str, Tensor], rows: Tensor) -> State:
        """The state with other outgoing vectors."""
        return with_rows(state, self.group.outgoing, self.size, rows)

    def multiplied(self, state: Mapping[str, Tensor], rows: Tensor, factors: Tensor) -> Tensor:
        """Incoming vectors after multiplication of what carries a factor: unit i sends ``f_i phi_i + (1 - f_i) center``."""
        return torch.where(marked_columns(state, self.group, self.function.carried), factors[:, None] * rows, rows)

    def opposite(self, state: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        """Incoming vectors of the opposite sign."""
        return self.multiplied(state, rows, -torch.ones_like(rows[:, 0]))

    def comparable(self, state: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Incoming vectors at a common scale where multiples are equivalent, and the scales they had."""
        rows = self.incoming(state)
        scales = torch.ones_like(rows[:, 0])
        if self.activation.scales:
            norms = rows[:, marked_columns(state, self.group, self.function.carried)].norm(dim=1)
            scales = torch.where(norms > 0, norms, scales)
        return self.multiplied(state, rows, 1 / scales), scales

    def drawn(self, network: Network) -> Tensor:
        """Which of a unit's own numbers are parameters, not running statistics, ``(d_in,)``."""
        statistics = {name for name, _ in network.module.named_buffers()}
        return marked_columns(network.state, self.group, [(slot, None) for slot in self._own if slot.tensor not in statistics])

    def constants(self, factors: Tensor) -> Tensor:
        """The ``(1 - f) center`` that a unit sends besides f times what the unit that it copies sends."""
        return (1 - factors) * self.function.center

    def with_constants(self, state: Mapping[str, Tensor], constants: Tensor) -> State:
        """The state whose readers' biases take what the units would send if each sent one of these constants ``(units,)``.

        A reader without a bias takes nothing: there the constants must cancel.
        """
        changed = dict(state)
        for slot, bias in zip(self.group.outgoing, self.reader_biases(state), strict=True):
            if bias is not None and bool(constants.any()):
                columns = state[slot.tensor].movedim(slot.axis, 0)[slot.entries(self.size).to(constants.device)].sum(dim=1)
                changed[bias] = changed[bias] + constants @ columns
        return changed

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

    Dense neurons, convolution channels, gated units and attention heads: whatever adds up as ``sum_i a_i phi(w_i; x)`` in
    what reads it.

    Args:
        network: any traceable network.
        inputs: some inputs that it accepts; the units' functions are classified with them.

    Returns:
        At least one layer.

    Raises:
        UnsupportedLayer: the forward pass branches on its data.
        HypothesisError: no layer has such units; what was left out is named.
    """
    layers, left_out = examined_layers(network, inputs)
    if not layers:
        reasons = "; ".join(left_out) or "it has no hidden layer"
        raise HypothesisError(
            f"{type(network.module).__name__} has no hidden layer of units that can be joined and split one by one ({reasons}), so "
            "every statement about copies of its minima is empty here."
        )
    return layers


def examined_layers(network: Network, inputs: Tensor) -> tuple[list[HiddenLayer], tuple[str, ...]]:
    """The layers as in `hidden_layers`, perhaps none, and for every other group of exchangeable units why it is left out.

    Raises:
        UnsupportedLayer: the forward pass branches on its data.
    """
    inputs = inputs.to(network.dtype) if inputs.is_floating_point() else inputs
    layers, left_out = [], []
    groups = unit_groups(network, inputs)
    if any(group.size == 1 for group in groups):
        order = list(network.state)
        groups.sort(key=lambda group: order.index(group.slots[0].tensor))
    for group in groups:
        try:
            if group.obstacle is not None:
                raise UnsupportedLayer(group.obstacle)
            layer = HiddenLayer(group, unit_function(network, group, inputs), inputs[:2])
            select_units(network, layer, [*range(layer.size), 0])  # its width must be free to change
            layers.append(layer)
        except UnsupportedLayer as fault:
            left_out.append(f"{group.name} ({group.size} x {group.kind}): {fault}")
    return layers, tuple(left_out)


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
    example = layer.example.to(network.dtype) if layer.example.is_floating_point() else layer.example
    return resized(network, layer.group, recipe, inputs=example)
