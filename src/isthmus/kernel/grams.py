"""What a part adds to a kernel by Gram matrices over positions: ``(a_nu . a_mv + 1) (delta_ncu . delta_mdv)``.

Where one readout serves all samples, ``delta[n,c,u,h] = V[c,h] g[n,u,h]`` (below the last nonlinearity of most classifiers), the
product of deltas ``sum_h V[c,h] V[d,h] g[n,u,h] g[m,v,h]`` is symmetric in the outputs: ``c (c + 1) / 2`` of its ``c^2``
blocks are computed, and for the trace one block in place of a sum over c.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from isthmus._core.numerics import machine_epsilon
from isthmus.kernel.tiles import Contribution
from isthmus.linops.allocation import uninitialized
from isthmus.model.capture import Part
from isthmus.model.uses import Lookup, Product

_ROUNDINGS = 16
_FEW = 4
_MOST_OUTPUTS = 16


def gram_contribution(left: Part, right: Part, *, bias: bool, trace: bool) -> Contribution:
    """The part's share of a kernel, from all pairs of its positions.

    Args:
        left: of the rows' samples.
        right: of the columns' samples; the same object when both sides are equal.
        bias: whether the part's bias is served along with it.
        trace: whether outputs are summed over.
    """
    one = _Factor.of(left)
    other = one if right is left else _Factor.of(right)
    shift = 1.0 if bias else 0.0
    if one.positions == 1 and other.positions == 1:
        return _single_contribution(one, other, shift, trace)
    product = _product(one, other, trace)

    def add(tile: Tensor, i: slice, j: slice) -> None:
        for u in range(one.positions):
            for v in range(other.positions):
                product.add(tile, (i, u), (j, v), one.gram(other, i, u, j, v).add_(shift))

    return add


def _single_contribution(one: "_Factor", other: "_Factor", shift: float, trace: bool) -> Contribution:
    """One position a sample: the inputs' Gram matrix is small beside a full kernel and is formed once."""
    whole = slice(None)
    known = None if trace else one.gram(other, whole, 0, whole, 0).add_(shift)
    identity = all(_is_identity(factor.deltas[:, :, 0]) for factor in (one, other))
    product = None if identity else _product(one, other, trace)

    def add(tile: Tensor, i: slice, j: slice) -> None:
        gram = one.gram(other, i, 0, j, 0).add_(shift) if known is None else known[i, j]
        if product is not None:
            product.add(tile, (i, 0), (j, 0), gram)
        elif trace:
            tile.add_(gram[:, None, :, None], alpha=one.deltas.shape[1])
        else:
            tile.diagonal(dim1=1, dim2=3).add_(gram[..., None])

    return add


@dataclass(frozen=True)
class _Factor:
    """All positions of all uses of a part: deltas ``(n, c, u, out)``, and inputs ``(n, u, in)`` or tokens ``(n, u)``."""

    deltas: Tensor
    inputs: Tensor
    ignored: int | None

    @classmethod
    def of(cls, part: Part) -> "_Factor":
        uses = [use.prepared() for use in part.uses]
        deltas = _by_position(_joined([use.deltas for use in uses], 2), 2)
        if isinstance(uses[0], Lookup):
            return cls(deltas, _joined([use.tokens for use in uses if isinstance(use, Lookup)], 1), uses[0].ignored)
        return cls(deltas, _by_position(_joined([use.inputs for use in uses if isinstance(use, Product)], 1), 1), None)

    @property
    def positions(self) -> int:
        return self.deltas.shape[2]

    def gram(self, other: "_Factor", i: slice, u: int, j: slice, v: int) -> Tensor:
        """``a_nu . a_mv``, or whether tokens are equal, for the samples (i, j)."""
        a, b = self.inputs[i, u], other.inputs[j, v]
        if self.ignored is None:
            return a @ b.T
        return ((a[:, None] == b[None]) & (a != self.ignored)[:, None]).to(self.deltas.dtype)


Place = tuple[slice, int]


class _Deltas(Protocol):
    """The products of deltas, in one of two ways."""

    def add(self, tile: Tensor, rows: Place, columns: Place, gram: Tensor) -> None:
        """``tile[n, c, m, d] += gram[n, m] (delta_ncu . delta_mdv)`` for (samples, position) on either side."""


def _product(one: _Factor, other: _Factor, trace: bool) -> _Deltas:
    """By a shared readout where there is one and it pays."""
    c, few = one.deltas.shape[1], one.deltas[:_FEW]
    if c > 1 and (trace or c <= _MOST_OUTPUTS) and _gains(few, _readout(few)) is not None:
        readout = _readout(one.deltas)
        left = _gains(one.deltas, readout)
        right = left if other is one else _gains(other.deltas, readout)
        if left is not None and right is not None:
            return _SharedProduct(readout, left, right, trace)
    return _GeneralProduct(one.deltas, other.deltas, trace)


