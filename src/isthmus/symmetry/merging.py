"""Joining redundant units of one layer: the exact half of a reduction."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from isthmus.model.network import Network
from isthmus.symmetry.activations import ActivationClass, unit_values
from isthmus.symmetry.layers import HiddenLayer, select_units
from isthmus.symmetry.rows import row_distances

Dropped = Literal["parked", "zero group", "dead", "constant", "opposite"]
_ROWS = 2048


@dataclass(frozen=True)
class Cluster:
    """Units of one layer whose values are multiples of one another, up to a constant.

    Attributes:
        members: unit numbers; the first one stands for all.
        factors: value of each member over that of the first, ``phi_i = f_i phi_first + c_i``.
        constants: the c_i.
        net: ``sum_i f_i a_i``, what the cluster sends to its readers.
        kind: None when a unit remains, else why none does.
    """

    members: tuple[int, ...]
    factors: tuple[float, ...]
    constants: tuple[float, ...]
    net: Tensor
    kind: Dropped | None


def clusters(network: Network, layer: HiddenLayer, inputs: Tensor, tolerance: float) -> list[Cluster]:
    """Group the units of a layer by the values that they send, under the symmetry of their activation.

    Two units belong together when their values on the inputs differ by less than `tolerance` of their norm, after the
    changes that the class allows: a sign (odd), a sign and a constant (odd plus constant), a positive factor (positive
    scaling), any factor (a linear factor). Groups are formed by average linkage. A group whose outgoing vectors cancel to
    the tolerance leaves nothing, nor does a unit that nothing reads, one that is zero on all inputs, or a constant one whose
    reader has a bias to take it.

    Args:
        network: in float64.
        layer: the layer, at its present size.
        inputs: on which values are compared.
        tolerance: relative.

    Returns:
        The clusters, by their first unit.
    """
    values = unit_values(network, layer.group, inputs)
    values = values[:: max(1, len(values) // _ROWS)]
    out, center = layer.outgoing(network.state), layer.function.center
    rows = _Rows((values - center).T, out, out.norm(dim=1) * values.norm(dim=0), center, layer.activation)
    alone = _alone(network, layer, values, rows, tolerance)
    taken = {cluster.members[0] for cluster in alone}
    rest = [unit for unit in range(layer.size) if unit not in taken]
    joined = [rows.cluster(members, tolerance) for members in rows.linked(rest, tolerance)]
    return sorted([*alone, *joined], key=lambda cluster: min(cluster.members))


def merged(network: Network, layer: HiddenLayer, found: Iterable[Cluster]) -> Network:
    """The network with one unit per remaining cluster; constants go to the readers' biases.

    Args:
        network: the network.
        layer: the layer, at its present size.
        found: from `clusters`; at least one remains.
    """
    found = list(found)
    constants = torch.zeros(layer.size, dtype=network.dtype, device=network.device)
    for cluster in found:
        constants[list(cluster.members)] = torch.tensor(cluster.constants, dtype=network.dtype, device=network.device)
    state = layer.with_constants(network.state, constants)
    kept = [cluster for cluster in found if cluster.kind is None]
    narrow = select_units(network.at_state(state), layer, [cluster.members[0] for cluster in kept])
    total = torch.stack([cluster.net for cluster in kept])
    return narrow.at_state(layer.resized(len(kept)).with_outgoing(narrow.state, total))


@dataclass(frozen=True)
class _Rows:
    """The units of a layer as vectors to compare.

    Attributes:
        shape: values on the inputs minus the center of symmetry, ``(units, rows)``.
        out: outgoing vectors.
        send: size of what each unit sends to its readers.
        center: ``sigma(0)`` for a sigmoid-like activation, else 0.
        activation: which changes may be undone.
    """

    shape: Tensor
    out: Tensor
    send: Tensor
    center: float
    activation: ActivationClass

    @property
    def norms(self) -> Tensor:
        """Euclidean norms of the shapes."""
        return self.shape.norm(dim=1)

    def linked(self, units: list[int], tolerance: float) -> list[tuple[int, ...]]:
        """The units in groups of equal shape, by average linkage."""
        if len(units) < 2:
            return [(unit,) for unit in units]
        rows = self.shape[units]
        if self.activation.scales:
            rows = rows / self.norms[units][:, None]
        distance = row_distances(rows, rows)
        if self.activation.flips:
            distance = torch.minimum(distance, row_distances(rows, -rows))
        size = rows.norm(dim=1)
        relative = (distance / torch.maximum(size[:, None], size[None])).cpu().numpy()
        np.fill_diagonal(relative, 0.0)
        marks = fcluster(linkage(squareform((relative + relative.T) / 2, checks=False), "average"), tolerance, "distance")
        return [tuple(u for u, other in zip(units, marks, strict=True) if other == mark) for mark in dict.fromkeys(marks)]

    def cluster(self, members: tuple[int, ...], tolerance: float) -> Cluster:
        """A group with its factors and what it sends in total; the unit that sends most stands for all."""
        first = max(members, key=lambda unit: float(self.send[unit]))
        members = (first, *(unit for unit in members if unit != first))
        factors = [self._factor(unit, first) for unit in members]
        weights = torch.tensor(factors, dtype=self.out.dtype, device=self.out.device)[:, None]
        parts = weights * self.out[list(members)]
        net = parts.sum(dim=0)
        cancels = len(members) > 1 and bool(net.norm() <= tolerance * parts.norm(dim=1).sum())
        constants = tuple(self.center * (1 - factor) for factor in factors)
        return Cluster(members, tuple(factors), constants, net, "zero group" if cancels else None)

    def _factor(self, unit: int, first: int) -> float:
        opposite = self.activation.flips and float(self.shape[unit] @ self.shape[first]) < 0
        scale = float(self.norms[unit] / self.norms[first]) if self.activation.scales else 1.0
        return -scale if opposite else scale


def _alone(network: Network, layer: HiddenLayer, values: Tensor, rows: _Rows, tolerance: float) -> list[Cluster]:
    """Units that leave nothing by themselves: parked, dead, or constant before a bias that can take the constant."""
    biased = all(name is not None for name in layer.reader_biases(network.state))
    spread = (values - values.mean(dim=0)).norm(dim=0)
    found = []
    for unit in range(layer.size):
        dead = bool(values[:, unit].norm() <= 1e-3 * tolerance * rows.norms.max())
        if dead or rows.send[unit] <= tolerance * rows.send.max():
            found.append(Cluster((unit,), (1.0,), (0.0,), rows.out[unit], "dead" if dead else "parked"))
        elif biased and spread[unit] <= tolerance * values[:, unit].norm():
            mean = float(values[:, unit].mean())
            found.append(Cluster((unit,), (0.0,), (mean,), torch.zeros_like(rows.out[unit]), "constant"))
    return found
