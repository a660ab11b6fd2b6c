"""Kernels from layer factors and Jacobian rows, tile by tile.

One position per sample: ``K[n,c,m,d] += (a_n . a_m + 1) (delta_nc . delta_md)``; the product of the deltas is formed
in tiles that stay in cache, and multiplied by the inputs' Gram matrix while it is added (one pass). All layers add to
a tile before it is stored. With equal sides only the tiles on and above the diagonal are computed, and each is stored
twice. Several positions per sample: the per-sample gradients are formed and contracted.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from isthmus.model.capture import LinearFactor

_TILE_ROWS = 320

#: adds one layer's share to a contiguous tile ``(high, c, wide, d)`` for the samples ``(rows, columns)``
Contribution = Callable[[Tensor, slice, slice], None]


def fill(kernel: Float[Tensor, "n c m d"], contributions: Sequence[Contribution], *, symmetric: bool) -> None:
    """Store the sum of all contributions in ``kernel (n, c, m, d)``."""
    n, c, m, d = kernel.shape
    high, wide = max(1, _TILE_ROWS // c), max(1, _TILE_ROWS // d)
    buffer = torch.empty(high * c * wide * d, dtype=kernel.dtype, device=kernel.device)
    for i in range(0, n, high):
        rows = slice(i, min(i + high, n))
        for j in range(i if symmetric else 0, m, wide):
            columns = slice(j, min(j + wide, m))
            shape = (rows.stop - i, c, columns.stop - j, d)
            tile = buffer[: shape[0] * c * shape[2] * d].view(shape).zero_()
            for add in contributions:
                add(tile, rows, columns)
            kernel[rows, :, columns, :] = tile
            if symmetric and j > i:
                kernel[columns, :, rows, :] = tile.permute(2, 3, 0, 1)


def linear_contribution(left: LinearFactor, right: LinearFactor) -> Contribution:
    """What a Linear layer adds to a tile."""
    if left.inputs.shape[1] != 1:
        return gram_contribution(gradient_rows(left), gradient_rows(right))
    gram = input_gram(left, right)
    rows, columns = left.deltas[:, :, 0].contiguous(), right.deltas[:, :, 0].contiguous()
    if _is_identity(rows) and _is_identity(columns):
        return _diagonal_contribution(gram)

    def add(tile: Tensor, i: slice, j: slice) -> None:
        product = rows[i].flatten(0, 1) @ columns[j].flatten(0, 1).T
        tile.addcmul_(product.view(tile.shape), gram[i, None, j, None])

    return add


def gram_contribution(rows: Float[Tensor, "n c p"], columns: Float[Tensor, "m d p"]) -> Contribution:
    """``J J'^T`` for Jacobian rows ``(n, c, p)`` and ``(m, d, p)``."""

    def add(tile: Tensor, i: slice, j: slice) -> None:
        high, c, wide, d = tile.shape
        tile.view(high * c, wide * d).addmm_(rows[i].flatten(0, 1), columns[j].flatten(0, 1).T)

    return add


def add_trace(kernel: Float[Tensor, "n m"], left: LinearFactor, right: LinearFactor) -> None:
    """Add a layer's block to the trace kernel ``(n, m)``: classes are stacked, no ``(nc)^2`` array appears."""
    if left.inputs.shape[1] == 1:
        deltas = left.deltas.flatten(1) @ right.deltas.flatten(1).T
        kernel.addcmul_(deltas, input_gram(left, right))
    else:
        kernel += gradient_rows(left).flatten(1) @ gradient_rows(right).flatten(1).T


def input_gram(left: LinearFactor, right: LinearFactor) -> Float[Tensor, "n m"]:
    """``a_n . a_m`` (weight) ``+ 1`` (bias), ``(n, m)``, for one position per sample."""
    a, b = left.inputs[:, 0], right.inputs[:, 0]
    gram = a @ b.T if left.weight else torch.zeros(len(a), len(b), dtype=a.dtype, device=a.device)
    return gram + 1 if left.bias else gram


def gradient_rows(factor: LinearFactor) -> Float[Tensor, "n c p"]:
    """Per-sample gradients of weight and bias, ``(n, c, out * in [+ out])``."""
    parts = []
    if factor.weight:
        parts.append(torch.einsum("ncuo,nui->ncoi", factor.deltas, factor.inputs).flatten(2))
    if factor.bias:
        parts.append(factor.deltas.sum(2))
    return torch.cat(parts, dim=2)


def _diagonal_contribution(gram: Tensor) -> Contribution:
    def add(tile: Tensor, i: slice, j: slice) -> None:
        tile.diagonal(dim1=1, dim2=3).add_(gram[i, j, None])

    return add


def _is_identity(deltas: Tensor) -> bool:
    """Whether ``delta[n, c] = e_c``: the layer is the network's last, and its outputs are the network's."""
    c, out = deltas.shape[1:]
    return c == out and bool((deltas == torch.eye(c, dtype=deltas.dtype, device=deltas.device)).all())
