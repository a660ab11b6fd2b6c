"""The kinds of network people have, in miniature; shared by the suites."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """A residual stream with LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(6, 8), nn.LayerNorm(8)
        self.inner, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        return self.head(h + torch.tanh(self.inner(self.norm(h))))


class Encoder(nn.Module):
    """One transformer encoder layer, mean-pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True, activation="gelu")
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x.reshape(len(x), 2, 6)).mean(1))


class Words(nn.Module):
    """Embedding with the output tied to it."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner = nn.Embedding(7, 5), nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.inner(self.table(x).mean(1))) @ self.table.weight.T


class Reused(nn.Module):
    """One Linear called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.shared(torch.tanh(self.shared(x)))))


class Recurrent(nn.Module):
    """An LSTM read at its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.reshape(len(x), 4, 3))[0][:, -1])


def tied_mlp() -> nn.Module:
    net = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))
    net[2].weight = net[0].weight
    return net


def mlp(bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 9, bias=bias), nn.Tanh(), nn.Linear(9, 8, bias=bias), nn.ReLU(), nn.Linear(8, 3, bias=bias))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 3, 3, padding=1),
        nn.BatchNorm1d(3),
        nn.GELU(),
        nn.Conv1d(3, 4, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def instance_norm() -> nn.Module:
    return nn.Sequential(nn.Conv1d(1, 4, 3), nn.InstanceNorm1d(4, affine=True), nn.GELU(), nn.Flatten(), nn.Linear(16, 3))


#: name -> (constructor, shape of one input, whether inputs are token ids)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], bool]] = {
    "mlp": (mlp, (6,), False),
    "mlp without bias": (lambda: mlp(bias=False), (6,), False),
    "cnn with batch norm": (cnn, (1, 6), False),
    "instance norm": (instance_norm, (1, 6), False),
    "residual with layer norm": (Residual, (6,), False),
    "transformer encoder": (Encoder, (12,), False),
    "embedding tied to output": (Words, (4,), True),
    "linear called twice": (Reused, (6,), False),
    "tied weights": (tied_mlp, (6,), False),
    "lstm": (Recurrent, (12,), False),
}


def build(name: str, samples: int = 5, seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """The module in float64 and eval mode, inputs, and class labels."""
    make, shape, tokens = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = make().double().eval()
        words, numbers = torch.randint(0, 7, (samples, *shape)), torch.randn(samples, *shape, dtype=torch.float64)
        inputs = words if tokens else numbers
        with torch.no_grad():
            classes = module(inputs).shape[1]
        return module, inputs, torch.randint(0, classes, (samples,))
