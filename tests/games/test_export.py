"""The networkx graph conserves flow and value."""

import pytest
from torch import nn

from isthmus import Problem
from isthmus.games.export import to_networkx
from isthmus.games.pathgame import PathGame
from tests.games.networks import convolutional, images, regression


@pytest.mark.parametrize("kind", ["dense", "convolutional", "grouped"])
def test_graph_conserves(kind):
    if kind == "dense":
        problem = regression((4, 5, 3, 2), 1, bias=True)
    else:
        problem = Problem(convolutional(1, groups=2 if kind == "grouped" else 1), *images(), nn.CrossEntropyLoss())
    game = PathGame(problem)
    graph, last = to_networkx(game), len(game.chain.affines)
    for node, data in graph.nodes(data=True):
        if node == "bias":
            continue
        into = sum(a["flow"] for _, _, a in graph.in_edges(node, data=True))
        out = sum(a["flow"] for _, _, a in graph.out_edges(node, data=True))
        if 0 < data["level"] < last:
            assert into == pytest.approx(out, rel=1e-9) == pytest.approx(data["flow"])
            assert sum(a["value"] for _, _, a in graph.in_edges(node, data=True)) == pytest.approx(
                sum(a["value"] for _, _, a in graph.out_edges(node, data=True)), abs=1e-9
            )
        elif data["level"] == 0:
            assert out == pytest.approx(data["flow"])
    ends = sum(data["flow"] for node, data in graph.nodes(data=True) if data["level"] == last)
    assert ends == pytest.approx(game.flow.total, rel=1e-9)
