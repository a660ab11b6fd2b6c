"""Making a trained network wider without changing what it computes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, UnsupportedLayer
from isthmus._core.seeds import Seed
from isthmus.embedding.growth import Growth
from isthmus.embedding.optimizer_state import mapped_optimizer
from isthmus.linops.random import rademacher
from isthmus.model.derivatives import output_vjp
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.resizing import module_of, require_same_outputs, resized, unit_group
from isthmus.model.units import UnitGroup

How = Literal["split", "null"]


@dataclass(frozen=True)
class Grown:
    """A widened network.

    Attributes:
        network: around a new module of the user's class.
        growths: what was added, layer by layer, in order.
        difference: largest change of an output, relative to the largest output.
        critical: whether a critical point stays critical for any data and loss.
        notes: conditions that were checked, in words.
        problem: the problem with the wide network, when a problem was given.
        optimizer: for the wide module's parameters with its state carried over, when one was given.
        module: the wide module, the one whose parameters the optimizer holds.
    """

    network: Network
    growths: tuple[Growth, ...]
    difference: float
    critical: bool
    notes: tuple[str, ...]
    problem: Problem | None
    optimizer: torch.optim.Optimizer | None
    module: nn.Module


def grow(
    source: Problem | Network | nn.Module,
    layer: str | Mapping[str, int] | Growth | Sequence[Growth],
    *,
    how: How = "split",
    units: Sequence[int] | None = None,
    alpha: float | None = None,
    inputs: Tensor | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> Grown:
    """Add units to layers so that the outputs stay what they are and critical points stay critical.

    ``split``: unit s gets a clone with the same own parameters; outgoing weights ``u`` become ``(1 - alpha) u`` and
    ``alpha u``. ``null``: a unit with zero weights in and out and bias `alpha`. Works for dense units, convolution
    channels with their norms, attention heads and gated units, whatever a traced module has.

    A split keeps gradients: the clone's own gradient is alpha times, the original's (1 - alpha) times the narrow one,
    both outgoing gradients equal it. A null unit keeps a point critical when its reader has a bias or its constant
    output is zero; `critical` and `notes` say so.

    Args:
        source: what to grow; never changed.
        layer: a layer to add one unit to, ``{layer: how many}``, or `Growth` objects for full control.
        how: which kind of unit.
        units: which units to split, one for each new unit; by default those with the largest product of own and
            outgoing norm, each once before any twice.
        alpha: share of the clone (0.5 by default), or the bias of a null unit (0 by default).
        inputs: on which outputs are compared; a problem brings its own.
        optimizer: of the source module, whose state is carried over.

    Returns:
        The wide network with its certificate.

    Raises:
        InputError: nothing to add, a unit that does not exist, no inputs.
        UnsupportedLayer: units that cannot be added one by one (norms across units, ties, groups), with the reason.
        VerificationError: the outputs changed.
    """
    inputs = source.inputs if isinstance(source, Problem) else inputs
    if inputs is None:
        raise InputError("grow compares outputs before and after: pass a Problem, or inputs= with a few examples.")
    narrow = Network.of(source)
    wide, growths, notes, critical = narrow, [], [], True
    steps: list[tuple[UnitGroup, Growth]] = []
    for wanted in _wanted(layer):
        group = unit_group(wide, wanted.layer if isinstance(wanted, Growth) else wanted[0], inputs)
        growth = wanted if isinstance(wanted, Growth) else _chosen(wide, group, wanted[1], how, units, alpha)
        _require_null_possible(group, growth)
        steps.append((group, growth))
        wide = resized(wide, group, growth.recipe(group.size), inputs=inputs)
        growths.append(growth)
        for bias in dict.fromkeys(growth.nulls):
            sure, words = _null_condition(wide, group, growth, bias, inputs)
            critical, notes = critical and sure, [*notes, words]
    difference = require_same_outputs(narrow.eval(), wide.eval(), inputs, what=f"Growing {', '.join(g.layer for g in growths)}")
    module = module_of(wide)
    carried = None if optimizer is None else mapped_optimizer(optimizer, _module(source), module, steps)
    problem = source._with(network=wide) if isinstance(source, Problem) else None
    return Grown(wide, tuple(growths), difference, critical, tuple(notes), problem, carried, module)


def _wanted(layer: str | Mapping[str, int] | Growth | Sequence[Growth]) -> Sequence[Growth | tuple[str, int]]:
    if isinstance(layer, str):
        return [(layer, 1)]
    if isinstance(layer, Growth):
        return [layer]
    found = list(layer.items()) if isinstance(layer, Mapping) else list(layer)
    counts = [item.added if isinstance(item, Growth) else item[1] for item in found]
    if not found or min(counts) < 1:
        raise InputError(
            f"Each layer must gain at least one unit, found {dict(layer) if isinstance(layer, Mapping) else counts}."
        )
    return found


def _chosen(network: Network, group: UnitGroup, count: int, how: How, units: Sequence[int] | None, alpha: float | None) -> Growth:
    if how == "null":
        return Growth(group.name, nulls=(0.0 if alpha is None else alpha,) * count)
    if how != "split":
        raise InputError(f"how={how!r} is unknown; write 'split' or 'null'.")
    share = 0.5 if alpha is None else alpha
    if units is not None and len(units) != count:
        raise InputError(
            f"{count} units are to be added to {group.name!r} and {len(units)} to be split are named: {list(units)}."
        )
    order = list(units) if units is not None else [_strongest(network, group)[i % group.size] for i in range(count)]
    splits: dict[int, tuple[float, ...]] = {}
    for unit in order:
        first, *clones = splits.get(unit, (1.0,))
        splits[unit] = (first * (1 - share), *clones, first * share)
    return Growth(group.name, splits)


def _strongest(network: Network, group: UnitGroup) -> list[int]:
    """Units by the product of the norms of their own and their outgoing weights, largest first."""
    strength = torch.ones(group.size, dtype=torch.float64)
    for slots in (group.incoming, group.outgoing):
        square = torch.zeros(group.size, dtype=torch.float64)
        for slot in slots:
            tensor = {**network.buffers, **network.parameters}[slot.tensor].movedim(slot.axis, 0)
            square += tensor[slot.entries(group.size)].double().square().flatten(1).sum(1).cpu()
        strength *= square
    return strength.argsort(descending=True).tolist()


def _require_null_possible(group: UnitGroup, growth: Growth) -> None:
    if not growth.nulls:
        return
    if group.state or group.kind not in ("dense neuron", "conv channel"):
        raise UnsupportedLayer(
            f"A null unit of {group.name!r} ({group.kind}{', with a norm' if group.state else ''}) would have no constant output "
            "of its own choice. Use how='split'."
        )
    if any(growth.nulls) and not any(slot.tensor.endswith("bias") for slot in group.incoming):
        raise InputError(f"{group.name!r} has no bias, so a null unit can only have alpha=0, found {growth.nulls}.")


def _null_condition(wide: Network, group: UnitGroup, growth: Growth, bias: float, inputs: Tensor) -> tuple[bool, str]:
    """Whether the new outgoing weights have no gradient, for any data: a reader's bias, or a constant output of zero."""
    readers = {slot.tensor.removesuffix("weight") + "bias" for slot in group.outgoing}
    if readers <= set(wide.parameters):
        return True, f"null unit with bias {bias:g}: its reader has a bias, so a critical point stays critical"
    few = inputs[:16]
    cotangent = rademacher(wide(few).shape, Seed(0).child("null"), wide.dtype, wide.device)
    pulled = wide.layout.unflatten(output_vjp(wide.eval(), few, cotangent))
    first, last = group.size + growth.added - len(growth.nulls), group.size + growth.added
    size = max(float(pulled[s.tensor].movedim(s.axis, 0)[s.entries(last)[first:]].abs().max()) for s in group.outgoing)
    if size == 0:
        return True, f"null unit with bias {bias:g}: its output is zero, so a critical point stays critical"
    return False, (
        f"null unit with bias {bias:g}: its constant output is not zero and its reader has no bias, so its outgoing weights have "
        "a gradient and a critical point does not stay one"
    )


def _module(source: Problem | Network | nn.Module) -> nn.Module:
    if isinstance(source, nn.Module):
        return source
    raise InputError("The optimizer holds the parameters of a module: pass that module itself to grow, with inputs=.")
