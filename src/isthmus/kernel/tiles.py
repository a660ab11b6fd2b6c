"""Filling a kernel tile by tile, on the symmetric half when both sides are equal.

All contributions add to a contiguous tile that stays in cache, which is then stored (twice off the diagonal). Tiles on
the diagonal are squares as small as a strip is high, so that little of the other half is computed.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from isthmus.linops.allocation import uninitialized

_TILE_ROWS = 240
_TILE_COLUMNS = 1920

#: adds a share to a contiguous tile ``(high, c, wide, d)`` for the samples ``(rows, columns)``
Contribution = Callable[[Tensor, slice, slice], None]


def fill(kernel: Tensor, contributions: Sequence[Contribution], *, symmetric: bool, fresh: bool = True) -> None:
    """Store the sum of all contributions in ``kernel (n, c, m, d)``.

    Args:
        kernel: written to.
        contributions: what to add up.
        symmetric: both sides are equal, so that only tiles on and above the diagonal are computed.
        fresh: start from zero; else add to what those tiles hold.
    """
    n, c, m, d = kernel.shape
    high, wide = max(1, _TILE_ROWS // c), max(1, _TILE_COLUMNS // d)
    buffer = uninitialized((high * c * wide * d,), kernel)
    for rows, columns in _blocks(n, m, high, wide, symmetric):
        shape = (rows.stop - rows.start, c, columns.stop - columns.start, d)
        tile = buffer[: shape[0] * c * shape[2] * d].view(shape)
        if fresh:
            tile.zero_()
        else:
            tile.copy_(kernel[rows, :, columns, :])
        for add in contributions:
            add(tile, rows, columns)
        kernel[rows, :, columns, :] = tile
        if symmetric and columns.start > rows.start:
            kernel[columns, :, rows, :] = tile.permute(2, 3, 0, 1)


def _blocks(n: int, m: int, high: int, wide: int, symmetric: bool) -> Iterator[tuple[slice, slice]]:
    for i in range(0, n, high):
        rows = slice(i, min(i + high, n))
        if symmetric:
            yield rows, rows
        for columns in _even(rows.stop if symmetric else 0, m, wide):
            yield rows, columns


def _even(start: int, stop: int, longest: int) -> Iterator[slice]:
    """The fewest slices of at most `longest`, of lengths as equal as can be."""
    count = -(-(stop - start) // longest)
    edges = [start + k * (stop - start) // max(count, 1) for k in range(count + 1)]
    return (slice(a, b) for a, b in itertools.pairwise(edges))
