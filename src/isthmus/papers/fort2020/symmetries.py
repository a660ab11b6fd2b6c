"""Exact facts about the tangent kernel: what leaves it unchanged, and how it scales."""

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import UnsupportedLayer
from isthmus._core.numerics import tolerance
from isthmus._core.seeds import Seed
from isthmus.claims import Evidence
from isthmus.claims.claim import ScaleName
from isthmus.kernel import empirical_ntk
from isthmus.linops.random import gaussian
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.surgery import permute_units
from isthmus.model.units import UnitGroup, exchangeable_units
from isthmus.model.zoo import mlp, ntk_mlp

_SCALES = (0.5, 2.0, 3.0)


def groups(problem: Problem) -> list[UnitGroup]:
    """Layers of exchangeable units, as far as the network can be traced."""
    try:
        return [group for group in exchangeable_units(problem) if group.size > 1]
    except UnsupportedLayer:
        return []


def _permutation_evidence(problem: Problem, scale: ScaleName, seed: Seed, tensors: str) -> Evidence:
    few = problem.subset(slice(0, 10 if scale == "smoke" else 40)).to(torch.float64)
    layers = groups(few)
    before = empirical_ntk(few.network, few.inputs, outputs="trace").kernel
    changes = []
    for index, group in enumerate(layers):
        order = _not_identity(group.size, seed.child(index))
        moved = permute_units(few.network, group, order, tensors="all" if tensors == "all" else "incoming")
        after = empirical_ntk(moved, few.inputs, outputs="trace").kernel
        changes.append(float(np.abs(after - before).max() / np.abs(before).max()))
    return Evidence.worst_of(
        np.array([changes]),
        quantity="largest change of a kernel entry, relative to the largest entry, over all layers' units",
        predicted="0",
        threshold=tolerance("float64", terms=max(group.size for group in layers), depth=4 * len(layers)),
        reason="rounding of float64 sums over the units",
        axis=np.arange(1.0, len(layers) + 1),
    )


def _not_identity(size: int, seed: Seed) -> Tensor:
    """A random cyclic shift of a random order: no unit stays where it was."""
    generator = seed.numpy()
    order = generator.permutation(size)
    shift = np.empty(size, dtype=np.int64)
    shift[order] = np.roll(order, 1)
    return torch.from_numpy(shift)


def check_permutation(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Permute all tensors of the units of each layer; the kernel must not change."""
    return _permutation_evidence(problem, scale, seed, "all")


def control_permutation(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Permute the incoming tensors only: another function, another kernel."""
    return _permutation_evidence(problem, scale, seed, "incoming")


def _scale_evidence(network: Network, layers: int, seed: Seed) -> Evidence:
    """``|K(c w) / c^{2 (L - 1)} - K(w)| / |K(w)|`` for three factors c."""
    inputs = gaussian((8, 6), seed.child("inputs"), torch.float64)
    before = empirical_ntk(network, inputs).kernel
    gaps = []
    for factor in _SCALES:
        grown = network.at(factor * network.flat)
        after = empirical_ntk(grown, inputs).kernel / factor ** (2 * (layers - 1))
        gaps.append(float(np.linalg.norm(after - before) / np.linalg.norm(before)))
    return Evidence(
        quantity="largest |K(c w) / c^(2 (L - 1)) - K(w)| / |K(w)| over c = 0.5, 2, 3, for L = 3 linear layers",
        predicted="0",
        estimate=max(gaps),
        interval=(max(gaps), max(gaps)),
        threshold=tolerance("float64", terms=32, depth=4 * layers),
        reason="rounding of float64 sums over the units",
        exact=True,
        axis=np.array(_SCALES),
        measured=np.array([gaps]),
    )


def check_scale(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A ReLU network without biases: growing all weights only rescales the kernel, so S = 0."""
    return _scale_evidence(Network.of(ntk_mlp(6, 32, 3, depth=3, seed=seed.child("network"))).to(torch.float64), 3, seed)


def control_scale(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The same with biases: the kernel turns."""
    return _scale_evidence(Network.of(mlp([6, 32, 32, 3], seed=seed.child("network"))).to(torch.float64), 3, seed)
