"""Units of opposite sign under an even plus linear activation: how much of them is redundant.

Where ``sigma(z) - sigma(-z) = s z`` (GELU, SiLU, softplus, ReLU) two units ``w`` and ``-w`` carry one nonlinear function and one
linear one. Several such pairs can share their linear parts.
"""

import torch
from torch import Tensor

from isthmus.model.network import Network
from isthmus.symmetry.activations import marked_columns
from isthmus.symmetry.layers import HiddenLayer
from isthmus.symmetry.merging import Cluster
from isthmus.symmetry.rows import row_distances

_ROUNDING = 1e-12


def opposite_pairs(network: Network, layer: HiddenLayer, tolerance: float) -> list[tuple[int, int]]:
    """Pairs of units with incoming vectors ``w`` and ``-w``, or ``-c w`` where scales are free; each unit in one pair at most.

    Args:
        network: whose layer.
        layer: at its present size.
        tolerance: distance over the norm.
    """
    if not layer.function.slope:
        return []
    rows, _ = layer.comparable(network.state)
    near = row_distances(rows, layer.opposite(network.state, rows)) <= tolerance * rows.norm(dim=1)[:, None]
    partner: dict[int, int] = {}
    for i, k in near.nonzero().tolist():
        if i < k and i not in partner and k not in partner:
            partner[i], partner[k] = k, i
    return [(i, k) for i, k in partner.items() if i < k]


def relieved(network: Network, layer: HiddenLayer, tolerance: float) -> tuple[Network, list[Cluster]]:
    """The same function with as few of the opposite units as the linear parts need; the others send nothing.

    Outgoing vectors of a pair can change by ``u`` and ``-u / c``, which adds ``s u (w.x + b)``; over all pairs the linear parts
    must cancel, ``sum_p u_p w_p^T = 0``, and the constants go to the readers' biases. The second unit of a pair is relieved
    by ``u_p = c a_p``. Pairs that keep both units take up what is left: one after another, the one that would leave most,
    until the incoming vectors of these span it.

    Args:
        network: in float64.
        layer: at its present size.
        tolerance: relative, for finding pairs and for what may be left.

    Returns:
        The network, and the layer's units as clusters, relieved ones marked ``opposite``; the same network where there are none.
    """
    pairs, state, out = opposite_pairs(network, layer, tolerance), network.state, layer.outgoing(network.state)
    units = [Cluster((unit,), (1.0,), (0.0,), out[unit], None) for unit in range(layer.size)]
    if not pairs or layer.group.state:
        return network, units
    first, second = torch.tensor(pairs, device=out.device).T
    _, scales = layer.comparable(state)
    ratio = (scales[second] / scales[first])[:, None]
    rows = layer.incoming(state)[first]
    biases = marked_columns(state, layer.group, [(s, None) for s in layer.group.incoming if s.tensor.endswith("bias")])
    absorbed = all(name is not None for name in layer.reader_biases(state))
    change, kept = _shared(rows[:, ~biases] if absorbed else rows, ratio * out[second], tolerance)
    free = [pair for pair in range(len(pairs)) if pair not in kept]
    if not free:
        return network, units
    added, constants = torch.zeros_like(out), torch.zeros_like(out[:, 0])
    added[first], constants[first] = change, -layer.function.slope * (rows * biases).sum(dim=1)
    state = layer.with_constants(layer.with_outgoing(state, added), constants)
    new = out + added
    new[second] -= change / ratio
    new[second[free]] = 0
    silent = new[first].norm(dim=1) <= tolerance * (out[first].norm(dim=1) + (ratio * out[second]).norm(dim=1))
    gone = {*second[free].tolist(), *(unit for pair, unit in enumerate(first.tolist()) if pair in free and silent[pair])}
    found = [Cluster((unit,), (1.0,), (0.0,), new[unit], "opposite" if unit in gone else None) for unit in range(layer.size)]
    return network.at_state(layer.with_outgoing(state, new)), found


def _shared(rows: Tensor, parts: Tensor, tolerance: float) -> tuple[Tensor, list[int]]:
    """Changes u with ``sum_p u_p w_p^T = 0`` that equal `parts` for as many pairs as possible, and the pairs where they do not."""
    kept: list[int] = []
    scale = float((parts.norm(dim=1) * rows.norm(dim=1)).sum())
    while True:
        change, basis = parts.clone(), rows[kept]
        change[kept] = 0
        if kept:
            change[kept] = -torch.linalg.lstsq(basis.T, rows.T @ change, driver="gelsd").solution
        if float((rows.T @ change).norm()) <= max(tolerance, _ROUNDING) * scale or len(kept) == len(rows):
            return change, kept
        beyond = rows - (torch.linalg.lstsq(basis.T, rows.T, driver="gelsd").solution.T @ basis if kept else 0)
        left = parts.norm(dim=1) * beyond.norm(dim=1)
        left[kept] = -1
        kept.append(int(left.argmax()))
