"""Making a trained network wider without changing what it computes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, UnsupportedLayer
from isthmus._core.seeds import Seed, as_seed
from isthmus.embedding.compatible import Compatible, embedded
from isthmus.embedding.growth import Copies, Growth
from isthmus.embedding.optimizer_state import StateMap, mapped_optimizer
from isthmus.linops.random import gaussian, rademacher
from isthmus.model.derivatives import output_vjp
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.resizing import module_of, require_same_outputs, resized, unit_group
from isthmus.model.units import UnitGroup

_SPREAD = 0.5
How = Literal["split", "null", "compatible"]


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
    growths: tuple[Growth | Compatible, ...]
    difference: float
    critical: bool
    notes: tuple[str, ...]
    problem: Problem | None
    optimizer: torch.optim.Optimizer | None
    module: nn.Module


@dataclass
class _Steps:
    """A network on its way, what was done to it, and whether a critical point stays one."""

    wide: Network
    growths: list[Growth | Compatible] = field(default_factory=list)
    copies: list[Copies] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    critical: bool = True


def grow(
    source: Problem | Network | nn.Module,
    layer: str | Mapping[str, int] | Growth | Sequence[Growth] | Compatible,
    *,
    how: How = "split",
    units: Sequence[int] | None = None,
    alpha: float | None = None,
    inputs: Tensor | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    seed: Seed | int = 0,
) -> Grown:
    """Add units to layers so that the outputs stay what they are and critical points stay critical.

    ``split``: unit s gets a clone with the same own parameters; outgoing weights ``u`` become ``(1 - alpha) u`` and
    ``alpha u``. ``null``: a unit with zero weights in and out and bias `alpha`. ``compatible``: all named layers at once,
    with random shares and random mixing between their copies (`Compatible`), the largest family of embeddings known to keep
    outputs and criticality for every data set and loss. Works for dense units, convolution channels with their norms,
    attention heads and gated units, whatever a traced module has. A sequence of `Growth` is applied step by step, each in
    the numbering that the one before it left, so that clones can be split again.

    A split keeps gradients: the clone's own gradient is alpha times, the original's (1 - alpha) times the narrow one,
    both outgoing gradients equal it. A null unit keeps a point critical when its reader has a bias or its constant
    output is zero; `critical` and `notes` say so.

    Args:
        source: what to grow; never changed.
        layer: a layer to add one unit to, ``{layer: how many}``, or `Growth` objects or a `Compatible` for full control.
        how: which kind of unit.
        units: which units to split, one for each new unit; by default those with the largest product of own and
            outgoing norm, each once before any twice.
        alpha: share of the clone (0.5 by default), or the bias of a null unit (0 by default).
        inputs: on which outputs are compared; a problem brings its own.
        optimizer: of the source module, whose state is carried over.
        seed: names shares and mixing of ``how="compatible"``.

    Returns:
        The wide network with its certificate.

    Raises:
        InputError: nothing to add, a unit that does not exist, no inputs, a choice that `how` does not have.
        UnsupportedLayer: units that cannot be added one by one (norms across units, ties, groups), with the reason.
        VerificationError: the outputs changed.
    """
    inputs = source.inputs if isinstance(source, Problem) else inputs
    if inputs is None:
        raise InputError("grow compares outputs before and after: pass a Problem, or inputs= with a few examples.")
    narrow = Network.of(source)
    plan = _random_compatible(narrow, layer, units, alpha, inputs, as_seed(seed)) if how == "compatible" else layer
    at_once = isinstance(plan, Compatible)
    done = _at_once(narrow, plan, inputs) if at_once else _step_by_step(narrow, plan, how, units, alpha, inputs)
    names = ", ".join(name for growth in done.growths for name in growth.layers)
    difference = require_same_outputs(narrow.eval(), done.wide.eval(), inputs, what=f"Growing {names}")
    module = module_of(done.wide)
    carried = (
        None
        if optimizer is None
        else mapped_optimizer(optimizer, _module(source), module, [StateMap.of_copies(c) for c in done.copies])
    )
    problem = source._with(network=done.wide) if isinstance(source, Problem) else None
    return Grown(done.wide, tuple(done.growths), difference, done.critical, tuple(done.notes), problem, carried, module)


def _step_by_step(
    narrow: Network,
    layer: str | Mapping[str, int] | Growth | Sequence[Growth],
    how: How,
    units: Sequence[int] | None,
    alpha: float | None,
    inputs: Tensor,
) -> _Steps:
    done = _Steps(narrow)
    for wanted in _wanted(layer):
        group = unit_group(done.wide, wanted.layer if isinstance(wanted, Growth) else wanted[0], inputs)
        growth = wanted if isinstance(wanted, Growth) else _chosen(done.wide, group, wanted[1], how, units, alpha)
        _require_null_possible(group, growth.nulls)
        done.copies.append(growth.copies(group))
        done.growths.append(growth)
        done.wide = resized(done.wide, group, growth.recipe(group), inputs=inputs)
        _judge_nulls(done, done.copies[-1], growth.nulls, inputs)
    return done


def _at_once(narrow: Network, plan: Compatible, inputs: Tensor) -> _Steps:
    for layer in plan.layers:
        _require_null_possible(unit_group(narrow, layer, inputs), plan.bias(layer))
    wide, copies = embedded(narrow, plan, inputs)
    done = _Steps(wide, [plan], copies)
    for step in copies:
        _judge_nulls(done, step, plan.bias(step.group.name), inputs)
    return done


def _random_compatible(
    network: Network, layer: object, units: Sequence[int] | None, alpha: float | None, inputs: Tensor, seed: Seed
) -> Compatible:
    """The strongest units of each layer copied, with random shares that add up to one."""
    if not isinstance(layer, str | Mapping) or units is not None or alpha is not None:
        raise InputError(
            "how='compatible' draws its own shares: give a layer or {layer: how many} without units or alpha, or a Compatible "
            "object, which holds origins, shares and mixing."
        )
    wanted = {layer: 1} if isinstance(layer, str) else dict(layer)
    _require_counts(list(wanted.values()), wanted)
    origins, shares = {}, {}
    for name, count in wanted.items():
        group = unit_group(network, name, inputs)
        order = _strongest(network, group)
        origin = torch.tensor([*range(group.size), *(order[i % group.size] for i in range(count))])
        draw = gaussian((len(origin),), seed.child("shares", name), torch.float64)
        same = (origin[:, None] == origin[None, :]).double()
        beta = (1 + _SPREAD * (draw - (same @ draw) / same.sum(1))) / same.sum(1)
        origins[name], shares[name] = tuple(origin.tolist()), tuple(beta.tolist())
    return Compatible(origins, shares, seed=seed)


def _wanted(layer: str | Mapping[str, int] | Growth | Sequence[Growth]) -> Sequence[Growth | tuple[str, int]]:
    if isinstance(layer, str):
        return [(layer, 1)]
    if isinstance(layer, Growth):
        return [layer]
    found = list(layer.items()) if isinstance(layer, Mapping) else list(layer)
    counts = [item.added if isinstance(item, Growth) else item[1] for item in found]
    _require_counts(counts, dict(layer) if isinstance(layer, Mapping) else counts)
    return found


def _require_counts(counts: Sequence[int], asked: object) -> None:
    if not counts or min(counts) < 1:
        raise InputError(f"Each layer must gain at least one unit, found {asked}.")


def _chosen(network: Network, group: UnitGroup, count: int, how: How, units: Sequence[int] | None, alpha: float | None) -> Growth:
    if how == "null":
        return Growth(group.name, nulls=(0.0 if alpha is None else alpha,) * count)
    if how != "split":
        raise InputError(f"how={how!r} is unknown; write 'split', 'null' or 'compatible'.")
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


def _require_null_possible(group: UnitGroup, biases: Sequence[float]) -> None:
    if not biases:
        return
    if group.state or group.kind not in ("dense neuron", "conv channel"):
        raise UnsupportedLayer(
            f"A null unit of {group.name!r} ({group.kind}{', with a norm' if group.state else ''}) would have no constant output "
            "of its own choice. Use how='split'."
        )
    if any(biases) and not any(slot.tensor.endswith("bias") for slot in group.incoming):
        raise InputError(f"{group.name!r} has no bias, so a null unit can only have alpha=0, found {tuple(biases)}.")


def _judge_nulls(done: _Steps, copies: Copies, biases: Sequence[float], inputs: Tensor) -> None:
    """Whether null units' outgoing weights have no gradient, for any data: a reader's bias, or a constant output of zero."""
    wide, group = done.wide, copies.group
    places = [place for place, unit in enumerate(copies.origin) if unit < 0]
    biased = {slot.tensor.removesuffix("weight") + "bias" for slot in group.outgoing} <= set(wide.parameters)
    for bias in dict.fromkeys(biases):
        words = f"null unit with bias {bias:g}: "
        mine = [place for place, value in zip(places, biases, strict=True) if value == bias]
        if biased:
            done.notes.append(words + "its reader has a bias, so a critical point stays critical")
        elif _silent(wide, group, mine, len(copies.origin), inputs):
            done.notes.append(words + "its output is zero, so a critical point stays critical")
        else:
            done.critical = False
            done.notes.append(
                words
                + "its constant output is not zero and its reader has no bias, so its outgoing weights have a gradient and a "
                "critical point does not stay one"
            )


def _silent(wide: Network, group: UnitGroup, places: Sequence[int], size: int, inputs: Tensor) -> bool:
    """Whether the outgoing weights of these units have no gradient along a random cotangent."""
    few = inputs[:16]
    cotangent = rademacher(wide(few).shape, Seed(0).child("null"), wide.dtype, wide.device)
    pulled = wide.layout.unflatten(output_vjp(wide.eval(), few, cotangent))
    return not any(bool(pulled[s.tensor].movedim(s.axis, 0)[s.entries(size)[list(places)]].any()) for s in group.outgoing)


def _module(source: Problem | Network | nn.Module) -> nn.Module:
    if isinstance(source, nn.Module):
        return source
    raise InputError("The optimizer holds the parameters of a module: pass that module itself to grow, with inputs=.")
