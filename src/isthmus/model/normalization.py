"""Running statistics of BatchNorm: are there any, and measuring them anew."""

import copy

import torch
from torch import nn

from isthmus.engine.memory import chunks
from isthmus.model.network import Network
from isthmus.model.problem import Problem

_ROWS = 8192


def has_running_statistics(network: Network) -> bool:
    """Whether some BatchNorm evaluates with running statistics."""
    return bool(_tracking(network.module))


def recalibrated(problem: Problem) -> Problem:
    """The problem with every BatchNorm's running mean and variance measured over the training inputs.

    One pass in which only BatchNorm is in training mode, in batches of at most 8192 whose statistics are averaged; for
    fewer inputs these are the exact full-data statistics (with torch's unbiased variance).
    """
    network = problem.network
    module = copy.deepcopy(network.module)
    module.load_state_dict({**network.buffers, **network.parameters}, strict=False)
    module.eval()
    for layer in _tracking(module):
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    with torch.no_grad():
        for rows in chunks(problem.samples, _ROWS):
            module(problem.inputs[rows])
    fresh = dict(module.named_buffers())
    return problem.at(network.parameters, {name: fresh.get(name, value) for name, value in network.buffers.items()})


def _tracking(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    norms = (sub for sub in module.modules() if isinstance(sub, nn.modules.batchnorm._BatchNorm))
    return [sub for sub in norms if sub.running_mean is not None]
