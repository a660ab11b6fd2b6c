"""What every hidden unit of a trained network is."""

import math
import time

import numpy as np
import torch
from torch import Tensor

from isthmus._core.status import Status
from isthmus.combinatorics.asymptotics import log10_critical_below, log10_minima_subspaces
from isthmus.combinatorics.subspaces import Symmetry
from isthmus.model.network import Network
from isthmus.model.problem import Problem, provenance
from isthmus.results.provenance import Cost
from isthmus.results.symmetry import UNIT_KINDS, UnitTaxonomy
from isthmus.symmetry.activations import ActivationClass, unit_values
from isthmus.symmetry.layers import HiddenLayer, examined_layers
from isthmus.symmetry.opposites import opposite_pairs
from isthmus.symmetry.reduction import Reduction, UnitRole, reduce
from isthmus.symmetry.rows import row_distances

OPPOSITE = 1e-6
CHANNEL_DISTANCE = 0.1
CHANNEL_CANCELLATION = 0.2
CHANNEL_ERROR = 0.05


def unit_taxonomy(problem: Problem, reduction: Reduction | None = None) -> UnitTaxonomy:
    """Copies, parked units, cancelling groups, dead and constant units, channels: one label per hidden unit.

    Labels come from the reduction, hence from a function certificate and a refit. Two refinements among its distinct units:

    * *channel*: two units with opposite outgoing vectors that nearly cancel, near incoming vectors, whose joint effect is a
      derivative of one unit, ``c sigma(w.x) + (v.x) sigma'(w.x)``, to 5 %: on the way to infinity.
    * *opposite*: incoming vectors ``w`` and ``-c w`` where ``sigma(z) - sigma(-z)`` is linear: the two together carry one
      nonlinear function and a linear one.

    Args:
        problem: trained network, data and loss.
        reduction: from `reduce`, when it is there already.

    Returns:
        The record; thresholds are in its `method`.

    Raises:
        HypothesisError: no layer has exchangeable units.
        UnsupportedLayer: the network cannot be traced.
    """
    started = time.perf_counter()
    problem = problem.eval().to(torch.float64)
    found = reduction if reduction is not None else reduce(problem)
    layers, left_out = examined_layers(problem.network, problem.inputs)
    tables = [_labels(problem, layer, roles) for layer, roles in zip(layers, found.roles, strict=True)]
    counts = [_counts(problem.network, layer, r) for layer, r in zip(layers, found.widths, strict=True)]
    roles = [role for layer in found.roles for role in layer]
    return UnitTaxonomy(
        layer=np.repeat(np.arange(len(layers)), [layer.size for layer in layers]),
        kind=np.concatenate([kinds for kinds, _ in tables]),
        group=np.array([role.group for role in roles]),
        factor=np.array([role.factor for role in roles]),
        strength=np.concatenate([strength for _, strength in tables]),
        tolerance=np.array([attempt.tolerance for attempt in found.attempts]),
        attempt_width=np.array([sum(attempt.widths) for attempt in found.attempts]),
        attempt_change=np.array([attempt.change for attempt in found.attempts]),
        attempt_loss=np.array([attempt.loss for attempt in found.attempts]),
        accepted=np.array([attempt.accepted for attempt in found.attempts], dtype=bool),
        layers=[layer.group.name for layer in layers],
        activations=[layer.activation.value for layer in layers],
        widths=[layer.size for layer in layers],
        minimal=list(found.widths),
        loss=found.loss,
        refit_loss=found.refit_loss,
        change=found.total_change,
        loss_name=problem.loss.name,
        **{name: math.fsum(count[i] for count in counts) for i, name in enumerate(_NAMES)},
        samples=problem.samples,
        left_out=list(left_out),
        status=Status.EXACT,
        method=f"units joined at relative distances {', '.join(f'{a.tolerance:g}' for a in found.attempts)} of their values, each "
        f"refitted, the narrowest with no higher loss accepted (at {found.tolerance:g}); channel: distance < {CHANNEL_DISTANCE:g}, "
        f"cancellation < {CHANNEL_CANCELLATION:g}, limit within {CHANNEL_ERROR:g}",
        error="the width found is an upper bound on the minimal one; labels depend on the printed thresholds",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem),
    )


