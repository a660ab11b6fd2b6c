"""The networks of larger widths that compute the function of an irreducible network: its expansion manifold."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.errors import HypothesisError, InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus.combinatorics.pieces import Piece, pieces, random_piece
from isthmus.combinatorics.subspaces import critical_subspaces, minima_subspaces
from isthmus.linops.random import gaussian
from isthmus.model.network import Network
from isthmus.symmetry.layers import HiddenLayer, hidden_layers, select_units
from isthmus.symmetry.rows import row_distances

_SAME = 1e-9


@dataclass(frozen=True)
class ExpansionManifold:
    """``Theta_{r->m}``: a union of pieces, one choice of `Piece` in every hidden layer.

    Every point computes the function of the irreducible network. Away from zero loss only the pieces without zero-type
    groups consist of critical points, and of those only the points whose copies have outgoing vectors ``beta_i a_t`` with
    scalar ``beta_i`` that sum to one; at zero loss every point is a global minimum. For one hidden layer the pieces are
    affine subspaces; deeper, copies need equal incoming vectors only after summing over the copies of the layer before.

    Attributes:
        network: irreducible, in float64.
        layers: its hidden layers.
        widths: of the wide networks, one per hidden layer.
    """

    network: Network
    layers: tuple[HiddenLayer, ...]
    widths: tuple[int, ...]

    @property
    def minima(self) -> int:
        """Number of pieces by permutations alone, ``prod_l T(r_l, m_l)``."""
        return math.prod(minima_subspaces(layer.size, m) for layer, m in zip(self.layers, self.widths, strict=True))

    @property
    def critical(self) -> int:
        """Number of pieces that stay critical at positive loss, ``prod_l G(r_l, m_l)``."""
        return math.prod(critical_subspaces(layer.size, m) for layer, m in zip(self.layers, self.widths, strict=True))

    def pieces(self) -> Iterator[tuple[Piece, ...]]:
        """All pieces, lazily."""
        return _product([(layer.size, m) for layer, m in zip(self.layers, self.widths, strict=True)])

    def random_pieces(self, seed: Seed | int) -> tuple[Piece, ...]:
        """A piece of every layer, each drawn uniformly."""
        generator = random.Random(as_seed(seed).integer)
        return tuple(random_piece(layer.size, m, generator) for layer, m in zip(self.layers, self.widths, strict=True))

    def dimension(self, chosen: Sequence[Piece]) -> int:
        """Dimension of a piece of a network with one hidden layer; of deeper ones, a lower bound: the sum over layers."""
        state = self.network.state
        lengths = [(layer.incoming(state).shape[1], layer.outgoing(state).shape[1]) for layer in self.layers]
        return sum(piece.dimension(*each) for piece, each in zip(chosen, lengths, strict=True))

    def sample(self, chosen: Sequence[Piece], *, seed: Seed | int = 0, critical: bool = False) -> Network:
        """A random point of a piece.

        Layers are widened from the last to the first, so that what reads a group of copies is split entry by entry.

        Args:
            chosen: a piece for every hidden layer.
            seed: names the draws.
            critical: split outgoing vectors by scalars ``beta`` (of either sign, sum one), which keeps criticality at
                positive loss, instead of arbitrarily.

        Raises:
            InputError: the pieces do not belong to this manifold.
            HypothesisError: a critical point was asked for on a piece with zero-type groups.
        """
        self._require(chosen, critical)
        network, seed = self.network, as_seed(seed)
        for index in reversed(range(len(self.layers))):
            network = widened(network, self.layers[index], chosen[index], seed=seed.child(index), critical=critical)
        return network

    def _require(self, chosen: Sequence[Piece], critical: bool) -> None:
        found = [(piece.r, len(piece.labels)) for piece in chosen]
        needed = [(layer.size, m) for layer, m in zip(self.layers, self.widths, strict=True)]
        if found != needed:
            raise InputError(f"Pieces for (minimal width, width) {needed} are needed, one per hidden layer; found {found}.")
        if critical and not all(piece.critical for piece in chosen):
            raise HypothesisError(
                "A piece with a zero-type group holds no critical point at positive loss: its free incoming vector gives the "
                "outgoing vector a gradient. Choose pieces with copies only, or critical=False at zero loss."
            )


def expansion_manifold(source: nn.Module | Network, widths: Sequence[int], inputs: Tensor) -> ExpansionManifold:
    """The networks of the given widths that compute the function of an irreducible network.

    Args:
        source: irreducible module or network of any depth; taken to float64.
        widths: one per hidden layer with exchangeable units, in order of execution.
        inputs: some inputs that the network accepts.

    Returns:
        The manifold, nothing enumerated yet.

    Raises:
        InputError: a width is below the minimal one, or their number is wrong.
        HypothesisError: the network is reducible: two units have one incoming vector, or a unit is read by nothing.
        UnsupportedLayer: the network cannot be traced.
    """
    network = Network.of(source).eval().to(torch.float64)
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    layers = tuple(hidden_layers(network, inputs))
    sizes = [layer.size for layer in layers]
    if len(widths) != len(layers) or any(m < r for r, m in zip(sizes, widths, strict=False)):
        raise InputError(
            f"The network has hidden layers of widths {sizes}, all needed for its function; widths {list(widths)} cannot hold "
            "them. Give one width per hidden layer, none below the network's own."
        )
    for layer in layers:
        require_irreducible(network, layer)
    return ExpansionManifold(network, layers, tuple(widths))


def require_irreducible(network: Network, layer: HiddenLayer) -> None:
    """Raise unless incoming vectors differ pairwise (up to the signs and scales of the class) and no outgoing vector is zero.

    Raises:
        HypothesisError: naming the units.
    """
    state = network.state
    (rows, _), out = layer.comparable(state), layer.outgoing(state)
    silent = (out.norm(dim=1) <= _SAME * out.norm()).nonzero().flatten().tolist()
    distance = row_distances(rows, rows)
    if layer.activation.flips:
        distance = torch.minimum(distance, row_distances(rows, layer.opposite(state, rows)))
    distance.fill_diagonal_(math.inf)
    close = (distance <= _SAME * rows.norm(dim=1).max()).nonzero().tolist()
    if silent or close:
        what = f"units {close[0]} are copies" if close else f"nothing reads unit {silent[0]}"
        raise HypothesisError(
            f"{layer.group.name} is reducible ({what}), so its width is not minimal and the pieces would be counted wrongly. "
            "Reduce the network first: isthmus.reduce(problem)."
        )


def widened(network: Network, layer: HiddenLayer, piece: Piece, *, seed: Seed, critical: bool = False) -> Network:
    """One layer put on a piece: copies, zero-type groups, and random outgoing vectors that keep the function.

    Free units draw their parameters; running statistics of a norm they take from the layer's first unit.

    Args:
        network: whose layer has ``piece.r`` units.
        layer: the layer.
        piece: which copies and groups.
        seed: names the draws.
        critical: scalar splits of the outgoing vectors.
    """
    r = piece.r
    wide = select_units(network, layer, [label if label < r else 0 for label in piece.labels])
    large = layer.resized(len(piece.labels))
    state, groups = wide.state, piece.groups
    rows, source = large.incoming(state).clone(), layer.outgoing(network.state)
    out = torch.empty(len(piece.labels), source.shape[1], dtype=rows.dtype, device=rows.device)
    scale, drawn = source.square().mean().sqrt(), large.drawn(wide)
    for index, members in enumerate(groups):
        noise = gaussian((len(members), source.shape[1]), seed.child("out", index), rows.dtype, rows.device) * scale
        if index < r and critical:
            beta = noise[:, :1] / scale
            out[list(members)] = (beta - beta.mean() + 1 / len(members)) * source[index]
        else:
            total = source[index] if index < r else torch.zeros_like(source[0])
            out[list(members)] = noise - noise.mean(dim=0) + total / len(members)
        if index >= r:
            fresh = gaussian((rows.shape[1],), seed.child("in", index), rows.dtype, rows.device)
            rows[list(members)] = torch.where(drawn, fresh * rows[:, drawn].square().mean().sqrt(), rows[0])
    return wide.at_state(large.with_outgoing(large.with_incoming(state, rows), out))


def zero_loss_nullity(network: Network, layer: HiddenLayer, piece: Piece) -> int:
    """Zero eigenvalues of the squared-error Hessian at a zero-loss point of a piece, one hidden layer, generic data.

    ``m (d_in + d_out) - sum over groups of (d_out + d_in rank[outgoing vectors of the group])``: the tangent features
    are ``sigma(w.x)`` for every output and ``sigma'(w.x) x`` times the span of the group's outgoing vectors. At least the
    dimension of the piece, and above it wherever copies exist: their incoming vectors are held by quartic terms only.

    Args:
        network: a point of the piece.
        layer: its hidden layer.
        piece: where the network is.
    """
    state, wide = network.state, layer.resized(len(piece.labels))
    inputs, out = wide.incoming(state).shape[1], wide.outgoing(state)
    rank = 0
    for members in piece.groups:
        vectors = out[list(members)].double().cpu().numpy()
        scale = np.abs(out.double().cpu().numpy()).max()
        rank += out.shape[1] + inputs * int(np.linalg.matrix_rank(vectors, tol=_SAME * scale))
    return len(piece.labels) * (inputs + out.shape[1]) - rank


def _product(sizes: list[tuple[int, int]]) -> Iterator[tuple[Piece, ...]]:
    """Like itertools.product, without holding any factor's pieces in memory."""
    if not sizes:
        yield ()
        return
    (r, m), rest = sizes[0], sizes[1:]
    for first in pieces(r, m):
        yield from ((first, *others) for others in _product(rest))
