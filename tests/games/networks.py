"""Small networks for the tests of games."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from isthmus import Problem


def dense(widths: Sequence[int], seed: int, *, relu: bool = True, bias: bool = False, gain: float | None = None) -> nn.Sequential:
    random = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        layer = nn.Linear(a, b, bias=bias).double()
        layer.weight.data = torch.tensor(random.normal(size=(b, a)) * np.sqrt((gain or (2 if relu else 1)) / a))
        if bias:
            layer.bias.data = torch.tensor(random.normal(size=b) * 0.3)
        layers += [layer, nn.ReLU()] if relu and i < len(widths) - 2 else [layer]
    return nn.Sequential(*layers)


def half_problem(module: nn.Module, inputs: np.ndarray, targets: np.ndarray, **extra: object) -> Problem:
    """Summed squares: 2 n times the loss ``sum_k (yhat - y)^2 / 2`` averaged over samples."""
    return Problem(module, torch.tensor(inputs), torch.tensor(targets), nn.MSELoss(reduction="sum"), **extra)


def regression(widths: Sequence[int], seed: int, samples: int = 12, **kinds: bool) -> Problem:
    random = np.random.default_rng(seed + 1000)
    inputs, targets = random.normal(size=(samples, widths[0])), random.normal(size=(samples, widths[-1]))
    return half_problem(
        dense(widths, seed, **kinds), inputs, targets, test=(torch.tensor(inputs[:6] + 0.3), torch.tensor(targets[:6]))
    )


def easy(widths: Sequence[int], seed: int, samples: int = 10, **kinds: bool) -> Problem:
    """Regression on orthonormal inputs, where gradient descent converges in hundreds of steps."""
    random = np.random.default_rng(seed + 3000)
    inputs = np.linalg.qr(random.normal(size=(samples, widths[0])))[0]
    return half_problem(dense(widths, seed, **kinds), inputs, random.normal(size=(samples, widths[-1])))


def classification(widths: Sequence[int], seed: int, samples: int = 12, **kinds: bool) -> Problem:
    random = np.random.default_rng(seed + 2000)
    inputs = torch.tensor(random.normal(size=(samples, widths[0])))
    labels = torch.tensor(random.integers(0, widths[-1], samples))
    return Problem(dense(widths, seed, **kinds), inputs, labels, nn.CrossEntropyLoss())


def images(seed: int = 0, samples: int = 5, size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    return torch.tensor(random.normal(size=(samples, 2, size, size))), torch.tensor(random.integers(0, 3, samples))


def convolutional(seed: int = 0, *, pool: str = "max", norm: bool = False, groups: int = 1, relu: bool = True) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Conv2d(2, 4, 3, padding=1)]
        if norm:
            layers.append(nn.BatchNorm2d(4))
        layers += [nn.ReLU()] if relu else []
        layers += [{"max": nn.MaxPool2d(2), "average": nn.AvgPool2d(2)}[pool]]
        layers += [
            nn.Conv2d(4, 4, 2, groups=groups),
            nn.LeakyReLU(0.1) if relu else nn.Identity(),
            nn.Flatten(),
            nn.Linear(16, 3),
        ]
        module = nn.Sequential(*layers).double()
        if norm:
            layers[1].running_mean.copy_(torch.randn(4) * 0.2)
            layers[1].running_var.copy_(torch.rand(4) + 0.5)
            layers[1].weight.data.copy_(torch.randn(4))
    return module.eval()
