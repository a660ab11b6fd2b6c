"""A path game as a networkx graph."""

import networkx as nx
import numpy as np
from torch import Tensor

from isthmus.games.chain import Affine
from isthmus.games.pathgame import PathGame


def to_networkx(game: PathGame) -> nx.DiGraph:
    """Units (neurons or channels) as nodes and the maps between them as arcs, with path flows.

    Nodes are ``(level, unit)``, inputs at level 0 (one node per entry, or per channel before a convolution), and one node
    ``"bias"``. Arcs carry ``flow = sum |v_p|`` and ``value = sum v_p C_p`` over the paths through them, summed over kernel
    positions; nodes carry `flow` and `level`. Flow is conserved at every hidden node.

    Args:
        game: any path game.
    """
    graph = nx.DiGraph()
    graph.add_node("bias", level=-1, flow=float(game.flow.types[-1]))
    parts = zip(game.chain.affines, game.flow.edges, game.values.edges, strict=True)
    for level, (step, (flow, bias_flow), (value, bias_value)) in enumerate(parts, start=1):
        before = len(game.flow.edges[level - 2][0]) if level > 1 else flow.shape[1] * step.groups
        flows, values = between_units(step, flow, before), between_units(step, value, before)
        into = flows.sum(axis=1) + (0 if bias_flow is None else bias_flow.numpy())
        if level == 1:
            graph.add_nodes_from(((0, unit), {"level": 0, "flow": float(x)}) for unit, x in enumerate(flows.sum(axis=0)))
        graph.add_nodes_from(((level, unit), {"level": level, "flow": float(x)}) for unit, x in enumerate(into))
        for unit, source in zip(*np.nonzero(flows), strict=True):
            ends = (level - 1, int(source)), (level, int(unit))
            graph.add_edge(*ends, flow=float(flows[unit, source]), value=float(values[unit, source]))
        if bias_flow is not None and bias_value is not None:
            for unit, (x, y) in enumerate(zip(bias_flow.tolist(), bias_value.tolist(), strict=True)):
                graph.add_edge("bias", (level, unit), flow=x, value=y)
    return graph


def between_units(step: Affine, amounts: Tensor, sources: int) -> np.ndarray:
    """One number per weight, summed to one per pair of units, ``(units, sources)``."""
    table = amounts.reshape(*amounts.shape[:2], -1).sum(dim=2).numpy()
    units, width = table.shape
    group = np.arange(units) // (units // step.groups)
    column = (group[:, None] * width + np.arange(width)) // (width * step.groups // sources)
    summed = np.zeros((units, sources))
    np.add.at(summed, (np.arange(units)[:, None], column), table)
    return summed
