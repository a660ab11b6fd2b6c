"""Taylor terms of order 1 to 3: polynomials through the operations against nested forward mode (one thread, medians).

The unit is one forward pass of the same network on the same batch.
"""

import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gemm import seconds
from isthmus.model import taylor
from isthmus.model.composed import ComposedNorms
from isthmus.model.derivatives import exact_kernels
from isthmus.model.network import Network
from isthmus.model.zoo import mlp

REPEATS = 7


class Block(nn.Module):
    """A residual block with batch norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """The stream plus two convolutions."""
        return torch.relu(x + self.norms[1](self.second(torch.relu(self.norms[0](self.first(x))))))


def cases() -> dict[str, tuple[nn.Module, Tensor]]:
    """Networks and batches."""
    torch.manual_seed(0)
    layers = [nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, activation="gelu") for _ in range(2)]
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), Block(32), Block(32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
    )
    return {
        "MLP 784-512-512-10, ReLU, n = 256": (mlp([784, 512, 512, 10]), torch.randn(256, 784)),
        "MLP 40-64-64-10, tanh, n = 256": (mlp([40, 64, 64, 10], "tanh"), torch.randn(256, 40)),
        "ResNet, 2 blocks of 32 channels, 16x16, n = 32": (net, torch.randn(32, 3, 16, 16)),
        "transformer encoder, 2 layers of 64, 32 tokens, n = 16": (nn.Sequential(*layers), torch.randn(16, 32, 64)),
    }


def median(function: Callable[[], object]) -> float:
    """CPU seconds."""
    function()
    return statistics.median(seconds(function) for _ in range(REPEATS))


def main() -> None:
    torch.set_num_threads(1)
    for name, (module, x) in cases().items():
        network = Network(module).eval()
        along = {key: 0.1 * torch.randn_like(value) for key, value in network.parameters.items()}

        def forward(p: dict[str, Tensor], network: Network = network, x: Tensor = x) -> Tensor:
            return network.forward(p, x)

        unit = median(lambda network=network, x=x: network(x))
        with exact_kernels(network), ComposedNorms():
            for order in (1, 2, 3):
                series = taylor._series(lambda p, f=forward: (f(p),), along, order, taylor._forward_mode)
                with torch.no_grad():
                    nested = median(lambda series=series, network=network: series(dict(network.parameters)))
                carried = median(lambda f=forward, n=network, a=along, k=order: taylor._carried(f, n.parameters, a, k))
                print(
                    f"{name}, order {order}: {carried / unit:.1f} forward passes, nested {nested / unit:.1f}: {nested / carried:.1f} x"
                )


if __name__ == "__main__":
    main()
