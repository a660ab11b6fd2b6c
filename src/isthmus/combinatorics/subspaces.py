"""How many affine subspaces the units' exchangeability makes, in one hidden layer.

A network of r irreducible units computes the same function at width m > r on a union of affine subspaces: every one of
the r units is copied at least once, and the remaining units form *zero-type groups*, which share one free incoming
vector and whose outgoing vectors sum to zero (a group of one is a parked unit). Critical points of positive loss carry
no zero-type groups. Letters: r irreducible units, m width, j zero-type groups.

The counts depend on the activation through the symmetry of one unit:

* ``"none"``: permutations only.
* ``"odd"``: also ``(w, a) -> (-w, -a)`` (tanh, erf with hidden biases).
* ``"odd_null"``: odd and zero at zero without hidden biases: a unit with ``w = 0`` and any outgoing vector is free too.
"""

import math
from typing import Literal

from isthmus._core.errors import InputError
from isthmus.combinatorics.partitions import require_count, stirling_row

Symmetry = Literal["none", "odd", "odd_null"]
SYMMETRIES: tuple[Symmetry, ...] = ("none", "odd", "odd_null")


def critical_subspaces(r: int, m: int, *, symmetry: Symmetry = "none") -> int:
    """``G(r, m) = r! S(m, r)``: affine subspaces of critical points that one irreducible critical point of width r gives.

    The same as ``sum over k_1 + .. + k_r = m, k_i >= 1 of m! / (k_1! .. k_r!)``; zero for m < r. Each has dimension
    m - r: the outgoing vectors of the k_i copies of a unit are multiples of its own that sum to one.

    Args:
        r: irreducible units.
        m: units of the wide layer.
        symmetry: of the activation.

    Returns:
        The exact integer.

    Raises:
        InputError: a width is negative, or the symmetry is unknown.

    References:
        Simsek et al., arXiv 2105.12221 (the count G); the other symmetries are derived here.
    """
    _require(r, m, symmetry)
    if symmetry == "odd_null":
        return sum(math.comb(m, u) * critical_subspaces(r, m - u, symmetry="odd") for u in range(m - r + 1))
    plain = math.factorial(r) * stirling_row(m)[r] if r <= m else 0
    return plain << m if symmetry == "odd" else plain


def minima_by_zero_groups(r: int, m: int, *, symmetry: Symmetry = "none") -> tuple[int, ...]:
    """The number of global-minimum subspaces with exactly j zero-type groups, for j = 0..m-r.

    ``S(m, r+j) (r+j)! / j!`` without symmetry; an odd activation multiplies by ``2^(m-j)`` (each unit has a sign, and a
    group's global sign is not counted twice); null units of an odd activation choose ``C(m, u)`` places first.

    Args:
        r: irreducible units.
        m: units of the wide layer.
        symmetry: of the activation.

    Returns:
        Exact integers; empty for m < r.

    Raises:
        InputError: a width is negative, or the symmetry is unknown.
    """
    _require(r, m, symmetry)
    if symmetry == "odd_null":
        total = [0] * max(m - r + 1, 0)
        for u in range(m - r + 1):
            for j, number in enumerate(minima_by_zero_groups(r, m - u, symmetry="odd")):
                total[j] += math.comb(m, u) * number
        return tuple(total)
    row, counts, falling = stirling_row(m), [], math.factorial(r)
    for j in range(m - r + 1):
        counts.append(row[r + j] * falling << (m - j if symmetry == "odd" else 0))
        falling = falling * (r + j + 1) // (j + 1)
    return tuple(counts)


def minima_subspaces(r: int, m: int, *, symmetry: Symmetry = "none") -> int:
    """``T(r, m) = sum_j S(m, r+j) (r+j)! / j!``: affine subspaces of the set of networks of width m that compute one function.

    The function is that of r irreducible units, r minimal; at zero loss these are global minima. Zero for m < r, r! for
    m = r, (r+2)!/2 for m = r + 1.

    Args:
        r: minimal width.
        m: units of the wide layer.
        symmetry: of the activation.

    Returns:
        The exact integer.

    Raises:
        InputError: a width is negative, or the symmetry is unknown.

    References:
        Simsek et al., arXiv 2105.12221 (the count T); this closed form and the other symmetries are derived here.
    """
    return sum(minima_by_zero_groups(r, m, symmetry=symmetry))


def dimension_histogram(r: int, m: int, inputs: int, outputs: int) -> dict[int, int]:
    """How many of the T(r, m) subspaces have each dimension ``(m - r - j) outputs + j inputs``.

    No dimension is below ``(m - r) min(inputs, outputs)``.

    Args:
        r: minimal width.
        m: units of the wide layer.
        inputs: length of a unit's incoming vector, a hidden bias included.
        outputs: length of its outgoing vector.

    Returns:
        Dimension to number, ascending.

    Raises:
        InputError: a width or a length is negative.
    """
    require_count(inputs, "The number of inputs")
    require_count(outputs, "The number of outputs")
    histogram: dict[int, int] = {}
    for j, number in enumerate(minima_by_zero_groups(r, m)):
        dimension = (m - r - j) * outputs + j * inputs
        histogram[dimension] = histogram.get(dimension, 0) + number
    return dict(sorted(histogram.items()))


def _require(r: int, m: int, symmetry: str) -> None:
    require_count(r, "The irreducible width r")
    require_count(m, "The width m")
    if symmetry not in SYMMETRIES:
        raise InputError(f"symmetry={symmetry!r} is unknown; there are {', '.join(map(repr, SYMMETRIES))}.")
