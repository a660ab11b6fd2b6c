"""The symmetry of an activation, decided by its values.

A unit's function ``sigma(z)`` has one of five classes; they say which changes of its incoming vector can be undone by a
change of its outgoing vector (and of the bias of what reads it).
"""

import enum
from collections.abc import Callable

import torch
from torch import Tensor, nn

from isthmus._core.errors import UnsupportedLayer
from isthmus._core.seeds import Seed
from isthmus.linops.random import gaussian
from isthmus.model.network import Network
from isthmus.model.units import Slot, UnitGroup

_POINTS = 64
_EXACT = 1e-10


class ActivationClass(enum.Enum):
    """Identities between ``sigma(z)``, ``sigma(-z)`` and ``sigma(c z)``; the value is the identity in words."""

    NONE = "no identity between sigma(z) and sigma(-z)"
    ODD = "sigma(-z) = -sigma(z)"
    ODD_CONSTANT = "sigma(z) + sigma(-z) is constant"
    EVEN_LINEAR = "sigma(z) - sigma(-z) is proportional to z"
    POSITIVE_SCALING = "sigma(c z) = c sigma(z) for c > 0, and sigma(z) - sigma(-z) is proportional to z"

    @property
    def flips(self) -> bool:
        """Whether a unit of opposite sign can be undone by its outgoing vector and the next bias."""
        return self in {ActivationClass.ODD, ActivationClass.ODD_CONSTANT}


def unit_values(network: Network, group: UnitGroup, inputs: Tensor, replace: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """What the readers of a group receive from its units, ``(rows, units)``.

    Rows run over samples, positions and readers.

    Args:
        network: the network, in evaluation mode.
        group: from `exchangeable_units`.
        inputs: ``(n, ...)``.
        replace: changes the layer's own output, units on the last axis.

    Raises:
        UnsupportedLayer: the layer or a reader is no module of its own (`functional.linear`), so it cannot be watched.
    """
    layer, readers = _modules(network, group)
    seen: list[Tensor] = []

    def watch(slot: Slot) -> Callable:
        last = _units_last(readers[slot])
        return lambda _, arguments: seen.append(_by_unit(arguments[0].detach(), slot, group.size, last))

    def put(_: nn.Module, __: tuple, output: Tensor) -> Tensor | None:
        if replace is None:
            return None
        return replace(output) if _units_last(layer) else replace(output.movedim(1, -1)).movedim(-1, 1)

    handles = [reader.register_forward_pre_hook(watch(slot)) for slot, reader in readers.items()]
    handles.append(layer.register_forward_hook(put))
    try:
        network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat(seen)


def preactivations(network: Network, group: UnitGroup, inputs: Tensor) -> Tensor:
    """The layer's own output, ``(rows, units)``."""
    seen: list[Tensor] = []

    def note(output: Tensor) -> Tensor:
        seen.append(output.detach().reshape(-1, output.shape[-1]))
        return output

    unit_values(network, group, inputs, note)
    return seen[0]


def activation_class(network: Network, group: UnitGroup, inputs: Tensor) -> ActivationClass:
    """The class of the function between a layer and its readers, measured on random values and their opposites.

    The network's layer output is replaced by chosen values and what its readers receive is compared: an identity counts
    when it holds to 1e-10 of the largest value, in float64. Where units differ (BatchNorm between), every unit must agree.
    Where positions mix on the way (pooling), no statement that needs ``z`` itself is made.

    Args:
        network: the network.
        group: from `exchangeable_units`.
        inputs: any inputs that the network accepts.

    Returns:
        The strongest class whose identities hold.

    Raises:
        UnsupportedLayer: the units cannot be watched, or their function is not finite.
    """
    network = network.eval().to(torch.float64)
    probe = inputs[:1].repeat(_POINTS, *[1] * (inputs.ndim - 1))
    probe = probe.double() if probe.is_floating_point() else probe
    chosen: list[Tensor] = []

    def values(factor: float) -> Tensor:
        def put(output: Tensor) -> Tensor:
            if not chosen:
                chosen.append(2 * gaussian((*output.shape[:-1], 1), Seed(0).child("activation"), torch.float64, output.device))
            return factor * chosen[0].expand(output.shape)

        return unit_values(network, group, probe, put)

    plus, minus, twice = values(1.0), values(-1.0), values(2.0)
    if not bool(torch.isfinite(torch.cat([plus, minus])).all()):
        raise UnsupportedLayer(f"The activation of {group.name} is not finite on values of size 5; its symmetry is unknown.")
    if _small(plus + minus, plus):
        return ActivationClass.ODD
    if _small((plus + minus) - (plus + minus)[:1], plus):
        return ActivationClass.ODD_CONSTANT
    z = chosen[0].reshape(-1, 1)
    if len(plus) % len(z) == 0:
        z = z.repeat(len(plus) // len(z), 1)
        slope = ((plus - minus) * z).sum() / (z.square().sum() * group.size)
        if _small(plus - minus - slope * z, plus):
            return ActivationClass.POSITIVE_SCALING if _small(twice - 2 * plus, plus) else ActivationClass.EVEN_LINEAR
    return ActivationClass.NONE


def _small(value: Tensor, scale: Tensor) -> bool:
    return bool(value.abs().max() <= _EXACT * scale.abs().max())


def _units_last(module: nn.Module) -> bool:
    """Whether a layer has its features on the last axis (linear), or on the second one (convolution)."""
    weight = module.weight
    return not isinstance(weight, Tensor) or weight.ndim == 2


def _by_unit(values: Tensor, slot: Slot, size: int, last: bool) -> Tensor:
    """A reader's input as ``(rows, units)``."""
    values = values if last else values.movedim(1, -1)
    return values[..., slot.entries(size).to(values.device)].movedim(-2, -1).reshape(-1, size)


def _modules(network: Network, group: UnitGroup) -> tuple[nn.Module, dict[Slot, nn.Module]]:
    known = dict(network.module.named_modules())
    readers = {slot: slot.tensor.rpartition(".")[0] for slot in group.outgoing}
    missing = [name for name in (group.name, *readers.values()) if name not in known or name == ""]
    if missing:
        raise UnsupportedLayer(
            f"{group.name} or a layer that reads it is a call of functional.linear, not a module, so its units' values cannot be "
            "watched. Write both layers as nn.Linear (or nn.Conv) modules."
        )
    return known[group.name], {slot: known[name] for slot, name in readers.items()}
