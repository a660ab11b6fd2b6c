"""The networks whose curvature is timed, in torch alone, so that other libraries' environments can build the same one."""

import sys

import torch
from torch import Tensor, nn


def classifier(samples: int = 1024) -> tuple[nn.Module, Tensor, Tensor]:
    """784-512-512-10 with GELU (670k parameters), Gaussian inputs, random labels."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(784, 512), nn.GELU(), nn.Linear(512, 512), nn.GELU(), nn.Linear(512, 10))
    return net, torch.randn(samples, 784), torch.randint(0, 10, (samples,))


def clustered(samples: int = 1024) -> tuple[nn.Module, Tensor, Tensor]:
    """The same network after 28 steps of SGD on ten Gaussian clusters, one for each label."""
    net = classifier(samples)[0]
    labels = torch.arange(samples) % 10
    inputs = (torch.randn(10, 784) * 0.2)[labels] + 0.5 * torch.randn(samples, 784)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(28):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()
    return net, inputs, labels


def chosen() -> tuple[nn.Module, Tensor, Tensor]:
    """What the command line names."""
    return clustered() if "clustered" in sys.argv else classifier()
