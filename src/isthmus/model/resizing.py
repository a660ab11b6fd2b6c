"""Adding, joining and removing the units of a layer: the same module with other widths."""

import copy
import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus._core.errors import UnsupportedLayer, VerificationError
from isthmus._core.numerics import tolerance
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.units import Slot, UnitGroup, exchangeable_units

_WIDTHS = {
    nn.Linear: ("out_features", "in_features"),
    nn.modules.conv._ConvNd: ("out_channels", "in_channels"),
    nn.modules.batchnorm._NormBase: ("num_features",),
}


@dataclass(frozen=True)
class Recipe:
    """How the units of a resized layer are made of the old ones.

    Attributes:
        own: ``(m', m)``: each new unit's own parameters as a combination of the old units'.
        outgoing: ``(m', m)``: the same for its outgoing weights.
        offset: ``(m',)`` added to the unit's own bias, where the layer has one.
    """

    own: Tensor
    outgoing: Tensor
    offset: Tensor


def unit_groups(source: Problem | Network | nn.Module, inputs: Tensor | None = None) -> list[UnitGroup]:
    """The exchangeable units of a network, and besides them Linear layers of a single unit.

    One unit can be exchanged with none, so that tracing finds no group; such a layer is traced with its unit doubled.

    Args:
        source: module, network or problem.
        inputs: an example, when the source is not a problem.
    """
    inputs = source.inputs if isinstance(source, Problem) else inputs
    groups, network = exchangeable_units(source, inputs), Network.of(source)
    linear = [(name, sub) for name, sub in network.module.named_modules() if isinstance(sub, nn.Linear)]
    for (first, one), (second, other) in itertools.pairwise(linear):
        if one.out_features == other.in_features == 1 and first not in {group.name for group in groups}:
            groups += _single(network, first, second, inputs)
    return groups


def _single(network: Network, first: str, second: str, inputs: Tensor | None) -> list[UnitGroup]:
    module = module_of(network)
    state = {**network.buffers, **network.parameters}
    doubled = {f"{first}.weight": 0, f"{first}.bias": 0, f"{second}.weight": 1}
    _install(module, {name: torch.cat([state[name]] * 2, dim=axis) for name, axis in doubled.items() if name in state})
    try:
        found = exchangeable_units(Network(module), inputs)
    except (RuntimeError, UnsupportedLayer):
        return []
    return [dataclasses.replace(group, size=1) for group in found if group.name == first and group.size == 2]


def unit_group(source: Problem | Network | nn.Module, layer: str, inputs: Tensor | None = None) -> UnitGroup:
    """The units of a layer that can be added or removed one by one.

    Args:
        source: whose layer.
        layer: name of the group, as `exchangeable_units` gives it.
        inputs: an example, when the source is not a problem.

    Raises:
        UnsupportedLayer: there is no such layer, or its units are not separable, with the reason.
    """
    groups = {group.name: group for group in unit_groups(source, inputs)}
    if layer not in groups:
        free = [name for name, group in groups.items() if group.obstacle is None]
        raise UnsupportedLayer(
            f"{layer!r} has no exchangeable units here. Layers whose units can be added and removed: {', '.join(free) or 'none'}."
        )
    group = groups[layer]
    if group.obstacle is not None:
        raise UnsupportedLayer(
            f"The {group.size} units of {layer!r} cannot be added or removed one by one: {group.obstacle}. Resizing them would "
            "change what happens to the other units."
        )
    return group


def resized(network: Network, group: UnitGroup, recipe: Recipe, *, inputs: Tensor) -> Network:
    """The network with the units of a group made anew by a recipe; the module's class and other layers stay.

    Args:
        network: its module is copied, never changed.
        group: from `unit_group`.
        recipe: what the new units are made of.
        inputs: one example or more, on which the new module must run.

    Returns:
        A network around a new module, in the same mode.

    Raises:
        UnsupportedLayer: the module does not run with the new width, e.g. because its forward pass writes it down.
    """
    module = module_of(network)
    state = {**network.buffers, **network.parameters}
    changed = resized_tensors(state, group, recipe.own, recipe.outgoing)
    for name in _biases(group, changed) if bool(recipe.offset.any()) else ():
        changed[name] = changed[name] + recipe.offset.to(changed[name])
    _install(module, changed)
    return _running(module, group, len(recipe.own), inputs)


def resized_tensors(tensors: Mapping[str, Tensor], group: UnitGroup, own: Tensor, outgoing: Tensor) -> dict[str, Tensor]:
    """The tensors of a group with its units combined: own (incoming and state) by one matrix, outgoing by another."""
    changed: dict[str, Tensor] = {}
    for slots, rows in (((*group.incoming, *group.state), own), (group.outgoing, outgoing)):
        places: dict[tuple[str, int], list[Slot]] = {}
        for slot in slots:
            places.setdefault((slot.tensor, slot.axis), []).append(slot)
        for (name, axis), found in places.items():
            if name in tensors:
                changed[name] = _combined(changed.get(name, tensors[name]), axis, found, group.size, rows)
    return changed


