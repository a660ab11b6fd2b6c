"""A user's module, data and optimizer."""

from typing import Any

import torch
from torch import nn

from isthmus import Problem

SAMPLES = 12


def user_module() -> nn.Sequential:
    """Mixed modes, a gradient that is set, a frozen parameter, running statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    module.eval()
    module[2].train()
    module[1].running_mean.fill_(0.3)
    module[3].bias.requires_grad_(False)
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, 0.5)
    return module


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(SAMPLES, 4, generator=generator), torch.randint(0, 3, (SAMPLES,), generator=generator)


def problem_of(module: nn.Module) -> Problem:
    inputs, targets = data()
    return Problem(module, inputs, targets, nn.CrossEntropyLoss(), test=(inputs[:5], targets[:5]))


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05)