class _Room:
    """Memory that is used again from tile to tile; it grows to the largest."""

    def __init__(self, like: Tensor) -> None:
        self._memory = like.new_empty(0)

    def view(self, *shape: int) -> Tensor:
        size = math.prod(shape)
        if size > len(self._memory):
            self._memory = uninitialized((size,), self._memory)
        return self._memory[:size].view(shape)


class _GeneralProduct:
    """Row by row."""

    def __init__(self, left: Tensor, right: Tensor, trace: bool) -> None:
        self._left, self._right, self._trace = left, right, trace
        self._product, self._spread = _Room(left), _Room(left)

    def add(self, tile: Tensor, rows: Place, columns: Place, gram: Tensor) -> None:
        high, c, wide, d = tile.shape
        product = torch.mm(
            self._rows(self._left, rows), self._rows(self._right, columns).T, out=self._product.view(high * c, wide * d)
        )
        spread = self._spread.view(high, wide, d).copy_(gram[..., None].expand(high, wide, d))
        tile.view(high, c, wide * d).addcmul_(product.view(high, c, wide * d), spread.view(high, 1, wide * d))

    def _rows(self, deltas: Tensor, place: Place) -> Tensor:
        """Deltas of the samples at a position as rows ``(n c, out)``, or ``(n, c out)`` for the trace."""
        chosen = deltas[place[0], :, place[1]]
        return chosen.flatten(1) if self._trace else chosen.flatten(0, 1)


class _SharedProduct:
    """Pair of outputs by pair of outputs, from a shared readout ``(c, h)`` and gains ``(n, u, h)``."""

    def __init__(self, readout: Tensor, left: Tensor, right: Tensor, trace: bool) -> None:
        self._left, self._right = left, right
        c = 1 if trace else len(readout)
        first, second = torch.triu_indices(c, c, device=readout.device)
        self._weights = readout.square().sum(0, keepdim=True) if trace else readout[first] * readout[second]
        table = torch.empty(c, c, dtype=torch.long, device=readout.device)
        table[first, second] = table[second, first] = torch.arange(len(first), device=readout.device)
        self._numbers = table.flatten()
        self._place: Place | None = None
        self._weighted, self._product, self._every = _Room(left), _Room(left), _Room(left)

    def add(self, tile: Tensor, rows: Place, columns: Place, gram: Tensor) -> None:
        high, c, wide, d = tile.shape
        pairs, units = self._weights.shape
        weighted = self._weighted.view(high, pairs, units)
        if rows != self._place:
            torch.mul(self._left[rows][:, None], self._weights, out=weighted)
            self._place = rows
        product = torch.mm(weighted.view(-1, units), self._right[columns].T, out=self._product.view(high * pairs, wide))
        every = self._every.view(high, c * d, wide)
        torch.index_select(product.view(high, pairs, wide), 1, self._numbers, out=every)
        tile.addcmul_(every.view(high, c, d, wide).transpose(2, 3), gram[:, None, :, None])


def _readout(deltas: Tensor) -> Tensor:
    """Unit columns ``V[:, h]``, the outputs' proportions where the deltas of unit h are largest; zero where they all are."""
    squares = deltas[:, 0].square()
    for c in range(1, deltas.shape[1]):
        squares.addcmul_(deltas[:, c], deltas[:, c])
    place = squares.flatten(0, 1).argmax(0)
    chosen = deltas[place // deltas.shape[2], :, place % deltas.shape[2], torch.arange(deltas.shape[3], device=deltas.device)].T
    return chosen / chosen.norm(dim=0).clamp_min(torch.finfo(deltas.dtype).tiny)


def _gains(deltas: Tensor, readout: Tensor) -> Tensor | None:
    """Gains g with ``delta[n,c,u,h] = V[c,h] g[n,u,h]`` to rounding; None when there is none."""
    gains = deltas[:, 0] * readout[0]
    for c in range(1, len(readout)):
        gains.addcmul_(deltas[:, c], readout[c])
    slack = gains.abs() * (_ROUNDINGS * machine_epsilon(deltas.dtype))
    for c in range(len(readout)):
        if not bool((torch.addcmul(deltas[:, c], gains, readout[c], value=-1).abs_() <= slack).all()):
            return None
    return gains


def _joined(tensors: list[Tensor], axis: int) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=axis)


def _by_position(tensor: Tensor, axis: int) -> Tensor:
    """The same; where a row's numbers lie apart (images), stored with positions first, so that products need no copies."""
    return tensor if tensor.stride(-1) == 1 else tensor.movedim(axis, 0).contiguous().movedim(0, axis)


def _is_identity(deltas: Tensor) -> bool:
    """Whether ``delta[n, c] = e_c``: the layer is the network's last, and its outputs are the network's."""
    c, out = deltas.shape[1:]
    return c == out and bool((deltas == torch.eye(c, dtype=deltas.dtype, device=deltas.device)).all())
