"""Brute-force enumeration of the subspaces; imports nothing of isthmus."""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np


def set_partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """All partitions of a list into blocks."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for size in range(len(rest) + 1):
        for others in itertools.combinations(rest, size):
            left = [x for x in rest if x not in others]
            for tail in set_partitions(left):
                yield [[first, *others], *tail]


def labelings(r: int, m: int) -> Iterator[tuple[tuple[int, ...], list[list[int]]]]:
    """Every way to give m units a label 1..r (each used) or 0, with the zeros partitioned into groups."""
    for labels in itertools.product(range(r + 1), repeat=m):
        if set(range(1, r + 1)) <= set(labels):
            for groups in set_partitions([i for i, label in enumerate(labels) if label == 0]):
                yield labels, groups


def minima(r: int, m: int, d_in: int = 2, d_out: int = 1) -> dict[int, int]:
    """Dimension to number of pieces."""
    found: dict[int, int] = {}
    for _labels, groups in labelings(r, m):
        outgoing = m * d_out - (r + len(groups)) * d_out
        dimension = outgoing + len(groups) * d_in
        found[dimension] = found.get(dimension, 0) + 1
    return found


def minima_odd(r: int, m: int) -> int:
    """The same with signs: each unit has one, and flipping a whole zero-type group changes nothing."""
    total = 0
    for _labels, groups in labelings(r, m):
        seen = set()
        for signs in itertools.product((1, -1), repeat=m):
            canonical = list(signs)
            for group in groups:
                if canonical[group[0]] < 0:
                    for i in group:
                        canonical[i] = -canonical[i]
            seen.add(tuple(canonical))
        total += len(seen)
    return total


def minima_odd_null(r: int, m: int) -> int:
    """And with any subset of the units parked at zero incoming weights."""
    return sum(math.comb(m, u) * minima_odd(r, m - u) for u in range(m - r + 1))


def critical(r: int, m: int) -> int:
    """Labelings without zeros: surjections."""
    return sum(1 for labels in itertools.product(range(r), repeat=m) if len(set(labels)) == r)


def compositions_sum(r: int, m: int) -> int:
    """sum over k_1 + .. + k_r = m, k_i >= 1 of the multinomial coefficient, in fractions."""
    total = Fraction(0)
    for cuts in itertools.combinations(range(1, m), r - 1):
        parts = np.diff([0, *cuts, m])
        total += Fraction(math.factorial(m), math.prod(math.factorial(int(k)) for k in parts))
    return int(total)


def have_common_point(first: list[int], second: list[int], r: int, rng: np.random.Generator) -> bool:
    """Whether two labeled pieces (labels < r are copies) meet, by solving their equations for random irreducible units.

    Unknowns: all incoming vectors (one input is enough) and outgoing numbers. Both pieces are linear in each.
    """
    m = len(first)
    w, a = rng.normal(size=r), rng.normal(size=r)
    rows_w, right_w, rows_a, right_a = [], [], [], []
    for labels in (first, second):
        for label in sorted(set(labels)):
            members = [i for i, other in enumerate(labels) if other == label]
            rows_a.append([1.0 if i in members else 0.0 for i in range(m)])
            right_a.append(a[label] if label < r else 0.0)
            for i in members:
                if label < r:
                    rows_w.append([1.0 if k == i else 0.0 for k in range(m)])
                    right_w.append(w[label])
                elif i != members[0]:
                    rows_w.append([1.0 if k == i else -1.0 if k == members[0] else 0.0 for k in range(m)])
                    right_w.append(0.0)
    return _consistent(rows_w, right_w) and _consistent(rows_a, right_a)


def _consistent(rows: list[list[float]], right: list[float]) -> bool:
    if not rows:
        return True
    matrix, values = np.array(rows), np.array(right)
    solution = np.linalg.lstsq(matrix, values, rcond=None)[0]
    return bool(np.abs(matrix @ solution - values).max() < 1e-9)
