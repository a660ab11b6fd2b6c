"""Aligning two networks: the second one's units in the order in which they match those of the first."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, UnsupportedLayer, VerificationError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature import error_barrier
from isthmus.model.network import Network
from isthmus.model.problem import Problem, provenance
from isthmus.model.units import UnitStructure, moved_state, unit_structure
from isthmus.results.curvature import ErrorBarrier
from isthmus.results.provenance import Cost
from isthmus.results.symmetry_alignment import NetworkAlignment
from isthmus.symmetry.alignment_gauge import Gauge, Symmetries, unit_gauge, unit_scales
from isthmus.symmetry.matching import Assignment, Pairing
from isthmus.symmetry.matching_methods import MatchingMethod, MatchingTask, WeightMatching

_TOLERANCE = 1e-10
_CHECKED = 64
_PROBES = 4


@dataclass(frozen=True)
class Alignment:
    """The aligned network, and the record of how it was found.

    Attributes:
        network: the second network with its units moved; the same function as before.
        record: permutations, signs and scales, distances, and barriers before and after.
    """

    network: Network
    record: NetworkAlignment


@dataclass(frozen=True)
class Comparison:
    """Two networks of one architecture with everything that a matching needs; traced once.

    Attributes:
        problem: data, loss and the network that stays.
        other: the network whose units move.
        structure: the groups of exchangeable units.
        gauges: sign and scale freedom of each group.
        norms: scales of the units of both networks, ``(2, group)``.
        task: what a method matches: both networks at common scales.
    """

    problem: Problem
    other: Network
    structure: UnitStructure
    gauges: tuple[Gauge, ...]
    norms: tuple[list[Tensor], list[Tensor]]
    task: MatchingTask


def align(
    a: Problem,
    b: nn.Module | Network | Problem | Mapping[str, Tensor] | Tensor,
    *,
    method: MatchingMethod | None = None,
    symmetries: Symmetries = "signs",
    barrier: int | None = 21,
    seed: Seed | int = 0,
) -> Alignment:
    """Bring the units of network b into the order in which they match those of network a.

    The groups of units come from the traced module. Where the activation is odd (tanh) units also change sign; positive
    scales (ReLU) are matched on request: they undo a rescaling, but bring independently trained networks no nearer. The moved
    network computes the same function: its outputs are compared in float64 with those of b on up to 64 inputs, and a
    difference above 1e-10 of the largest output raises.

    Args:
        a: network, data and loss; a's network stays as it is.
        b: another network of the same architecture: module, network, problem, dict of tensors or flat vector.
        method: `WeightMatching` (the default: from the weights alone), `ActivationMatching` or `Sinkhorn`.
        symmetries: ``"signs"``: permutations, and signs where the activation is known to be odd; ``"permutations"`` alone;
            ``"all"``: permutations, signs and scales, refusing a network with an activation of unknown symmetry.
        barrier: points on the line between the networks at which loss and error are measured, with BatchNorm statistics
            measured anew; None for no barrier.
        seed: of random starts.

    Returns:
        The aligned network and the record.

    Raises:
        InputError: b has another architecture.
        UnsupportedLayer: the forward pass branches on its data, no unit of it can be exchanged, or ``"all"`` was asked of an
            activation of unknown symmetry.
        VerificationError: the outputs changed.

    References:
        Ainsworth, Hayase and Srinivasa, arXiv 2209.04836 (matching by weights and by activations); Pena et al., arXiv
        2212.12042 (Sinkhorn).
    """
    started = time.perf_counter()
    seed, method = as_seed(seed), method or WeightMatching()
    compared = compare(a, b, symmetries)
    found, objectives = method.match(compared.task, seed)
    state, factors = _moved(compared, found)
    moved = compared.other.to(torch.float64).at_state(state)
    change = verify_same_function(compared.other, moved, a.inputs)
    aligned = moved.to(compared.other.dtype)
    barriers = _barriers(a, compared.other, aligned, barrier) if barrier is not None else None
    record = NetworkAlignment(
        permutation=_joined(found.permutations).astype(np.int64),
        factor=_joined(factors).astype(np.float64),
        sizes=np.array(compared.task.weights.sizes, dtype=np.int64),
        names=[group.name for group in compared.structure.groups],
        kinds=[group.kind for group in compared.structure.groups],
        freedoms=[gauge.freedom for gauge in compared.gauges],
        objectives=objectives,
        distance=np.array([float((a.network.flat - n.flat).double().norm()) for n in (compared.other, aligned)]),
        output_change=change,
        **_lines(barriers),
        status=Status.CONVERGED if found.converged else Status.MAX_STEPS,
        method=f"{method}, {found.sweeps} sweeps of the best start",
        error="a local optimum of the assignment: a better one may exist",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(a, seed),
    )
    return Alignment(aligned, record)


def compare(a: Problem, b: nn.Module | Network | Problem | Mapping[str, Tensor] | Tensor, symmetries: Symmetries) -> Comparison:
    """Trace a network and pair its parameters with those of another one.

    Raises:
        InputError: another architecture.
        UnsupportedLayer: no unit can be exchanged.
    """
    a = a.eval()
    other = _network(a, b)
    few = a.inputs[:_PROBES]
    structure = unit_structure(a.network, few)
    if not structure.groups:
        why = "".join(f"; {where} calls {what}, for which there is no rule" for where, what in structure.fixed_by)
        raise UnsupportedLayer(
            f"{type(a.network.module).__name__} has no exchangeable units: every axis of its parameters meets an input or an "
            f"output{why}. There is nothing to align; compare the networks as they are."
        )
    gauges = tuple(unit_gauge(a.network, group, few, symmetries) for group in structure.groups)
    sizes = tuple(group.size for group in structure.groups)
    (mine, norms), (theirs, other_norms) = (unit_scales(network.state, sizes, gauges) for network in (a.network, other))
    own = set(a.network.parameters)
    slots = tuple(tuple(slot for slot in group.slots if slot.tensor in own) for group in structure.groups)
    flips = tuple(
        frozenset((*g.makers, *g.readers)) & frozenset(s) if g.odd else frozenset() for g, s in zip(gauges, slots, strict=True)
    )
    weights = Pairing({k: mine[k].cpu() for k in own}, {k: theirs[k].cpu() for k in own}, sizes, slots, flips)
    task = MatchingTask(structure, weights, tuple(g.odd for g in gauges), (a.network, other), a.inputs)
    return Comparison(a, other, structure, gauges, (norms, other_norms), task)


def random_equivalent(problem: Problem, *, seed: Seed | int, symmetries: Symmetries = "signs") -> Network:
    """A random network that computes the same function: units permuted, and where they are free their signs and scales.

    Args:
        problem: network and data.
        seed: of the draw.
        symmetries: as in `align`.

    Raises:
        VerificationError: the outputs changed.
    """
    seed = as_seed(seed)
    compared = compare(problem, problem.network, symmetries)
    permutations, factors = [], []
    for index, (gauge, size) in enumerate(zip(compared.gauges, compared.task.weights.sizes, strict=True)):
        draw = seed.child("equivalent", index).numpy()
        permutations.append(torch.from_numpy(draw.permutation(size)))
        signs, scales = draw.choice([-1.0, 1.0], size), np.exp(0.5 * draw.standard_normal(size))
        factors.append(torch.from_numpy(np.where(gauge.odd, signs, 1.0) * np.where(gauge.scalable, scales, 1.0)))
    state = _transformed(compared.other.to(torch.float64).state, compared, permutations, factors)
    moved = compared.other.to(torch.float64).at_state(state)
    verify_same_function(compared.other, moved, problem.inputs)
    return moved.to(problem.network.dtype)


def verify_same_function(one: Network, other: Network, inputs: Tensor) -> float:
    """The largest difference of two networks' outputs on up to 64 inputs, relative to the largest output, in float64.

    Raises:
        VerificationError: it exceeds 1e-10.
    """
    few = inputs[:_CHECKED]
    few = few.double() if few.is_floating_point() else few
    before, after = (network.eval().to(torch.float64)(few) for network in (one, other))
    change = float((before - after).abs().max() / before.abs().max().clamp_min(1e-30))
    if not change <= _TOLERANCE:
        raise VerificationError(
            f"Moving the units changed the outputs by {change:.3g} of the largest one; 1e-10 is what rounding may do. The units "
            "of this network were not understood: please report it. The networks were not aligned."
        )
    return change


def _network(a: Problem, b: nn.Module | Network | Problem | Mapping[str, Tensor] | Tensor) -> Network:
    if isinstance(b, nn.Module | Network | Problem):
        other = Network.of(b).eval()
        if other.architecture_hash != a.network.architecture_hash:
            one, two = (f"{n.size} parameters in {len(n.parameters)} tensors" for n in (a.network, other))
            raise InputError(
                f"The networks have different architectures ({one}, {two}; their modules or shapes differ), so their units do "
                "not correspond. Align two networks that the same code builds."
            )
        return a.network.at(other.parameters, other.buffers)
    if isinstance(b, Tensor):
        return a.network.at(b)
    own = a.network.buffers
    return a.network.at({k: v for k, v in b.items() if k not in own}, {**own, **{k: v for k, v in b.items() if k in own}})


def _moved(compared: Comparison, found: Assignment) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The second network's tensors in float64 after the assignment, at the first one's scales; and the factors."""
    factors = []
    for order, sign, mine, theirs in zip(found.permutations, found.signs, *compared.norms, strict=True):
        factors.append(sign.double() * mine / theirs[order])
    state = compared.other.to(torch.float64).state
    return _transformed(state, compared, found.permutations, factors), factors


