"""The counts over widths as rows that a person reads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from isthmus._core.errors import BudgetError
from isthmus.combinatorics.balance import critical_to_minima, crossover_width, nearest_crossover_width, require_wide_enough
from isthmus.combinatorics.subspaces import critical_subspaces, minima_by_zero_groups, minima_subspaces

_WIDEST = 2000
_MOST_ROWS = 14


@dataclass(frozen=True)
class CountRow:
    """The counts at one width.

    Attributes:
        width: m.
        nearest: G(r-1, m), critical subspaces from the next narrower network.
        critical: those from all narrower widths, each weighted by its number of critical points.
        minima: T(r, m).
        ratio: critical / minima as decimal logarithm; minus infinity when there are no critical ones.
    """

    width: int
    nearest: int
    critical: int
    minima: int
    ratio: float


@dataclass(frozen=True)
class CountTable:
    """Counts from the minimal width up to a width, and the regimes they show.

    Attributes:
        minimal: r.
        counted: the number of critical points assumed at each narrower width, in words.
        rows: from m = r to the width asked for; all, or some evenly chosen ones.
        crossover: smallest width at which minima outnumber all critical subspaces.
        nearest_crossover: smallest width at which they outnumber those of width r - 1 alone.
        zero_groups: at the width asked for, how many minima have j = 0, 1, .. zero-type groups.
        odd: G(r, m) and T(r, m) at the width asked for under an odd activation, with its sign flips.
    """

    minimal: int
    counted: str
    rows: tuple[CountRow, ...]
    crossover: int
    nearest_crossover: int
    zero_groups: tuple[int, ...]
    odd: tuple[int, int]

    @property
    def explanation(self) -> tuple[str, ...]:
        """The regimes in words."""
        r, last = self.minimal, self.rows[-1]
        lines = [
            f"At m = {r} there are {r}! isolated minima, one for each order of the units; no path of minima joins two of them.",
            f"At m = {r + 1} they lie on (r+2)!/2 = {whole(math.factorial(r + 2) // 2)} subspaces that are all connected.",
        ]
        if r > 1:
            side = "mild" if last.width < self.crossover else "vast"
            lines += [
                f"Critical points counted at the widths {r - 1} down to 1: {self.counted}.",
                f"Mild, m < {self.crossover}: symmetry-induced critical subspaces outnumber those of minima. Vast, m >= "
                f"{self.crossover}: minima outnumber them, in the end super-exponentially. Against the saddles of width {r - 1} "
                f"alone the balance turns at m = {self.nearest_crossover}.",
                f"m = {last.width} is {side}: there are {power(last.ratio)} critical subspaces for one of minima.",
            ]
        return tuple(lines)


def power(exponent: float) -> str:
    """``10^exponent`` with three digits, or as a power when no float holds it."""
    return f"{10**exponent:.3g}" if abs(exponent) < 300 else "0" if exponent == -math.inf else f"10^{exponent:.1f}"


def whole(value: int) -> str:
    """An integer with its digits, or as a power of ten when it has more than fifteen."""
    return f"{value:,}" if value < 10**15 else f"10^{math.log10(value):.2f}"


def count_table(r: int, m: int, *, weights: Sequence[int] | None = None) -> CountTable:
    """Counts of critical and global-minimum subspaces for widths r..m of one hidden layer, permutations only.

    Args:
        r: minimal width.
        m: width.
        weights: a_k, the number of irreducible critical points of width r - k for k = 1..r-1; all 1 by default.

    Returns:
        The table.

    Raises:
        InputError: m is below r, or the weights do not fit.
        BudgetError: the width exceeds 2000, where exact integers take minutes.
    """
    require_wide_enough(r, m)
    if m > _WIDEST:
        raise BudgetError(
            f"Exact counts at width {m} would take minutes and thousands of digits; the limit is {_WIDEST}. "
            "isthmus.combinatorics.asymptotics.log10_minima_subspaces gives their logarithm at any width."
        )
    rows = []
    for width in _chosen(r, m):
        ratio = critical_to_minima(r, width, weights)
        minima = minima_subspaces(r, width)
        critical = int(ratio * minima)
        nearest = critical_subspaces(r - 1, width) if r > 1 else 0
        rows.append(CountRow(width, nearest, critical, minima, log10(ratio)))
    return CountTable(
        minimal=r,
        counted="one each" if weights is None else f"{', '.join(map(str, weights))}",
        rows=tuple(rows),
        crossover=crossover_width(r, weights),
        nearest_crossover=nearest_crossover_width(r),
        zero_groups=minima_by_zero_groups(r, m),
        odd=(critical_subspaces(r, m, symmetry="odd"), minima_subspaces(r, m, symmetry="odd")),
    )


def log10(value: Fraction) -> float:
    """Decimal logarithm of a fraction of any size; minus infinity at zero."""
    return math.log10(value.numerator) - math.log10(value.denominator) if value else -math.inf


def _chosen(r: int, m: int) -> list[int]:
    """All widths r..m, or the first two and some more evenly spread."""
    if m - r < _MOST_ROWS:
        return list(range(r, m + 1))
    step = (m - r) / (_MOST_ROWS - 1)
    return sorted({r + 1, *(r + round(i * step) for i in range(_MOST_ROWS))})
