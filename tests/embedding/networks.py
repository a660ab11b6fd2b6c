"""Networks with one kind of unit each, in float64 and evaluation mode."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from isthmus.model.problem import Problem


class Attention(nn.Module):
    """Self-attention with a residual stream and a norm behind the heads."""

    def __init__(self, heads: int = 2, size: int = 2) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        self.q, self.k, self.v = (nn.Linear(4, heads * size) for _ in range(3))
        self.out, self.norm, self.head = nn.Linear(heads * size, 4), nn.LayerNorm(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(len(x), 2, 4)

        def heads(layer: nn.Module) -> Tensor:
            return layer(x).view(len(x), 2, self.heads, self.size).transpose(1, 2)

        weights = (heads(self.q) @ heads(self.k).mT / self.size**0.5).softmax(-1)
        mixed = weights @ heads(self.v)
        return self.head(self.norm(x + self.out(mixed.transpose(1, 2).reshape(len(x), 2, -1))).mean(1))


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


def conv() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Conv2d(2, 2, 2), nn.GELU(), nn.Flatten(), nn.Linear(8, 2))


def conv_norm() -> nn.Module:
    net = nn.Sequential(nn.Conv1d(1, 3, 3), nn.BatchNorm1d(3), nn.GELU(), nn.Conv1d(3, 2, 2), nn.Flatten(), nn.Linear(6, 2))
    net.train()(torch.randn(50, 1, 6))
    return net


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2))


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A module in float64 and evaluation mode, its initialization drawn at this seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().double().eval()


#: kind -> (constructor, shape of one input, group of units)
KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "dense, first layer": (mlp, (5,), "0"),
    "dense, second layer": (mlp, (5,), "2"),
    "conv": (conv, (1, 4, 4), "0"),
    "conv before flatten": (conv, (1, 4, 4), "2"),
    "conv with batch norm": (conv_norm, (1, 6), "0"),
    "attention head": (Attention, (8,), "q heads"),
    "gated unit": (Gated, (5,), "gate"),
}


def problem(kind: str, samples: int = 12, seed: int = 0) -> tuple[Problem, str]:
    make, shape, layer = KINDS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = make().double().eval()
        inputs = torch.randn(samples, *shape, dtype=torch.float64)
        targets = torch.randn(samples, 2, dtype=torch.float64)
    return Problem(module, inputs, targets, nn.MSELoss()), layer
