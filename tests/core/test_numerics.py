"""Tolerances against numpy's own machine constants and ranks."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus._core.numerics import machine_epsilon, rank_cutoff, tolerance
from isthmus._core.plan import Plan


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "bfloat16"])
def test_epsilon_is_torch_s_for_every_spelling(name: str) -> None:
    dtype = getattr(torch, name)
    assert machine_epsilon(name) == machine_epsilon(dtype) == torch.finfo(dtype).eps
    if name != "bfloat16":
        assert machine_epsilon(np.dtype(name)) == np.finfo(name).eps


@given(st.integers(1, 10**6), st.integers(1, 100))
def test_tolerance_grows_like_depth_and_the_root_of_the_terms(terms: int, depth: int) -> None:
    unit = tolerance("float64")
    assert tolerance("float64", terms=terms, depth=depth) == pytest.approx(unit * depth * math.sqrt(terms), rel=1e-12)


def test_sums_in_random_order_stay_within_tolerance() -> None:
    numbers = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    sums = [float(np.add.reduce(np.random.default_rng(i).permutation(numbers))) for i in range(20)]
    exact = math.fsum(map(float, numbers))
    scale = math.sqrt(math.fsum(float(x) ** 2 for x in numbers))
    assert max(abs(s - exact) for s in sums) <= tolerance("float32", terms=len(numbers)) * scale


@given(st.integers(1, 8), st.integers(0, 8))
def test_rank_cutoff_gives_numpy_s_rank(size: int, rank: int) -> None:
    factor = np.random.default_rng(size * 10 + rank).standard_normal((size, min(rank, size)))
    matrix = factor @ factor.T
    values = np.linalg.eigvalsh(matrix)
    found = int((np.abs(values) > rank_cutoff(float(np.abs(values).max()), size, "float64")).sum())
    assert found == np.linalg.matrix_rank(matrix, hermitian=True)


def test_a_plan_reads_as_one_line() -> None:
    assert str(Plan("method", 2e9, 3 * 2**20)) == "method: 2 GFLOP, 3 MiB"
