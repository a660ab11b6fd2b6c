"""A place in parameter space in whatever form it is at hand."""

from collections.abc import Mapping

from torch import Tensor, nn

from isthmus.model.network import Network
from isthmus.model.problem import Problem

Point = Mapping[str, Tensor] | Tensor | nn.Module | Network | Problem


def placed(problem: Problem, point: Point) -> Problem:
    """The problem at parameters given as a flat vector, a dict (may hold buffers), a module, a network or a problem.

    Raises:
        ShapeError: they belong to another network.
    """
    if isinstance(point, nn.Module | Network | Problem):
        network = Network.of(point)
        return problem.at(network.parameters, network.buffers)
    if isinstance(point, Tensor):
        return problem.at(point)
    own = problem.network
    parameters = {k: v for k, v in point.items() if k not in own.buffers}
    return problem.at(parameters, {**own.buffers, **{k: v for k, v in point.items() if k in own.buffers}})