def _transformed(
    state: dict[str, Tensor], compared: Comparison, permutations: tuple[Tensor, ...] | list[Tensor], factors: list[Tensor]
) -> dict[str, Tensor]:
    for group, gauge, order, factor in zip(compared.structure.groups, compared.gauges, permutations, factors, strict=True):
        state = moved_state(state, group.slots, order)
        if gauge.freedom != "none":
            state = gauge.apply(state, factor)
    return state


def _barriers(a: Problem, other: Network, aligned: Network, points: int) -> list[ErrorBarrier]:
    return [error_barrier(a, a.network, network, points=points, refine=False) for network in (other, aligned)]


def _lines(barriers: list[ErrorBarrier] | None) -> dict:
    if barriers is None:
        nothing, line = np.empty(0), np.empty((0, 0))
        return {"alpha": nothing, "before": line, "after": line.copy(), "chord_before": nothing.copy(),
                "chord_after": nothing.copy(), "quantities": []}  # fmt: skip
    before, after = barriers
    return {"alpha": before.alpha, "before": before.values, "after": after.values, "chord_before": before.chord,
            "chord_after": after.chord, "quantities": before.quantities}  # fmt: skip


def _joined(parts: tuple[Tensor, ...] | list[Tensor]) -> np.ndarray:
    return torch.cat(list(parts)).cpu().numpy() if parts else np.empty(0)
