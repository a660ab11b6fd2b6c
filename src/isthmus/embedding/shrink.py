"""Making a network narrower by joining units that do the same thing, and saying what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus._core.numerics import tolerance as rounding
from isthmus.embedding.optimizer_state import StateMap, mapped_optimizer
from isthmus.embedding.vectors import is_homogeneous, is_odd, unit_outputs, unit_vectors
from isthmus.model.derivatives import loss_value
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.resizing import Recipe, module_of, output_difference, resized, unit_group, unit_groups
from isthmus.model.units import UnitGroup

_PASSES = 3
_CONSTANT = 1e-14


@dataclass(frozen=True)
class Merge:
    """One unit that went.

    Attributes:
        layer: its group.
        unit: its index at that moment.
        kind: ``clone``, ``anti-clone``, ``scaled clone``, ``constant`` or ``zero output``.
        into: the unit that took it over, or -1.
        factor: its outgoing weights are added to that unit's after multiplication by this.
        distance: relative distance of own parameters, or of the output from a constant.
    """

    layer: str
    unit: int
    kind: str
    into: int
    factor: float
    distance: float


@dataclass(frozen=True)
class Shrunk:
    """A narrowed network.

    Attributes:
        problem: with the narrow network.
        merges: every unit that went.
        widths: layer to (before, after).
        difference: largest change of an output over the data, relative to the largest output.
        exact: whether that is rounding.
        loss_before: of the wide network.
        loss_after: of the narrow one.
        agreement: share of samples with the same largest output, where there are several.
        module: the narrow module.
        optimizer: for its parameters, with the state carried over, when one was given.
    """

    problem: Problem
    merges: tuple[Merge, ...]
    widths: dict[str, tuple[int, int]]
    difference: float
    exact: bool
    loss_before: float
    loss_after: float
    agreement: float
    module: nn.Module
    optimizer: torch.optim.Optimizer | None


@dataclass
class _Plan:
    """Which units of a layer stay, and where the others' outgoing weights go."""

    kept: list[int] = field(default_factory=list)
    merges: list[Merge] = field(default_factory=list)
    constants: dict[int, float] = field(default_factory=dict)


def shrink(
    problem: Problem,
    layers: Sequence[str] | None = None,
    *,
    tolerance: float = 1e-6,
    trained: tuple[nn.Module, torch.optim.Optimizer] | None = None,
) -> Shrunk:
    """Join clones, sign- and scale-equivalent units, constants and units without output; refit what is not exact.

    Units whose own parameters agree become one whose outgoing weights are the sum; for odd activations also up to sign,
    for positively homogeneous ones up to scale. Constant units go into their reader's bias. Where units agree only
    within `tolerance`, the outgoing weights of the remaining ones are fitted to the old layer sum by least squares.

    Args:
        problem: network, data and loss.
        layers: groups of units to treat; by default all whose units can be removed one by one.
        tolerance: relative distance of own parameters up to which units are joined, and relative size of outgoing
            weights up to which a unit is dropped. Rounding level joins exact copies only; 0.1 and more compresses.
        trained: the module that this problem holds and the optimizer of its parameters, whose state is carried over: the
            gradient of joined units is the sum of theirs, the squares are divided by the squared shares.

    Returns:
        The narrow network with its certificate.

    Raises:
        InputError: the tolerance is not in [0, 1), or the module given with the optimizer is not the problem's.
        UnsupportedLayer: a named layer cannot be treated.
    """
    if not 0 <= tolerance < 1:
        raise InputError(f"tolerance is a relative distance in [0, 1), found {tolerance}.")
    problem = problem.eval()
    _require_same_module(problem, trained)
    network, merges, steps = problem.network, [], []
    names = list(layers) if layers is not None else [g.name for g in unit_groups(problem) if g.obstacle is None]
    before = {name: unit_group(problem, name).size for name in names}
    widths = dict(before)
    for _ in range(_PASSES):
        found = []
        for name in names:
            there = problem._with(network=network)
            if widths[name] == 1:
                continue
            group = unit_group(there, name)
            plan = _plan(there, group, tolerance)
            if plan.merges:
                network = _applied(there, group, plan)
                steps.append(_state_map(there, group, plan))
                widths[name] = len(plan.kept)
                found += plan.merges
        merges += found
        if not found:
            break
    found = _certified(problem, problem._with(network=network), merges, {name: (before[name], widths[name]) for name in names})
    if trained is None:
        return found
    return replace(found, optimizer=mapped_optimizer(trained[1], trained[0], found.module, steps))


