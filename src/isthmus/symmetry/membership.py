"""Which piece of an expansion manifold a network lies on."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, ShapeError
from isthmus.combinatorics.pieces import Piece, piece_of
from isthmus.model.network import Network
from isthmus.symmetry.activations import ActivationClass
from isthmus.symmetry.expansion import ExpansionManifold
from isthmus.symmetry.layers import HiddenLayer, at_state, hidden_layers, row_distances, select_units, state_of


@dataclass(frozen=True)
class Membership:
    """Where a network lies on an expansion manifold.

    Attributes:
        pieces: one per hidden layer.
        factors: for each layer and unit, its value over that of the irreducible unit that it copies: 1, -1 (opposite sign,
            odd activations) or a positive scale; 1 for members of zero-type groups.
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
        rows = layer.resized(width).incoming(state_of(folded))
        labels, factor = _labels(rows, layer.incoming(state_of(manifold.network)), layer, tolerance)
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
    if residual > tolerance or change > tolerance:
        return None
    return Membership(tuple(found), tuple(factors), residual, change)


def fold(network: Network, layer: HiddenLayer, piece: Piece, factor: Tensor) -> Network:
    """One layer brought to its irreducible width: outgoing vectors of copies added with their factors, other groups dropped.

    A copy with opposite sign under an activation with ``sigma(z) + sigma(-z)`` constant leaves a constant, which this
    folding does not carry; `reduce` does.

    Args:
        network: whose layer has as many units as the piece.
        layer: the layer.
        piece: which copies and groups.
        factor: value of each unit over that of the irreducible one, ``(m,)``.
    """
    wide = layer.resized(len(piece.labels))
    members = piece.groups[: piece.r]
    first = [group[0] for group in members]
    out = wide.outgoing(state_of(network)) * factor[:, None]
    narrow = select_units(network, wide, first)
    state = state_of(narrow)
    rows = layer.incoming(state) / factor[first][:, None]
    total = torch.stack([out[list(group)].sum(dim=0) for group in members])
    return at_state(narrow, layer.with_outgoing(layer.with_incoming(state, rows), total))


def _labels(rows: Tensor, known: Tensor, layer: HiddenLayer, tolerance: float) -> tuple[list[object], Tensor]:
    """A mark per unit (the irreducible unit that it copies, or its zero-type group), and its factor."""
    factor = torch.ones(len(rows), dtype=rows.dtype, device=rows.device)
    scaling = layer.activation is ActivationClass.POSITIVE_SCALING
    sizes = (rows.norm(dim=1), known.norm(dim=1)) if scaling else (factor, torch.ones_like(known[:, 0]))
    mine, theirs = rows / sizes[0][:, None], known / sizes[1][:, None]
    near = tolerance * float(theirs.abs().max())
    distance, unit = row_distances(mine, theirs).min(dim=1)
    flipped, opposite = row_distances(mine, -theirs).min(dim=1)
    labels: list[object] = [f"group {i}" for i in range(len(rows))]
    for i in range(len(rows)):
        if distance[i] <= near:
            labels[i] = t = int(unit[i])
            factor[i] = sizes[0][i] / sizes[1][t]
        elif layer.activation.flips and flipped[i] <= near:
            labels[i], factor[i] = int(opposite[i]), -1.0
    loose = [i for i, label in enumerate(labels) if isinstance(label, str)]
    among = row_distances(mine[loose], mine[loose])
    if layer.activation.flips:
        among = torch.minimum(among, row_distances(mine[loose], -mine[loose]))
    for i, k in (among <= near).nonzero().tolist():
        if i < k:
            labels[loose[k]] = labels[loose[i]]
    return labels, factor
