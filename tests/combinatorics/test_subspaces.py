"""Counts: closed forms, recurrences and brute force agree, and the reference values stand."""

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus._core.errors import InputError
from isthmus.combinatorics.partitions import bell, stirling_row
from isthmus.combinatorics.subspaces import (
    critical_subspaces,
    dimension_histogram,
    minima_by_zero_groups,
    minima_subspaces,
)
from tests.reference import subspaces as brute

G = {1: "1 1 1 1 1 1 1 1", 2: "0 2 6 14 30 62 126 254", 3: "0 0 6 36 150 540 1806 5796", 4: "0 0 0 24 240 1560 8400 40824",
     5: "0 0 0 0 120 1800 16800 126000", 6: "0 0 0 0 0 720 15120 191520"}  # fmt: skip
T = {0: "1 2 5 15 52 203 877 4140", 1: "1 3 10 37 151 674 3263 17007", 2: "0 2 12 62 320 1712 9604 56674",
     3: "0 0 6 60 450 3120 21336 147756", 4: "0 0 0 24 360 3720 33600 287784", 5: "0 0 0 0 120 2520 34440 394800",
     6: "0 0 0 0 0 720 20160 352800"}  # fmt: skip


@pytest.mark.parametrize("r", G)
def test_the_tables_of_critical_counts(r: int) -> None:
    assert [critical_subspaces(r, m) for m in range(1, 9)] == [int(x) for x in G[r].split()]


@pytest.mark.parametrize("r", T)
def test_the_tables_of_minima_counts(r: int) -> None:
    assert [minima_subspaces(r, m) for m in range(1, 9)] == [int(x) for x in T[r].split()]


@pytest.mark.parametrize(("r", "m"), [(r, m) for m in range(1, 7) for r in range(1, min(m, 5) + 1)])
def test_enumeration_agrees(r: int, m: int) -> None:
    assert critical_subspaces(r, m) == brute.critical(r, m) == brute.compositions_sum(r, m)
    assert dimension_histogram(r, m, 2, 1) == dict(sorted(brute.minima(r, m, 2, 1).items()))
    assert dimension_histogram(r, m, 3, 2) == dict(sorted(brute.minima(r, m, 3, 2).items()))


@pytest.mark.parametrize(("r", "m"), [(1, 1), (1, 2), (1, 3), (1, 4), (2, 2), (2, 3), (2, 4), (3, 3), (3, 4), (2, 5)])
def test_odd_enumeration_agrees(r: int, m: int) -> None:
    assert minima_subspaces(r, m, symmetry="odd") == brute.minima_odd(r, m)
    assert critical_subspaces(r, m, symmetry="odd") == 2**m * brute.critical(r, m)
    assert minima_subspaces(r, m, symmetry="odd_null") == brute.minima_odd_null(r, m)
    null = sum(math.comb(m, u) * 2 ** (m - u) * brute.critical(r, m - u) for u in range(m - r + 1))
    assert critical_subspaces(r, m, symmetry="odd_null") == null


@given(st.integers(1, 40), st.integers(1, 60))
@settings(max_examples=20, deadline=None)
def test_recurrences_and_closed_forms(r: int, m: int) -> None:
    g, t = critical_subspaces, minima_subspaces
    assert g(r, m + 1) == r * (g(r, m) + g(r - 1, m))
    assert t(r, m + 1) == r * t(r - 1, m) + (r + 1) * t(r, m) + t(r + 1, m)
    assert t(0, m) == bell(m)
    assert g(r, m) == sum((-1) ** (r - i) * math.comb(r, i) * i**m for i in range(r + 1))
    assert t(r, m) == math.factorial(r) * sum(math.comb(i, r) * stirling_row(m)[i] for i in range(r, m + 1))
    assert t(r, m) == g(r, m) + sum(math.comb(m, u) * g(r, m - u) * bell(u) for u in range(1, m - r + 1))
    assert t(r, m) == sum((-1) ** (r - i) * math.comb(r, i) * sum(math.comb(m, k) * i ** (m - k) * bell(k) for k in range(m + 1))
                          for i in range(r + 1))  # fmt: skip
    assert sum(minima_by_zero_groups(r, m)) == t(r, m)


@pytest.mark.parametrize(("r", "charlier"), [(1, [-1, 1]), (2, [1, -3, 1]), (3, [-1, 8, -6, 1]), (4, [1, -24, 29, -10, 1])])
def test_bell_numbers_with_charlier_coefficients(r: int, charlier: list[int]) -> None:
    for m in range(r, 30):
        assert minima_subspaces(r, m) == sum(c * bell(m + k) for k, c in enumerate(charlier))


def test_reference_values() -> None:
    assert minima_subspaces(4, 20) == 123788415729407544
    assert critical_subspaces(4, 20) == 1085570781624
    assert minima_subspaces(10, 11) == 239500800
    assert all(minima_subspaces(r, r) == math.factorial(r) for r in range(51))
    assert all(minima_subspaces(r, r + 1) == math.factorial(r + 2) // 2 for r in range(51))
    assert [sum(minima_subspaces(r, m) // math.factorial(r) for r in range(m + 1)) for m in range(1, 6)] == [2, 6, 22, 94, 454]
    assert minima_subspaces(2, 100) / bell(102) == pytest.approx(0.900638, abs=1e-6)
    assert minima_subspaces(100, 101) / critical_subspaces(100, 101) == pytest.approx(1.02, abs=1e-12)
    assert minima_subspaces(400, 402) / critical_subspaces(400, 402) == pytest.approx(1.01004, abs=1e-5)
    assert critical_subspaces(399, 401) / minima_subspaces(400, 401) == pytest.approx(99.0883, abs=1e-4)
    assert [minima_subspaces(1, m, symmetry="odd") for m in range(1, 5)] == [2, 8, 38, 208]
    assert [minima_subspaces(3, m, symmetry="odd") for m in (3, 4)] == [48, 768]
    assert dimension_histogram(2, 4, 2, 1) == {2: 14, 3: 36, 4: 12}


@given(st.integers(1, 12), st.integers(0, 12), st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_no_dimension_is_below_h_times_the_shorter_vector(r: int, h: int, inputs: int, outputs: int) -> None:
    histogram = dimension_histogram(r, r + h, inputs, outputs)
    assert min(histogram) >= h * min(inputs, outputs)
    assert sum(histogram.values()) == minima_subspaces(r, r + h)


def test_a_count_of_a_thousand_units_takes_less_than_two_seconds() -> None:
    stirling_row.cache_clear()
    started = time.process_time()
    digits = len(str(minima_subspaces(500, 1000)))
    assert time.process_time() - started < 2
    assert digits == 2662


@pytest.mark.parametrize("bad", [-1, 2.0, True, "3"])
def test_bad_widths_are_named(bad: object) -> None:
    with pytest.raises(InputError, match="whole number"):
        minima_subspaces(2, bad)
    with pytest.raises(InputError, match="unknown"):
        critical_subspaces(2, 3, symmetry="even")
