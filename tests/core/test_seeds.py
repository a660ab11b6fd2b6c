"""Named seeds: the documented hash, independent children, no global generator."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isthmus._core.seeds import Seed, as_seed

NAMES = st.lists(st.one_of(st.text(max_size=6), st.integers(0, 99)), max_size=4)


def test_the_integer_is_the_documented_hash() -> None:
    digest = hashlib.sha256(b"0/train/order/3").digest()
    assert Seed(0).child("train").child("order", 3).integer == int.from_bytes(digest[:8], "big") // 2


@given(st.integers(0, 5), NAMES, NAMES)
def test_two_paths_share_a_stream_only_when_they_are_equal(root: int, one: list, other: list) -> None:
    same = [str(name) for name in one] == [str(name) for name in other]
    assert (Seed(root).child(*one).integer == Seed(root).child(*other).integer) == same


def test_a_slash_in_a_name_is_not_a_path() -> None:
    assert Seed(0).child("a/b").integer != Seed(0).child("a", "b").integer


def test_a_seed_is_a_value_and_children_do_not_change_it() -> None:
    seed = Seed(3)
    seed.child("a")
    assert seed == Seed(3)
    assert as_seed(3) == seed
    assert as_seed(seed) is seed
    assert 0 <= seed.integer < 2**63


def test_draws_repeat_and_touch_no_global_generator() -> None:
    before = np.random.get_state()[1].copy()
    first, second = Seed(1).numpy().standard_normal(4), Seed(1).numpy().standard_normal(4)
    assert (first == second).all()
    assert (np.random.get_state()[1] == before).all()


def test_streams_of_siblings_are_uncorrelated() -> None:
    draws = np.stack([Seed(0).child(i).numpy().standard_normal(2000) for i in range(20)])
    correlations = np.corrcoef(draws)[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)
