"""Saddles against minima: ratios, products over layers, and the width at which the balance turns."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

from isthmus._core.errors import InputError
from isthmus.combinatorics.partitions import next_row, require_count, stirling_row
from isthmus.combinatorics.subspaces import critical_subspaces, minima_subspaces

_WIDEST = 5000


def critical_to_minima(r: int, m: int, weights: Sequence[int] | None = None) -> Fraction:
    """``sum_{k=1}^{r-1} a_k G(r-k, m) / T(r, m)``: symmetry-induced critical subspaces per global-minimum subspace.

    Only critical points that come from widths below the minimal one are counted; irreducible ones that first appear at
    widths r..m are not.

    Args:
        r: minimal width.
        m: width, at least r.
        weights: a_k, the number of distinct irreducible critical points of width r - k, for k = 1..r-1; all 1 by default.

    Returns:
        The exact fraction.

    Raises:
        InputError: m is below r, or the weights do not fit.
    """
    require_wide_enough(r, m)
    return Fraction(_weighted(r, stirling_row(m), _weights(r, weights)), minima_subspaces(r, m))


def crossover_width(r: int, weights: Sequence[int] | None = None) -> int:
    """The smallest m >= r at which the critical subspaces are fewer than the global-minimum subspaces.

    This project's definition of the border between mild and vast overparameterization, by exact integers.

    Args:
        r: minimal width, at least 1.
        weights: a_k as in `critical_to_minima`.

    Returns:
        The width.

    Raises:
        InputError: r is not positive, the weights do not fit, or there is no such width up to 5000.
    """
    found = _weights(r, weights)
    return _first(r, lambda row: _weighted(r, row, found))


def nearest_crossover_width(r: int) -> int:
    """The smallest m >= r with ``G(r-1, m) < T(r, m)``: the same for the saddles of the next narrower network alone."""
    require_count(r, "The minimal width r")
    return _first(r, lambda row: math.factorial(r - 1) * row[r - 1] if r > 1 else 0)


def layers_minima(minimal: Sequence[int], widths: Sequence[int]) -> int:
    """``prod_l T(r_l, m_l)``: labeled global-minimum pieces of a network with several hidden layers.

    The pieces of a deep network are not literally affine: copies need equal incoming weights only after summing over the
    copies of the layer before, and a unit that nothing reads frees everything that feeds it alone. The product counts
    labeled pieces and is a lower bound on the structure.

    Args:
        minimal: minimal width of every hidden layer.
        widths: their widths.

    Raises:
        InputError: the lists differ in length, or a width is below the minimal one.
    """
    _require_layers(minimal, widths)
    return math.prod(minima_subspaces(r, m) for r, m in zip(minimal, widths, strict=True))


def layers_critical(minimal: Sequence[int], widths: Sequence[int]) -> int:
    """``sum over widths s <= r, s != r of prod_l G(s_l, m_l)``, one irreducible critical point for each choice of widths.

    Args:
        minimal: minimal width of every hidden layer.
        widths: their widths.

    Raises:
        InputError: the lists differ in length, or a width is below the minimal one.
    """
    _require_layers(minimal, widths)
    pairs = list(zip(minimal, widths, strict=True))
    every = math.prod(sum(critical_subspaces(s, m) for s in range(1, r + 1)) for r, m in pairs)
    return every - math.prod(critical_subspaces(r, m) for r, m in pairs)


def layers_critical_to_minima(minimal: Sequence[int], widths: Sequence[int]) -> Fraction:
    """`layers_critical` over `layers_minima`, exact."""
    return Fraction(layers_critical(minimal, widths), layers_minima(minimal, widths))


def require_wide_enough(r: int, m: int) -> None:
    """Raise unless a layer of width m can hold r irreducible units.

    Raises:
        InputError: it cannot.
    """
    require_count(r, "The minimal width r")
    require_count(m, "The width m")
    if r < 1 or m < r:
        raise InputError(
            f"A layer of width {m} cannot compute a function that needs r = {r} irreducible units, so there is nothing to "
            "count. The width must be at least the minimal width, and that at least 1."
        )


def _require_layers(minimal: Sequence[int], widths: Sequence[int]) -> None:
    if len(minimal) != len(widths) or not minimal:
        raise InputError(
            f"One minimal width per hidden layer is needed: found {len(minimal)} minimal widths and {len(widths)} widths."
        )
    for r, m in zip(minimal, widths, strict=True):
        require_wide_enough(r, m)


def _weights(r: int, weights: Sequence[int] | None) -> tuple[int, ...]:
    require_count(r, "The minimal width r")
    found = tuple(weights) if weights is not None else (1,) * max(r - 1, 0)
    if len(found) != max(r - 1, 0) or any(a < 0 for a in found):
        raise InputError(
            f"For r = {r} there are {max(r - 1, 0)} weights a_k >= 0, the numbers of critical points of width r - k for "
            f"k = 1..{r - 1}; found {list(found)}."
        )
    return found


def _weighted(r: int, row: Sequence[int], weights: Sequence[int]) -> int:
    return sum(a * math.factorial(r - k) * row[r - k] for k, a in enumerate(weights, start=1))


def _minima(r: int, row: Sequence[int]) -> int:
    """T(r, m) from the Stirling row of m, stopping nowhere: ``r! sum_i C(i, r) S(m, i)``."""
    return math.factorial(r) * sum(math.comb(i, r) * row[i] for i in range(r, len(row)))


def _first(r: int, critical: Callable[[Sequence[int]], int]) -> int:
    if r < 1:
        raise InputError("The minimal width r must be at least 1.")
    for m, row in _rows(r):
        if critical(row) < _minima(r, row):
            return m
    raise InputError(f"No crossover was found up to width {_WIDEST}; the weights a_k are too large for an answer of use.")


def _rows(start: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    row = stirling_row(start)
    for m in itertools.count(start):
        if m > _WIDEST:
            return
        yield m, row
        row = next_row(row)
