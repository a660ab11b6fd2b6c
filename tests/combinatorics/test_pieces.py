"""Pieces one by one: listed, drawn, and met."""

import collections
import itertools
import random

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, shortest_path

from isthmus._core.errors import BudgetError, InputError
from isthmus.combinatorics.pieces import Piece, connectivity_graph, piece_of, pieces, pieces_meet, random_piece
from isthmus.combinatorics.subspaces import dimension_histogram, minima_subspaces
from tests.reference import subspaces as brute


@pytest.mark.parametrize(("r", "m"), [(1, 1), (1, 4), (2, 3), (2, 5), (3, 5), (4, 6)])
def test_every_piece_once_with_its_dimension(r: int, m: int) -> None:
    found = list(pieces(r, m))
    assert len(found) == len({piece.labels for piece in found}) == minima_subspaces(r, m)
    assert collections.Counter(piece.dimension(2, 1) for piece in found) == dimension_histogram(r, m, 2, 1)
    assert [piece.labels for piece in found] == sorted(piece.labels for piece in found)


def test_listing_is_lazy() -> None:
    assert len(list(itertools.islice(pieces(20, 60), 5))) == 5


def test_random_pieces_are_uniform() -> None:
    generator = random.Random(3)
    counts = collections.Counter(random_piece(2, 4, generator).labels for _ in range(6200))
    assert len(counts) == 62
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4
    assert len(random_piece(40, 300, generator).labels) == 300


@pytest.mark.parametrize(("r", "m"), [(1, 3), (2, 3), (2, 4), (3, 4)])
def test_meeting_agrees_with_solving_the_equations(r: int, m: int) -> None:
    rng, found = np.random.default_rng(0), list(pieces(r, m))
    pairs = list(itertools.combinations(found, 2))
    for index in rng.permutation(len(pairs))[:400]:
        p, q = pairs[index]
        assert pieces_meet(p, q) == pieces_meet(q, p) == brute.have_common_point(list(p.labels), list(q.labels), r, rng)


@pytest.mark.parametrize(
    ("r", "m", "nodes", "edges", "diameter"),
    [(1, 2, 3, 2, 2), (1, 3, 10, 30, 2), (1, 4, 37, 442, 2), (2, 3, 12, 12, 6), (3, 4, 60, 72, 8)],
)
def test_reference_graphs(r: int, m: int, nodes: int, edges: int, diameter: int) -> None:
    found, pairs = connectivity_graph(r, m)
    assert (len(found), len(pairs)) == (nodes, edges)
    i, k = np.array(pairs).T
    distance = shortest_path(csr_array((np.ones(len(i)), (i, k)), shape=(nodes, nodes)), directed=False, unweighted=True)
    assert distance.max() == diameter


@pytest.mark.parametrize(("r", "m"), [(2, 4), (3, 4), (2, 5)])
def test_all_graphs_are_connected(r: int, m: int) -> None:
    found, pairs = connectivity_graph(r, m)
    i, k = np.array(pairs).T
    graph = csr_array((np.ones(len(i)), (i, k)), shape=(len(found), len(found)))
    assert connected_components(graph, directed=False)[0] == 1


def test_without_an_extra_unit_nothing_meets() -> None:
    found, pairs = connectivity_graph(3, 3)
    assert (len(found), len(pairs)) == (6, 0)


def test_pieces_are_checked() -> None:
    assert piece_of(["a", 0, "b", 1, "a"], 2).labels == (2, 0, 3, 1, 2)
    assert Piece((0, 2, 1), 2).zero_groups == 1
    assert not Piece((0, 2, 1), 2).critical
    with pytest.raises(InputError, match="order of appearance"):
        Piece((0, 1, 3), 2)
    with pytest.raises(InputError, match="every irreducible unit"):
        Piece((0, 0), 2)
    with pytest.raises(BudgetError, match="pairs"):
        connectivity_graph(4, 8)