def _require_same_module(problem: Problem, trained: tuple[nn.Module, torch.optim.Optimizer] | None) -> None:
    if trained is None:
        return
    mine, theirs = problem.network.parameters, Network.of(trained[0]).parameters
    if mine.keys() != theirs.keys() or any(mine[k].shape != theirs[k].shape or not torch.equal(mine[k], theirs[k]) for k in mine):
        raise InputError(
            "The module given with the optimizer has other parameters than this problem, so its optimizer's state does not belong "
            "here. Make the Problem from that module as it stands now."
        )


def _certified(wide: Problem, narrow: Problem, merges: list[Merge], widths: dict[str, tuple[int, int]]) -> Shrunk:
    one, other = wide.network(wide.inputs), narrow.network(wide.inputs)
    difference = output_difference(wide.network, narrow.network, wide.inputs)
    several = one.shape[1] > 1
    return Shrunk(
        problem=narrow,
        merges=tuple(merges),
        widths=widths,
        difference=difference,
        exact=difference <= rounding(wide.network.dtype, terms=4096, depth=8),
        loss_before=loss_value(wide),
        loss_after=loss_value(narrow),
        agreement=float((one.argmax(1) == other.argmax(1)).double().mean()) if several else float("nan"),
        module=module_of(narrow.network),
        optimizer=None,
    )


def _plan(problem: Problem, group: UnitGroup, tolerance: float) -> _Plan:
    """Decide unit by unit, strongest first, so that a group's strongest member stands for it."""
    own, outgoing = unit_vectors(problem, group)
    strength, plan = outgoing.norm(dim=1), _Plan()
    signals = unit_outputs(problem, group)
    if signals is not None and group.outgoing[0].tensor.removesuffix("weight") + "bias" not in problem.network.parameters:
        signals = None
    order = (strength * own.norm(dim=1)).argsort(descending=True, stable=True).tolist()
    for unit in order:
        if not plan.kept and len(plan.merges) == group.size - 1:
            plan.kept.append(unit)
            continue
        merge = _fate(group, unit, plan.kept, own, strength, signals, tolerance)
        if merge is None:
            plan.kept.append(unit)
            continue
        plan.merges.append(merge)
        if merge.kind == "constant" and signals is not None:
            plan.constants[unit] = float(signals[:, unit].mean())
    plan.kept.sort()
    return plan


def _fate(
    group: UnitGroup, unit: int, kept: list[int], own: Tensor, strength: Tensor, signals: Tensor | None, tolerance: float
) -> Merge | None:
    if float(strength[unit]) <= tolerance * float(strength.max()):
        share = float(strength[unit] / strength.max().clamp_min(1e-300))
        return Merge(group.name, unit, "zero output", -1, 0.0, share)
    if signals is not None and len(signals) > 1:
        spread = float(signals[:, unit].std() / signals[:, unit].abs().max().clamp_min(1e-300))
        if spread <= _CONSTANT:
            return Merge(group.name, unit, "constant", -1, 0.0, spread)
    for other in kept:
        kind, factor, distance = _relation(group, own[unit], own[other])
        if distance <= tolerance:
            return Merge(group.name, unit, kind, other, factor, distance)
    return None


