"""What each part of a network adds to a kernel, in the cheaper of two ways.

*Gram over positions*: ``K[n,c,m,d] += sum_{u,v} (a_nu . a_mv + 1) (delta_ncu . delta_mdv)`` for products (the 1 is the
bias) and ``[t_nu = t_mv] (delta_ncu . delta_mdv)`` for lookups; one small product of deltas for each pair of positions,
multiplied by the inputs' Gram while it is added (`isthmus.kernel.grams`). *Per-sample gradients*: the gradients are
formed, all uses of a parameter summed, and contracted; this serves every form, in pieces that fit a memory budget.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from isthmus.kernel.grams import gram_contribution
from isthmus.kernel.tiles import Contribution
from isthmus.model.capture import Part
from isthmus.model.uses import Convolution, Lookup, Product, Shift, Use, summed_rows

_HADAMARD = 16.0
_LONG = 512


@dataclass(frozen=True)
class Sizes:
    """Counts behind the cost model; the symmetric half only when both sides are equal.

    Attributes:
        n: samples on the left; `m` on the right; `c` outputs.
        sides: 1 when both sides are equal, else 2.
        trace: whether outputs are summed over.
        itemsize: bytes of a number.
    """

    n: int
    m: int
    c: int
    sides: int
    trace: bool
    itemsize: int

    @property
    def samples(self) -> float:
        """Pairs of samples."""
        return self.n * self.m * (0.5 if self.sides == 1 else 1.0)

    @property
    def contractions(self) -> float:
        """Scalar products of gradients that a contraction takes: pairs of samples times pairs of outputs (or outputs)."""
        return self.samples * self.c * (1 if self.trace else self.c)

    @property
    def entries(self) -> int:
        """Numbers in the kernel."""
        return self.n * self.m * (1 if self.trace else self.c**2)

    @property
    def rows(self) -> int:
        """Rows of all Jacobians: samples of both sides times outputs."""
        return (self.n + (self.m if self.sides == 2 else 0)) * self.c


@dataclass(frozen=True)
class Share:
    """A part with the way chosen for it.

    Attributes:
        part: index of the part.
        bias: index of the bias served along with it, or None.
        gram: Gram over positions; else per-sample gradients.
        formed: these are formed while the deltas come, as they are no more numbers than what they are made of.
        flops: floating-point operations of it.
        numbers: held for one sample while the kernel is filled.
    """

    part: int
    bias: int | None
    gram: bool
    formed: bool
    flops: float
    numbers: int


def choose(parts: Sequence[Part], sizes: Sizes) -> list[Share]:
    """The cheaper way for every part, by operations; a bias joins its weight's Gram matrix where that is used.

    Args:
        parts: captured on any number of samples; only their shapes are read.
        sizes: of the kernel.
    """
    biases = {part.points: k for k, part in enumerate(parts) if all(isinstance(use, Shift) for use in part.uses)}
    shares: dict[int, Share] = {}
    joined: set[int] = set()
    for k, part in enumerate(parts):
        rows = _rows_flops(part, sizes)
        gram = _gram_flops(part, sizes) if _pairable(part) else float("inf")
        factors = sum(use.numbers(sizes.c) for use in part.uses)
        if gram < rows:
            bias = biases.get(part.points) if _products(part) else None
            joined |= {bias} if bias is not None else set()
            shares[k] = Share(k, bias, True, False, gram, factors)
        else:
            gradients = sizes.c * part.uses[0].size
            shares[k] = Share(k, None, False, gradients <= factors, rows, min(gradients, factors))
    return [share for k, share in shares.items() if k not in joined]


def passes(
    shares: Sequence[Share], left: Sequence[Part], right: Sequence[Part], sizes: Sizes, budget: float
) -> Iterator[list[Contribution]]:
    """Contributions in groups whose per-sample gradients stay within `budget` bytes; each group fills the kernel once."""
    group: list[_Piece] = []
    limit = max(budget / (sizes.rows * sizes.itemsize), 1)
    for share in (share for share in shares if not share.gram):
        for piece in _pieces(left[share.part].uses, right[share.part].uses, sizes, budget):
            if group and sum(one.copied for one in group) + piece.copied > limit:
                yield _rows_contributions(group, sizes)
                group = []
            group.append(piece)
    grams = [
        gram_contribution(left[share.part], right[share.part], bias=share.bias is not None, trace=sizes.trace)
        for share in shares
        if share.gram
    ]
    yield _rows_contributions(group, sizes) + grams


def filling(shares: Sequence[Share], parts: Sequence[Part], sizes: Sizes, budget: float) -> float:
    """Bytes beside what is kept and the kernel: per-sample gradients within `budget`, patches of a part, or of those in a Gram."""
    samples = sizes.rows / sizes.c
    rows = [parts[share.part] for share in shares if not share.gram and not share.formed]
    gradients = min(budget / sizes.itemsize, sum(sizes.rows * part.uses[0].size for part in rows))
    largest = max((_patches(part) for part in rows), default=0)
    together = sum(_patches(parts[share.part]) for share in shares if share.gram)
    return sizes.itemsize * max(gradients + samples * largest, samples * together)


def row_contribution(rows: Tensor, columns: Tensor, *, trace: bool) -> Contribution:
    """``J J'^T`` for Jacobian rows ``(n, c, p)`` and ``(m, d, p)``; summed over equal outputs with `trace`."""

    def add(tile: Tensor, i: slice, j: slice) -> None:
        high, c, wide, d = tile.shape
        a, b = (rows[i].flatten(1), columns[j].flatten(1)) if trace else (rows[i].flatten(0, 1), columns[j].flatten(0, 1))
        tile.view(high * c, wide * d).addmm_(a, b.T)

    return add


