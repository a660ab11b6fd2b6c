"""Axis terms: what unification leaves free is exactly described by occurrences, and never more than it should be."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.model.axes import Axis, concatenation, fix, fixed, free, free_roots, occurrences, product, split, unify


def order(axis: Axis, permutations: dict[Axis, np.ndarray]) -> np.ndarray:
    """Oracle: the order of the entries of a term, by recursion over its parts."""
    root = axis.root
    if root.form == "free":
        return permutations[root]
    if root.form == "product":
        found = np.zeros(1, dtype=int)
        for part in root.parts:
            found = (found[:, None] * part.size + order(part, permutations)[None, :]).reshape(-1)
        return found
    if root.form == "sum":
        starts = np.cumsum([0, *(part.size for part in root.parts)])
        return np.concatenate([start + order(part, permutations) for start, part in zip(starts, root.parts, strict=False)])
    return np.arange(root.size)


def by_occurrences(axis: Axis, permutations: dict[Axis, np.ndarray]) -> np.ndarray:
    found = np.arange(axis.size)
    for root, offset, outer, inner in occurrences(axis):
        n = root.size
        entries = offset + np.array([[(o * n + i) * inner + k for o in range(outer) for k in range(inner)] for i in range(n)])
        moved = np.arange(axis.size)
        moved[entries.reshape(-1)] = entries[permutations[root]].reshape(-1)
        found = found[moved]
    return found


@st.composite
def terms(draw: st.DrawFn, leaves: list[Axis], depth: int = 3) -> Axis:
    form = draw(st.sampled_from(["leaf", "fixed", "product", "sum"] if depth else ["leaf", "fixed"]))
    if form == "leaf":
        return draw(st.sampled_from(leaves))
    if form == "fixed":
        return fixed(draw(st.integers(1, 3)))
    parts = [draw(terms(leaves, depth - 1)) for _ in range(draw(st.integers(1, 3)))]
    return product(parts) if form == "product" else concatenation(parts)


def no_squares(axis: Axis) -> bool:
    if axis.root.form == "product":
        inside = [set(free_roots(part)) for part in axis.root.parts]
        if any(a & b for a, b in itertools.combinations(inside, 2)):
            return False
    return all(no_squares(part) for part in axis.root.parts)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_occurrences_describe_the_order_of_any_term(data: st.DataObject) -> None:
    leaves = [free(2), free(3), free(4)]
    axis = data.draw(terms(leaves))
    rng = np.random.default_rng(0)
    permutations = {leaf: rng.permutation(leaf.size) for leaf in leaves}
    if axis.size <= 400 and no_squares(axis):
        assert (by_occurrences(axis, permutations) == order(axis, permutations)).all()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_unified_terms_move_alike(data: st.DataObject) -> None:
    """After unification every choice of permutations of what is still free orders both terms in the same way."""
    leaves = [free(2), free(2), free(3), free(4), free(6)]
    a, b = data.draw(terms(leaves)), data.draw(terms(leaves))
    if a.size > 400 or a.size * b.size > 10_000:
        return
    first, second = product([a, b]), product([b, a])
    unify(first, second)
    rng = np.random.default_rng(0)
    permutations = {root: rng.permutation(root.size) for root in free_roots(first)}
    permutations |= {root: rng.permutation(root.size) for root in free_roots(second) if root not in permutations}
    assert (order(first, permutations) == order(second, permutations)).all()


def test_splitting_refines_and_fixes() -> None:
    whole = free(12)
    heads, inner = split(whole, "product", [3, 4])
    assert whole.form == "product" and [heads.size, inner.size] == [3, 4]
    one, two = split(inner, "sum", [1, 3])
    assert [one.form, two.form] == ["fixed", "free"]
    again = split(whole, "product", [6, 2])
    assert all(part.form == "fixed" for part in again) and not list(free_roots(whole))


def test_unifying_two_factorizations_takes_their_common_refinement() -> None:
    a, b = product([free(2), free(6)]), product([free(4), free(3)])
    unify(a, b)
    assert [root.size for root in free_roots(a)] == [2, 2, 3]
    x, y = product([free(2), free(3)]), product([free(3), free(2)])
    unify(x, y)
    assert not list(free_roots(x)) and not list(free_roots(y))


def test_fixing_reaches_all_parts_and_partners() -> None:
    part = free(3)
    whole, other = product([part, fixed(2)]), free(6)
    unify(other, whole)
    fix(other)
    assert part.root.form == "fixed" and whole.root.form == "fixed"