def _relation(group: UnitGroup, mine: Tensor, theirs: Tensor) -> tuple[str, float, float]:
    """How a unit could be expressed by another: kind, factor on outgoing weights, relative distance."""
    size = torch.maximum(mine.norm(), theirs.norm()).clamp_min(1e-300)
    best = ("clone", 1.0, float((mine - theirs).norm() / size))
    if is_odd(group):
        best = min(best, ("anti-clone", -1.0, float((mine + theirs).norm() / size)), key=lambda item: item[2])
    if is_homogeneous(group) and float(theirs.norm()) > 0:
        ratio = float(mine.norm() / theirs.norm())
        found = ("scaled clone", ratio, float((mine - ratio * theirs).norm() / size))
        best = found if found[2] < best[2] else best
    return best


def _applied(problem: Problem, group: UnitGroup, plan: _Plan) -> Network:
    keep, joined = _matrices(group, plan)
    narrow = resized(problem.network, group, Recipe(keep, joined, torch.zeros(len(keep))), inputs=problem.inputs)
    narrow = _with_constants(problem.network, narrow, group, plan)
    if any(merge.distance > 1e-12 for merge in plan.merges):
        narrow = _refitted(problem, narrow, group)
    return narrow


def _matrices(group: UnitGroup, plan: _Plan) -> tuple[Tensor, Tensor]:
    """``(m', m)``: the units that stay, and the factors with which each takes the others' outgoing weights."""
    keep = torch.zeros(len(plan.kept), group.size, dtype=torch.float64)
    keep[torch.arange(len(plan.kept)), torch.tensor(plan.kept)] = 1
    joined = keep.clone()
    for merge in plan.merges:
        if merge.into >= 0:
            joined[plan.kept.index(merge.into), merge.unit] = merge.factor
    return keep, joined


def _state_map(problem: Problem, group: UnitGroup, plan: _Plan) -> StateMap:
    """With ``p_i = f_i p`` and ``f_i u_i = s_i u``: ``g = sum_i f_i g_i`` and ``f_i^2 g_i^2 = s_i^2 g^2``."""
    keep, joined = _matrices(group, plan)
    _, out = unit_vectors(problem, group)
    total = joined @ out
    shares = joined * (total @ out.T) / total.square().sum(1, keepdim=True).clamp_min(1e-300)
    return StateMap(group, (joined, joined**2 / shares.square().sum(1, keepdim=True).clamp_min(1e-300)), keep)


def _with_constants(wide: Network, narrow: Network, group: UnitGroup, plan: _Plan) -> Network:
    if not plan.constants:
        return narrow
    (slot,) = group.outgoing
    bias = slot.tensor.removesuffix("weight") + "bias"
    shift = sum(value * wide.parameters[slot.tensor][:, unit] for unit, value in plan.constants.items())
    return narrow.at({**narrow.parameters, bias: narrow.parameters[bias] + shift}, narrow.buffers)


def _refitted(wide: Problem, narrow: Network, group: UnitGroup) -> Network:
    """Outgoing weights (and bias) of a Linear reader by least squares on the old reader's output over the data."""
    after = wide._with(network=narrow)
    remaining = UnitGroup(**{**group.__dict__, "size": narrow.parameters[group.outgoing[0].tensor].shape[1]})
    old, new = unit_outputs(wide, group), unit_outputs(after, remaining)
    if old is None or new is None:
        return narrow
    (slot,) = group.outgoing
    bias = slot.tensor.removesuffix("weight") + "bias"
    target, design = old @ wide.network.parameters[slot.tensor].T, new
    if bias in narrow.parameters:
        target = target + wide.network.parameters[bias]
        design = torch.cat([design, torch.ones_like(design[:, :1])], dim=1)
    found = torch.linalg.lstsq(design.double(), target.double(), driver="gelsd").solution.T.to(target)
    changed = {slot.tensor: found[:, : new.shape[1]].contiguous()}
    if bias in narrow.parameters:
        changed[bias] = found[:, -1]
    return narrow.at({**narrow.parameters, **changed}, narrow.buffers)
