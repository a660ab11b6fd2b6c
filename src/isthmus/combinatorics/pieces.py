"""The subspaces one by one: as labels of the units, listed lazily, drawn at random, and tested for a common point."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isthmus._core.errors import BudgetError, InputError
from isthmus.combinatorics.balance import require_wide_enough
from isthmus.combinatorics.partitions import next_row
from isthmus.combinatorics.subspaces import minima_by_zero_groups, minima_subspaces

_MOST_NODES = 3000


@dataclass(frozen=True)
class Piece:
    """One affine subspace of the set of width-m networks that compute the function of r irreducible units.

    Attributes:
        labels: for each of the m units, t < r: a copy of irreducible unit t; r, r+1, ..: a member of that zero-type group,
            groups numbered in order of their first unit.
        r: irreducible units.
    """

    labels: tuple[int, ...]
    r: int

    def __post_init__(self) -> None:
        seen = list(dict.fromkeys(label for label in self.labels if label >= self.r))
        if set(range(self.r)) - set(self.labels) or seen != list(range(self.r, self.r + len(seen))):
            raise InputError(
                f"Labels {self.labels} name no piece for r = {self.r}: every irreducible unit 0..{self.r - 1} must occur, and "
                f"zero-type groups are numbered {self.r}, {self.r + 1}, .. in order of appearance."
            )

    @property
    def zero_groups(self) -> int:
        """How many zero-type groups it has, j."""
        return max((*self.labels, self.r - 1)) - self.r + 1

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The units of each label: copies of 0..r-1, then the zero-type groups."""
        return tuple(
            tuple(i for i, label in enumerate(self.labels) if label == group) for group in range(self.r + self.zero_groups)
        )

    @property
    def critical(self) -> bool:
        """Whether its points stay critical at positive loss: only copies, no zero-type group."""
        return self.zero_groups == 0

    def dimension(self, inputs: int, outputs: int) -> int:
        """``(m - r - j) outputs + j inputs`` for incoming and outgoing vectors of these lengths."""
        j = self.zero_groups
        return (len(self.labels) - self.r - j) * outputs + j * inputs


def piece_of(groups: Sequence[object], r: int) -> Piece:
    """The piece in which units carry these marks: 0..r-1 for copies, anything else for a zero-type group."""
    names: dict[object, int] = {}
    for mark in groups:
        if not (isinstance(mark, int) and 0 <= mark < r) and mark not in names:
            names[mark] = r + len(names)
    return Piece(tuple(names.get(mark, mark) for mark in groups), r)  # pyright: ignore[reportArgumentType]


def pieces(r: int, m: int) -> Iterator[Piece]:
    """All T(r, m) pieces, lazily, each once, in lexicographic order of their labels.

    Raises:
        InputError: m is below r.
    """
    require_wide_enough(r, m)
    for labels in _extend((), r, m):
        yield Piece(labels, r)


def random_piece(r: int, m: int, generator: random.Random) -> Piece:
    """A piece drawn uniformly from the T(r, m).

    The number of zero-type groups is drawn by the exact counts, then a partition of the units into r + j blocks by the
    Stirling recurrence, then which blocks are copies of which unit.

    Args:
        r: minimal width.
        m: width.
        generator: the source of randomness.
    """
    require_wide_enough(r, m)
    counts = minima_by_zero_groups(r, m)
    j, rest = 0, generator.randrange(sum(counts))
    while rest >= counts[j]:
        rest -= counts[j]
        j += 1
    blocks = _random_partition(m, r + j, generator)
    marks = list(range(r + j))
    generator.shuffle(marks)
    return piece_of([marks[block] for block in blocks], r)


def pieces_meet(first: Piece, second: Piece) -> bool:
    """Whether two pieces have a common point, for generic irreducible units.

    Units in one group of either piece share their incoming vector; so do all units of a connected component of the two
    partitions together. A component with copies of two irreducible units is contradictory; with copies of one unit, the
    outgoing sums agree only if both pieces keep all their copies of it there.
    """
    m, r = len(first.labels), first.r
    parent = list(range(m))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for piece in (first, second):
        for group in piece.groups:
            for unit in group[1:]:
                parent[root(unit)] = root(group[0])
    held: tuple[dict[int, set[int]], ...] = ({}, {})
    for side, piece in enumerate((first, second)):
        for unit, label in enumerate(piece.labels):
            if label < r:
                held[side].setdefault(root(unit), set()).add(label)
    return held[0] == held[1] and all(len(labels) == 1 for labels in held[0].values())


def connectivity_graph(r: int, m: int) -> tuple[list[Piece], list[tuple[int, int]]]:
    """The pieces, and the pairs of pieces that meet.

    Args:
        r: minimal width.
        m: width.

    Returns:
        Nodes in the order of `pieces`, and edges ``(i, k)`` with i < k.

    Raises:
        BudgetError: more than 3000 nodes; every pair is tested.
    """
    count = minima_subspaces(r, m)
    if count > _MOST_NODES:
        raise BudgetError(
            f"The graph of all T({r}, {m}) = {count} pieces would test {count * (count - 1) // 2} pairs; the limit is "
            f"{_MOST_NODES} pieces. Take a smaller width, or walk with pieces_meet from the piece of interest."
        )
    nodes = list(pieces(r, m))
    edges = [(i, k) for i, k in itertools.combinations(range(count), 2) if pieces_meet(nodes[i], nodes[k])]
    return nodes, edges


def _extend(labels: tuple[int, ...], r: int, m: int) -> Iterator[tuple[int, ...]]:
    """Complete a prefix in all ways in which every irreducible unit still fits."""
    left, missing = m - len(labels), r - len({label for label in labels if label < r})
    if missing > left:
        return
    if left == 0:
        yield labels
        return
    for label in range(max((*labels, r - 1)) + 2):
        yield from _extend((*labels, label), r, m)


def _random_partition(m: int, blocks: int, generator: random.Random) -> list[int]:
    """A uniform partition of m items into exactly `blocks` blocks, as block numbers."""
    rows: list[tuple[int, ...]] = [(1,)]
    for _ in range(m):
        rows.append(next_row(rows[-1]))
    plan, left = [], blocks
    for i in range(m, 0, -1):
        alone = generator.randrange(rows[i][left]) < rows[i - 1][left - 1]
        plan.append(alone)
        left -= alone
    numbers, opened = [], 0
    for alone in reversed(plan):
        numbers.append(opened if alone else generator.randrange(opened))
        opened += alone
    return numbers
