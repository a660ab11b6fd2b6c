"""Which piece of an expansion manifold a network lies on."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, ShapeError
from isthmus.combinatorics.pieces import Piece, piece_of
from isthmus.model.network import Network
from isthmus.symmetry.expansion import ExpansionManifold
from isthmus.symmetry.layers import HiddenLayer, hidden_layers, select_units
from isthmus.symmetry.rows import row_distances


@dataclass(frozen=True)
class Membership:
    """Where a network lies on an expansion manifold.

    Attributes:
        pieces: one per hidden layer.
        factors: for each layer and unit, its value over that of the irreducible unit that it copies, or of the first unit of
            its zero-type group: 1, -1 (opposite sign, up to a constant) or a scale, as the class allows.
        residual: largest parameter difference between the folded network and the irreducible one, over the largest parameter.
        change: largest output difference to the irreducible network on the inputs, over the largest output.
    """

    pieces: tuple[Piece, ...]
    factors: tuple[tuple[float, ...], ...]
    residual: float
    change: float


def locate(
    manifold: ExpansionManifold, source: nn.Module | Network, inputs: Tensor, *, tolerance: float = 1e-8
) -> Membership | None:
    """The piece that a network lies on, or None when it does not compute the irreducible network's function this way.

    Layer by layer from the inputs: units are compared with the irreducible ones by their incoming vectors, the rest are
    grouped among themselves, and the layer is folded to the irreducible width (copies joined, zero-type groups dropped), so
    that the next layer's incoming vectors can be compared. In the end the folded network must equal the irreducible one
    in parameters and in outputs; no distance decides alone.

    Args:
        manifold: of an irreducible network.
        source: a network of the manifold's widths.
        inputs: on which outputs are compared.
        tolerance: relative, for incoming vectors, folded parameters and outputs.

    Returns:
        The membership, or None.

    Raises:
        ShapeError: the network has other widths.
    """
    wide = Network.of(source).eval().to(torch.float64)
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    folded, found, factors = wide, [], []
    sizes = tuple(layer.size for layer in hidden_layers(wide, inputs))
    if sizes != manifold.widths:
        raise ShapeError(f"The network has hidden widths {sizes}; the manifold's networks have {manifold.widths}.")
    for layer, width in zip(manifold.layers, manifold.widths, strict=True):
        labels, factor = _labels(folded, manifold.network, layer.resized(width), layer, tolerance)
        try:
            piece = piece_of(labels, layer.size)
        except InputError:
            return None
        found.append(piece)
        factors.append(tuple(factor.tolist()))
        folded = fold(folded, layer, piece, factor)
    mine, theirs = folded.flat, manifold.network.flat
    residual = float((mine - theirs).abs().max() / theirs.abs().max())
    before, after = manifold.network(inputs), wide(inputs)
    change = float((after - before).abs().max() / before.abs().max())
    if not (residual <= tolerance and change <= tolerance):
        return None
    return Membership(tuple(found), tuple(factors), residual, change)


def fold(network: Network, layer: HiddenLayer, piece: Piece, factors: Tensor) -> Network:
    """One layer brought to its irreducible width: outgoing vectors of copies added with their factors, other groups dropped.

    What units of opposite sign leave under an activation with ``sigma(z) + sigma(-z)`` constant goes to the readers' biases.

    Args:
        network: whose layer has as many units as the piece.
        layer: the layer.
        piece: which copies and groups.
        factors: value of each unit over that of the first one of its group, or of the irreducible unit, ``(m,)``.
    """
    wide = layer.resized(len(piece.labels))
    members = piece.groups[: piece.r]
    first = [group[0] for group in members]
    out = wide.outgoing(network.state) * factors[:, None]
    whole = network.at_state(wide.with_constants(network.state, layer.constants(factors)))
    narrow = select_units(whole, wide, first)
    state = narrow.state
    rows = layer.multiplied(state, layer.incoming(state), 1 / factors[first])
    total = torch.stack([out[list(group)].sum(dim=0) for group in members])
    return narrow.at_state(layer.with_outgoing(layer.with_incoming(state, rows), total))


def _labels(
    network: Network, irreducible: Network, wide: HiddenLayer, layer: HiddenLayer, tolerance: float
) -> tuple[list[object], Tensor]:
    """A mark per unit (the irreducible unit that it copies, or its zero-type group), and its factor."""
    (mine, sizes), (theirs, known_sizes) = wide.comparable(network.state), layer.comparable(irreducible.state)
    factors, near = torch.ones_like(sizes), tolerance * float(theirs.abs().max())
    labels: list[object] = [None] * wide.size
    turns = [(1.0, mine)] + ([(-1.0, wide.opposite(network.state, mine))] if layer.activation.flips else [])
    for sign, rows in reversed(turns):
        distance, unit = row_distances(rows, theirs).min(dim=1)
        for i in (distance <= near).nonzero()[:, 0].tolist():
            labels[i] = t = int(unit[i])
            factors[i] = sign * sizes[i] / known_sizes[t]
    for i in range(wide.size):
        if labels[i] is not None:
            continue
        labels[i] = f"group {i}"
        for sign, rows in turns:
            for k in (row_distances(rows, mine[[i]])[:, 0] <= near).nonzero()[:, 0].tolist():
                if labels[k] is None:
                    labels[k], factors[k] = labels[i], sign * sizes[k] / sizes[i]
    return labels, factors