def _products(part: Part) -> bool:
    """Whether all uses are outer products in one orientation."""
    plain = [use for use in part.uses if isinstance(use, Product) or (isinstance(use, Convolution) and use.groups == 1)]
    return len(plain) == len(part.uses) and len({isinstance(use, Product) and use.transposed for use in plain}) == 1


def _patches(part: Part) -> int:
    """Numbers in the patches of one sample."""
    return sum(use.positions * use.fan_in * use.groups for use in part.uses if isinstance(use, Convolution))


def _pairable(part: Part) -> bool:
    return _products(part) or all(isinstance(use, Lookup) for use in part.uses)


def _fans(part: Part) -> tuple[int, int, int]:
    """Positions over all uses, numbers in an input and in a delta."""
    first = part.uses[0]
    positions = sum(use.positions for use in part.uses)
    if isinstance(first, Lookup):
        return positions, 1, first.deltas.shape[-1]
    return positions, first.size // first.deltas.shape[-1], first.deltas.shape[-1]


def _gram_flops(part: Part, sizes: Sizes) -> float:
    positions, fan_in, fan_out = _fans(part)
    if positions == 1 and fan_out == sizes.c and bool((part.uses[0].deltas == part.uses[0].deltas[:1]).all()):
        return 2.0 * fan_in * sizes.samples
    hadamard = _HADAMARD * (sizes.samples if sizes.trace else sizes.contractions)
    return positions**2 * (2.0 * fan_out * sizes.contractions + 2.0 * fan_in * sizes.samples + (hadamard if positions > 1 else 0))


def _rows_flops(part: Part, sizes: Sizes) -> float:
    forming = sum(use.positions for use in part.uses) * 2.0 * part.uses[0].size * sizes.rows
    return forming + 2.0 * part.uses[0].size * sizes.contractions


@dataclass(frozen=True)
class _Piece:
    """Per-sample gradients of some units of a part, on both sides.

    Attributes:
        left: uses on the left, `right` on the right.
        cut: the units.
        width: numbers of one gradient.
        formed: they are there already.
    """

    left: Sequence[Use]
    right: Sequence[Use]
    cut: slice
    width: int
    formed: bool = False

    @property
    def copied(self) -> int:
        """Numbers that are written anew for one row."""
        return 0 if self.formed and self.width >= _LONG else self.width


def _pieces(left: Sequence[Use], right: Sequence[Use], sizes: Sizes, budget: float) -> Iterator[_Piece]:
    """Cuts of the part's first axis whose gradients fit the budget; what several cuts share is computed once."""
    units, size = {use.units for use in left}, left[0].size
    formed = len(left) == 1 and isinstance(left[0], Shift) and left[0].positions == 1
    if formed or len(units) > 1:
        yield _Piece(left, right, slice(0, max(units)), size, formed)
        return
    count = units.pop()
    step = max(1, min(count, int(budget / (sizes.rows * sizes.itemsize * (size // count)))))
    if step < count:
        left, right = ([use.prepared() for use in uses] for uses in (left, right))
    for k in range(0, count, step):
        stop = min(k + step, count)
        yield _Piece(left, right, slice(k, stop), (stop - k) * (size // count))


def _rows_contributions(group: Sequence[_Piece], sizes: Sizes) -> list[Contribution]:
    """Long pieces one by one, short ones side by side, so that products are neither thin nor copied for nothing."""
    short = [piece for piece in group if piece.width < _LONG]
    made = []
    for pieces in [[piece] for piece in group if piece.width >= _LONG] + ([short] if short else []):
        rows = _gathered([(piece.left, piece.cut, piece.width) for piece in pieces])
        columns = rows if sizes.sides == 1 else _gathered([(piece.right, piece.cut, piece.width) for piece in pieces])
        made.append(row_contribution(rows, columns, trace=sizes.trace))
    return made


def _gathered(pieces: Sequence[tuple[Sequence[Use], slice, int]]) -> Tensor:
    """Per-sample gradients of several pieces side by side, ``(n, c, numbers)``; uses of a part are summed."""
    if len(pieces) == 1:
        return summed_rows(*pieces[0][:2])
    deltas = pieces[0][0][0].deltas
    made = deltas.new_empty(*deltas.shape[:2], sum(width for _, _, width in pieces))
    start = 0
    for uses, cut, width in pieces:
        made[:, :, start : start + width] = summed_rows(uses, cut)
        start += width
    return made
