"""The network whose curvature is timed, in torch alone, so that other libraries' environments can build the same one."""

import torch
from torch import Tensor, nn


def classifier(samples: int = 1024) -> tuple[nn.Module, Tensor, Tensor]:
    """784-512-512-10 with GELU (670k parameters), Gaussian inputs, random labels."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(784, 512), nn.GELU(), nn.Linear(512, 512), nn.GELU(), nn.Linear(512, 10))
    return net, torch.randn(samples, 784), torch.randint(0, 10, (samples,))