def module_of(network: Network) -> nn.Module:
    """A copy of the network's module that holds the network's own parameters, buffers and modes."""
    module = copy.deepcopy(network.module)
    state = {**network.buffers, **network.parameters}
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if name in state:
                tensor.copy_(state[name])
    for sub, mode in zip(module.modules(), network._modes, strict=True):
        sub.training = mode
    return module


def output_difference(one: Network, other: Network, inputs: Tensor) -> float:
    """The largest difference of outputs on some inputs, relative to the largest output."""
    before, after = one(inputs), other(inputs)
    return float((after - before).abs().max() / before.abs().max().clamp_min(1e-30))


def require_same_outputs(one: Network, other: Network, inputs: Tensor, *, what: str) -> float:
    """Compare the outputs of two networks and return their relative difference.

    Raises:
        VerificationError: it is larger than rounding explains.
    """
    difference = output_difference(one, other, inputs)
    allowed = tolerance(one.dtype, terms=4096, depth=8)
    if not difference <= allowed:
        raise VerificationError(
            f"{what} changed the outputs by {difference:.3g} of their size, where rounding allows {allowed:.1g}. The result must "
            "not be used; please report the module."
        )
    return difference


def _combined(tensor: Tensor, axis: int, slots: list[Slot], size: int, rows: Tensor) -> Tensor:
    """The tensor with the units along an axis combined by ``rows (m', m)``; entries of no unit stay."""
    moved, parts, position = tensor.movedim(axis, 0), [], 0
    for slot in sorted(slots, key=lambda s: s.offset):
        end = slot.offset + slot.outer * size * slot.inner
        block = moved[slot.offset : end].reshape(slot.outer, size, -1)
        mixed = torch.einsum("ab,obk->oak", rows.to(block), block)
        parts += [moved[position : slot.offset], mixed.reshape(-1, *moved.shape[1:])]
        position = end
    return torch.cat([*parts, moved[position:]]).movedim(0, axis).contiguous()


def _biases(group: UnitGroup, tensors: Iterable[str]) -> list[str]:
    """The tensors that are added to each unit's pre-activation: biases of the layers that compute it."""
    return [slot.tensor for slot in group.incoming if slot.tensor in tensors and slot.tensor.rsplit(".")[-1] == "bias"]


def _install(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors of other shapes into a module, and correct the widths that torch's own layers write down."""
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        old = getattr(owner, leaf)
        fresh = nn.Parameter(tensor, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else tensor
        setattr(owner, leaf, fresh)
        for kind, names in _WIDTHS.items():
            if isinstance(owner, kind) and leaf == "weight":
                for attribute, length in zip(names, tensor.shape, strict=False):
                    setattr(owner, attribute, length)


def _running(module: nn.Module, group: UnitGroup, size: int, inputs: Tensor) -> Network:
    """The module as a network, after a trial run; widths that its own classes write down are tried, one and all.

    A module that runs with the old width written down may still have cut its tensors elsewhere (twice the dimensions for as many
    heads), so that where a width is written, the units must be found again in their new number.
    """
    written = _written_widths(module, group)
    trials = [(), *((one,) for one in written), tuple(written)]
    faults = []
    for trial in trials:
        for owner, name in trial:
            setattr(owner, name, size)
        try:
            network = Network(module)
            network.eval()(inputs[:2])
            if not written or size < 2 or _holds(network, group.name, size, inputs[:2]):
                return network
            faults.append(RuntimeError(f"it runs, but has not {size} units there"))
        except (RuntimeError, ValueError) as fault:
            faults.append(fault)
        for owner, name in trial:
            setattr(owner, name, group.size)
    raise UnsupportedLayer(
        f"{type(module).__name__} does not run with {size} units in {group.name!r} instead of {group.size}: "
        f"{str(faults[0]).splitlines()[0]}. Its forward pass writes the width down; read it from the tensors (view(..., -1) or "
        "weight.shape)."
    ) from faults[0]


def _holds(network: Network, name: str, size: int, inputs: Tensor) -> bool:
    return any(group.name == name and group.size == size for group in exchangeable_units(network, inputs))


def _written_widths(module: nn.Module, group: UnitGroup) -> list[tuple[nn.Module, str]]:
    """Whole-number attributes that equal the old number of units, in the user's classes around this group's tensors."""
    paths = {slot.tensor.rpartition(".")[0] for slot in (*group.incoming, *group.state, *group.outgoing)}
    owners = [module.get_submodule(path) for path in sorted({above for path in paths for above in _prefixes(path)})]
    return [
        (owner, name)
        for owner in owners
        if not type(owner).__module__.startswith("torch.nn")
        for name, value in vars(owner).items()
        if type(value) is int and value == group.size and not name.startswith("_")
    ]


def _prefixes(path: str) -> list[str]:
    words = path.split(".") if path else []
    return [".".join(words[:k]) for k in range(len(words) + 1)]
