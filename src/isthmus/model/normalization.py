"""Running statistics of BatchNorm: are there any, and measuring them anew."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.engine.memory import chunks
from isthmus.model.network import Network
from isthmus.model.problem import Problem

_ROWS = 8192


def has_running_statistics(network: Network) -> bool:
    """Whether some BatchNorm evaluates with running statistics."""
    return bool(_tracking(network.module))


class Recalibration:
    """Running statistics of every BatchNorm over the training inputs, as a function of the parameters.

    One pass in which only BatchNorm is in training mode, in batches of at most 8192 whose statistics are averaged; for
    fewer inputs these are the exact full-data statistics (with torch's unbiased variance).

    Args:
        problem: network and the inputs to measure on.
    """

    def __init__(self, problem: Problem) -> None:
        network = problem.network
        self.inputs, self.buffers = problem.inputs, network.buffers
        self.module = copy.deepcopy(network.module)
        self.module.load_state_dict({**network.buffers, **network.parameters}, strict=False)
        self.module.eval()
        self.norms = _tracking(self.module)

    def at(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All buffers of the network, those of BatchNorm measured at these parameters."""
        for layer in self.norms:
            layer.reset_running_stats()
            layer.momentum = None
            layer.train()
        with torch.no_grad():
            for rows in chunks(len(self.inputs), _ROWS):
                functional_call(self.module, dict(parameters), (self.inputs[rows],))
        fresh = dict(self.module.named_buffers())
        return {name: fresh[name].clone() if name in fresh else value for name, value in self.buffers.items()}


def recalibrated(problem: Problem) -> Problem:
    """The problem with every BatchNorm's running mean and variance measured over the training inputs."""
    parameters = problem.network.parameters
    return problem.at(parameters, Recalibration(problem).at(parameters))


def _tracking(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    norms = (sub for sub in module.modules() if isinstance(sub, nn.modules.batchnorm._BatchNorm))
    return [sub for sub in norms if sub.running_mean is not None]
