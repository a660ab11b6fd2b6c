"""The symmetry of a unit's function, decided by its values.

What a unit sends to its readers, ``phi(w; x)``, has one of six classes; they say which changes of its incoming vector can be
undone by a change of its outgoing vector (and of the bias of what reads it).
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus._core.errors import UnsupportedLayer
from isthmus._core.seeds import Seed
from isthmus.linops.random import gaussian
from isthmus.model.network import Network
from isthmus.model.units import Slot, UnitGroup
from isthmus.symmetry.rows import State, rows_at, with_rows

_POINTS = 64
_EXACT = 1e-10
_FEW = 4
_UNWATCHED = "its units' values cannot be watched; write both layers as nn.Linear (or nn.Conv) modules"


#: a slot, or one of its `outer` blocks
Part = tuple[Slot, int | None]


class ActivationClass(enum.Enum):
    """Identities between ``sigma(z)``, ``sigma(-z)`` and ``sigma(c z)``; the value is the identity in words."""

    NONE = "no identity between sigma(z) and sigma(-z)"
    ODD = "sigma(-z) = -sigma(z)"
    ODD_CONSTANT = "sigma(z) + sigma(-z) is constant"
    EVEN_LINEAR = "sigma(z) - sigma(-z) is proportional to z"
    POSITIVE_SCALING = "sigma(c z) = c sigma(z) for c > 0"
    LINEAR_FACTOR = "one factor of the unit is linear, so that every multiple of it can be undone"

    @property
    def flips(self) -> bool:
        """Whether a unit of opposite sign can be undone by its outgoing vector and the next bias."""
        return self in {ActivationClass.ODD, ActivationClass.ODD_CONSTANT, ActivationClass.LINEAR_FACTOR}

    @property
    def scales(self) -> bool:
        """Whether a unit's positive multiples can be undone by its outgoing vector."""
        return self in {ActivationClass.POSITIVE_SCALING, ActivationClass.LINEAR_FACTOR}


@dataclass(frozen=True)
class UnitFunction:
    """The symmetry of what a layer's units send.

    A unit whose carried parameters are multiplied by f (of the class) sends ``f phi + (1 - f) center``.

    Attributes:
        activation: the class.
        carried: the slots, or single blocks of them, that carry the factor: incoming weights and bias, the scale and shift of a
            BatchNorm behind them, the value branch of a gated unit or of an attention head.
        center: ``sigma(0)`` where ``sigma(z) + sigma(-z)`` is constant, else 0.
        slope: s of ``sigma(z) - sigma(-z) = s z`` where that holds, else 0.
    """

    activation: ActivationClass
    carried: tuple[Part, ...]
    center: float = 0.0
    slope: float = 0.0


