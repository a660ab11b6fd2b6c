"""Small problems of the dynamics suites."""

import math

import numpy as np
import torch
from torch import nn

import isthmus
from tests.reference.dynamics import r20


class TwoLayer(nn.Module):
    """``m^{-1/2} sum_r a_r relu(w_r . x)``, only w trained, antisymmetric: the function starts at zero."""

    def __init__(self, inputs, width, seed=0):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        half = torch.randn(width // 2, inputs, generator=draw, dtype=torch.float64)
        sign = torch.randint(0, 2, (width // 2,), generator=draw).double() * 2 - 1
        self.weight = nn.Parameter(torch.cat([half, half]))
        self.register_buffer("sign", torch.cat([sign, -sign]))

    def forward(self, x):
        return (torch.relu(x @ self.weight.T) @ self.sign / math.sqrt(len(self.sign)))[:, None]


class HalfSum(nn.Module):
    """Half the sum of squares."""

    reduction = "sum"

    def forward(self, outputs, targets):
        return 0.5 * (outputs - targets).square().sum()


def regression(seed=0, hidden=12, loss=None, test=True):
    """R20's data and a small tanh network."""
    x, y = (torch.tensor(part) for part in r20())
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(10, hidden), nn.Tanh(), nn.Linear(hidden, 1)).double()
    held = (x[:4] + 0.1, y[:4, None]) if test else None
    return isthmus.Problem(net, x, y[:, None], loss or nn.MSELoss(), test=held)


def classification(seed=0, hidden=8, samples=15):
    """Three classes on R20's inputs."""
    x = torch.tensor(r20()[0][:samples])
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(10, hidden), nn.Tanh(), nn.Linear(hidden, 3)).double()
    return isthmus.Problem(net, x, torch.arange(samples) % 3, nn.CrossEntropyLoss(), test=(x[:4] + 0.1, torch.arange(4) % 3))


def wide(width, seed=0, samples=20, loss=None):
    """R20 with the two-layer ReLU network of the theory."""
    x, y = r20()
    return isthmus.Problem(
        TwoLayer(10, width, seed), torch.tensor(x[:samples]), torch.tensor(y[:samples, None]), loss or HalfSum()
    )


def dense_jacobian(problem):
    """df/dw by central differences, ``(n c, p)``."""
    network, start = problem.network, problem.network.flat
    columns = []
    for index in range(len(start)):
        step = torch.zeros_like(start)
        step[index] = 1e-6
        columns.append((network.at(start + step)(problem.inputs) - network.at(start - step)(problem.inputs)).reshape(-1) / 2e-6)
    return torch.stack(columns, 1).numpy()


def unit(array):
    return array / np.linalg.norm(array)