_NAMES = ("log10_orders", "log10_minima", "log10_critical", "log10_joined")


def symmetry_of(network: Network, layer: HiddenLayer) -> Symmetry:
    """Which counts belong to a layer: with sign flips where the activation and its readers allow them."""
    if layer.activation is ActivationClass.ODD:
        return "odd" if layer.biased else "odd_null"
    biased = all(name is not None for name in layer.reader_biases(network.state))
    return "odd" if layer.activation is ActivationClass.ODD_CONSTANT and biased else "none"


def _counts(network: Network, layer: HiddenLayer, r: int) -> tuple[float, float, float, float]:
    symmetry, m = symmetry_of(network, layer), layer.size
    orders = math.lgamma(r + 1) / math.log(10) + (0.0 if symmetry == "none" else r * math.log10(2))
    return (
        orders,
        log10_minima_subspaces(r, m, symmetry=symmetry),
        log10_critical_below(r, m, symmetry=symmetry),
        log10_minima_subspaces(r, m + 1, symmetry=symmetry),
    )


def _labels(problem: Problem, layer: HiddenLayer, roles: tuple[UnitRole, ...]) -> tuple[np.ndarray, np.ndarray]:
    kinds = np.array([UNIT_KINDS.index(role.kind) for role in roles])
    network, inputs = problem.network, problem.inputs
    values, out = unit_values(network, layer.group, inputs), layer.outgoing(network.state)
    distinct = [unit for unit, role in enumerate(roles) if role.kind == "distinct"]
    for pair in opposite_pairs(network, layer, OPPOSITE):
        kinds[[unit for unit in pair if unit in distinct]] = UNIT_KINDS.index("opposite")
    for pair in _channels(network, layer, inputs, distinct):
        kinds[list(pair)] = UNIT_KINDS.index("channel")
    strength = values.square().mean(dim=0).sqrt() * out.norm(dim=1)
    return kinds, (strength / strength.max().clamp_min(1e-300)).cpu().numpy()


def _channels(network: Network, layer: HiddenLayer, inputs: Tensor, units: list[int]) -> list[tuple[int, int]]:
    """Pairs whose joint effect is that of one unit and its derivative."""
    state = network.state
    rows, out = layer.incoming(state), layer.outgoing(state)
    size, send = rows.norm(dim=1), out.norm(dim=1)
    distance = row_distances(rows, rows) / torch.maximum(size[:, None], size[None])
    cancel = row_distances(out, -out) / (send[:, None] + send[None]).clamp_min(1e-300)
    near = (distance < CHANNEL_DISTANCE) & (cancel < CHANNEL_CANCELLATION)
    pairs = [(i, k) for i in units for k in units if i < k and bool(near[i, k])]
    return [pair for pair in pairs if channel_error(network, layer, inputs, pair) < CHANNEL_ERROR]


def channel_error(network: Network, layer: HiddenLayer, inputs: Tensor, pair: tuple[int, int]) -> float:
    """How far two units are from their common limit ``c sigma(w.x) + (v.x) sigma'(w.x)``.

    With w the mean of the incoming vectors, d half their difference, ``c = a_i + a_k`` and ``v.x sigma' = (a_i - a_k) (d.x)
    sigma'``: the norm of the difference over that of the derivative term, on the inputs. It falls like ``|d|^2``.

    Args:
        network: the network.
        layer: the layer.
        inputs: on which the functions are compared.
        pair: two units.
    """
    (i, k), state, step = pair, network.state, 1e-4
    rows, out = layer.incoming(state), layer.outgoing(state)
    values = unit_values(network, layer.group, inputs)
    middle, half = (rows[i] + rows[k]) / 2, (rows[i] - rows[k]) / 2
    moved = rows.clone()
    moved[i], moved[k] = middle + step * half, middle - step * half
    near = unit_values(network.at_state(layer.with_incoming(state, moved)), layer.group, inputs)
    center, slope = (near[:, i] + near[:, k]) / 2, (near[:, i] - near[:, k]) / (2 * step)
    pair_sum = values[:, [i]] * out[i] + values[:, [k]] * out[k]
    derivative = slope[:, None] * (out[i] - out[k])
    limit = center[:, None] * (out[i] + out[k]) + derivative
    return float((pair_sum - limit).norm() / derivative.norm().clamp_min(1e-300))