def unit_values(network: Network, group: UnitGroup, inputs: Tensor, replace: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """What the readers of a group receive from its units, ``(rows, units)``.

    Rows run over samples, positions, the entries of a unit (dimensions of a head) and readers.

    Args:
        network: the network, in evaluation mode.
        group: from `exchangeable_units`.
        inputs: ``(n, ...)``.
        replace: changes the layer's own output, units on the last axis.

    Raises:
        UnsupportedLayer: the layer or a reader is no module that is called (`functional.linear`), so it cannot be watched.
    """
    readers, seen = _readers(network, group), []

    def watch(slot: Slot) -> Callable:
        last = _units_last(readers[slot])
        return lambda _, arguments: seen.append(_by_unit(arguments[0].detach(), slot, group.size, last))

    handles = [reader.register_forward_pre_hook(watch(slot)) for slot, reader in readers.items()]
    if replace is not None:
        handles.append(_replacing(_layer(network, group), replace))
    try:
        network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        raise UnsupportedLayer(
            f"What reads {group.name} runs inside another function of torch (nn.MultiheadAttention does so), so {_UNWATCHED}"
        )
    return torch.cat(seen)


def unit_function(network: Network, group: UnitGroup, inputs: Tensor) -> UnitFunction:
    """The class of a layer's units, and which of their parameters carry it, measured in float64.

    Neurons and channels: the layer's output is replaced by random values and their opposites, a BatchNorm behind it is set to
    pass them on, and what the readers receive is compared; an identity counts when it holds to 1e-10 of the largest value for
    every unit. Where positions mix on the way (pooling), nothing is said that needs ``z`` itself. Gated units and heads:
    each branch of the incoming weights is tried as the linear factor. The answer is confirmed at noisy parameters.

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
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    if group.kind in ("gated unit", "attention head"):
        found = [UnitFunction(ActivationClass.LINEAR_FACTOR, tuple(branch)) for branch in _branches(group)]
    else:
        state, carriers = _with_neutral_norm(network, group)
        kind, center, slope = _activation_class(network.at_state(state), group, inputs)
        found = [UnitFunction(kind, tuple((slot, None) for slot in carriers), center, slope)]
    for candidate in found:
        if candidate.activation is not ActivationClass.NONE and _confirmed(network, group, inputs[:_FEW], candidate):
            return candidate
    unit_values(network, group, inputs[:1])  # raises where they cannot be watched
    return UnitFunction(ActivationClass.NONE, ())


def _activation_class(network: Network, group: UnitGroup, inputs: Tensor) -> tuple[ActivationClass, float, float]:
    """The class of the function between a layer's output and its readers, its center and its slope."""
    probe = inputs[:1].repeat(_POINTS, *[1] * (inputs.ndim - 1))
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
        return ActivationClass.ODD, 0.0, 0.0
    if _small(plus + minus - (plus + minus)[0, 0], plus):
        return ActivationClass.ODD_CONSTANT, float((plus + minus)[0, 0]) / 2, 0.0
    slope = _odd_slope(plus - minus, chosen[0].reshape(-1, 1))
    if _small(twice - 2 * plus, plus):
        return ActivationClass.POSITIVE_SCALING, 0.0, slope or 0.0
    return (ActivationClass.NONE, 0.0, 0.0) if slope is None else (ActivationClass.EVEN_LINEAR, 0.0, slope)


def _odd_slope(difference: Tensor, z: Tensor) -> float | None:
    """The s of ``sigma(z) - sigma(-z) = s z``; None where it is not so, or positions mix on the way."""
    if len(difference) % len(z):
        return None
    z = z.repeat(len(difference) // len(z), 1)
    slope = (difference * z).sum() / (z.square().sum() * difference.shape[1])
    return float(slope) if _small(difference - slope * z, difference) else None


def _confirmed(network: Network, group: UnitGroup, inputs: Tensor, found: UnitFunction) -> bool:
    """Whether factors on the carried parameters do to the values what the class says, at noisy parameters."""
    fixed = {name for name, _ in network.module.named_buffers()}
    state, own = network.state, (*group.incoming, *group.state)
    carried = marked_columns(state, group, found.carried)
    free = marked_columns(state, group, [(slot, None) for slot in own if slot.tensor not in fixed])
    rows = rows_at(state, own, group.size)
    size = rows[:, free].square().mean().sqrt().clamp_min(1e-3)
    rows[:, free] += size * gaussian((group.size, int(free.sum())), Seed(0).child("noise"), rows.dtype, rows.device)

    def values(factor: float) -> Tensor:
        changed = torch.where(carried, factor * rows, rows)
        return unit_values(network.at_state(with_rows(state, own, group.size, changed)), group, inputs)

    given = values(1.0)
    factors = [-1.0] * found.activation.flips + [2.0] * found.activation.scales
    return all(_small(values(f) - f * given - (1 - f) * found.center, given) for f in factors) and bool(found.carried)


def _with_neutral_norm(network: Network, group: UnitGroup) -> tuple[State, tuple[Slot, ...]]:
    """The state with the norms among a group's units set to pass values on, and which slots carry a factor."""
    owners, state = dict(network.module.named_modules()), network.state
    norms = [s for s in group.state if isinstance(owners.get(s.tensor.rpartition(".")[0]), nn.modules.batchnorm._NormBase)]
    for slot in norms:
        value = 1.0 if slot.tensor.endswith(("weight", "running_var")) else 0.0
        state = with_rows(state, [slot], group.size, torch.full_like(rows_at(state, [slot], group.size), value))
    carriers = tuple(slot for slot in norms if slot.tensor.endswith(("weight", "bias")))
    return state, carriers if norms else group.incoming


def _branches(group: UnitGroup) -> list[list[Part]]:
    """The incoming weights of a group in parts that belong together: one layer each, or one block of a packed layer."""
    found: dict[tuple[str, int], list[Part]] = {}
    for slot in group.incoming:
        for block in range(slot.outer):
            start = slot.offset + block * group.size * slot.inner
            found.setdefault((slot.tensor.rpartition(".")[0], start), []).append((slot, block))
    return list(found.values())


def marked_columns(state: Mapping[str, Tensor], group: UnitGroup, marked: Sequence[Part]) -> Tensor:
    """Which entries of the units' incoming vectors lie at the marked parts, ``(d_in,)``."""
    parts = []
    for slot in (*group.incoming, *group.state):
        part = torch.zeros(slot.outer, rows_at(state, [slot], group.size).shape[1] // slot.outer, dtype=torch.bool)
        for other, block in marked:
            if other == slot:
                part[slice(None) if block is None else block] = True
        parts.append(part.reshape(-1))
    return torch.cat(parts).to(state[group.incoming[0].tensor].device)


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


def _replacing(layer: nn.Module, replace: Callable[[Tensor], Tensor]) -> torch.utils.hooks.RemovableHandle:
    def put(_: nn.Module, __: tuple, output: Tensor) -> Tensor:
        return replace(output) if _units_last(layer) else replace(output.movedim(1, -1)).movedim(-1, 1)

    return layer.register_forward_hook(put)


def _layer(network: Network, group: UnitGroup) -> nn.Module:
    known = dict(network.module.named_modules())
    if group.name not in known or group.name == "":
        raise UnsupportedLayer(f"{group.name} is a call of functional.linear, not a module, so {_UNWATCHED}")
    return known[group.name]


def _readers(network: Network, group: UnitGroup) -> dict[Slot, nn.Module]:
    known = dict(network.module.named_modules())
    names = {slot: slot.tensor.rpartition(".")[0] for slot in group.outgoing}
    if any(name not in known or name == "" for name in names.values()):
        raise UnsupportedLayer(f"A layer that reads {group.name} is a call of functional.linear, not a module, so {_UNWATCHED}")
    return {slot: known[name] for slot, name in names.items()}
