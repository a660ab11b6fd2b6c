"""Small networks of two and three layers for the symmetry suites."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from isthmus._core.seeds import Seed
from isthmus.linops.random import forked_rng
from isthmus.model.network import Network
from isthmus.model.zoo import SigmoidSoftplus

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "g": SigmoidSoftplus,
}


def dense(widths: list[int], activation: str = "g", seed: int = 0, *, bias: bool = True) -> Network:
    """A dense network in float64 whose units are well apart, none of them dead."""
    layers: list[nn.Module] = []
    with forked_rng(Seed(seed)):
        for index, (one, two) in enumerate(itertools.pairwise(widths)):
            layers += [nn.Linear(one, two, bias=bias)] + ([ACTIVATIONS[activation]()] if index < len(widths) - 2 else [])
    module = nn.Sequential(*layers).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2).add_(0.05)
    return Network(module)


def inputs(count: int = 80, size: int = 3, seed: int = 1) -> Tensor:
    """Gaussian inputs in float64."""
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
