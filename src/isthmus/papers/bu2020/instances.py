"""The paper's setting at desk size: two-layer ReLU networks on unit vectors, started at zero output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from isthmus._core.seeds import Seed
from isthmus.linops.random import gaussian, rademacher
from isthmus.model.problem import Problem

Scaling = Literal["ntk", "mean_field"]
SAMPLES, INPUTS = 10, 8
WIDTHS = {"smoke": (128, 256, 512, 1024), "desk": (256, 512, 1024, 2048, 4096), "paper": (512, 2048, 8192, 32768)}
FILTERS = {"smoke": (128, 384, 1152, 3456), "desk": (128, 384, 1152, 3456, 10368), "paper": (512, 2048, 8192, 32768)}
SEEDS = {"smoke": 5, "desk": 8, "paper": 10}


class TwoLayerRelu(nn.Module):
    """``scale * sum_r a_r relu(w_r . x)`` with trained first layer, ``W = [U; U]``, ``a = [s; -s]``: zero at the start.

    ``scale`` is ``m^-1/2`` (NTK parametrization) or ``1/m`` (mean field).
    """

    def __init__(self, inputs: int, width: int, scaling: Scaling, seed: Seed) -> None:
        super().__init__()
        half = gaussian((width // 2, inputs), seed.child("first"), torch.float64)
        sign = rademacher((width // 2,), seed.child("second"), torch.float64)
        self.weight = nn.Parameter(torch.cat([half, half]))
        self.sign: Tensor
        self.register_buffer("sign", torch.cat([sign, -sign]))
        self.scale = width**-0.5 if scaling == "ntk" else 1.0 / width

    def forward(self, x: Tensor) -> Tensor:
        """Outputs ``(n, 1)``."""
        return self.scale * (torch.relu(x @ self.weight.T) @ self.sign)[:, None]


class HalfSum(nn.Module):
    """``sum (f - y)^2 / 2``: the loss in which kernel eigenvalues are rates."""

    reduction = "sum"

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Half the sum of squares."""
        return 0.5 * (outputs - targets).square().sum()


def two_layer(width: int, seed: Seed, *, scaling: Scaling = "ntk", repeat: bool = False) -> Problem:
    """Random unit vectors with Gaussian targets, learned by a `TwoLayerRelu`.

    Args:
        width: m, even.
        seed: names the data, the same at every width, and the network.
        scaling: parametrization.
        repeat: replace the second half of the inputs by the first (other targets): a degenerate kernel.
    """
    x = gaussian((SAMPLES, INPUTS), seed.child("inputs"), torch.float64)
    x = x / x.norm(dim=1, keepdim=True)
    y = gaussian((SAMPLES, 1), seed.child("targets"), torch.float64)
    if repeat:
        x = torch.cat([x[: SAMPLES // 2], x[: SAMPLES // 2]])
    return Problem(TwoLayerRelu(INPUTS, width, scaling, seed.child("network", width)), x, y, HalfSum())


class Convolution(nn.Module):
    """``scale * sum_{p,r} a_{c,r} relu(w_r . patch_p)``: circular filters of size 3 with shared weights, and two outputs.

    Only the filters are trained; the two halves cancel at the start. ``scale`` as in `TwoLayerRelu`, over the root of the positions.
    """

    def __init__(self, positions: int, width: int, scaling: Scaling, seed: Seed) -> None:
        super().__init__()
        half = gaussian((width // 2, 3), seed.child("first"), torch.float64)
        sign = rademacher((2, width // 2), seed.child("second"), torch.float64)
        self.weight = nn.Parameter(torch.cat([half, half]))
        self.sign: Tensor
        self.register_buffer("sign", torch.cat([sign, -sign], dim=1))
        self.scale = (width**-0.5 if scaling == "ntk" else 1.0 / width) / positions**0.5

    def forward(self, x: Tensor) -> Tensor:
        """Outputs ``(n, 2)``."""
        patches = torch.stack([x.roll(shift, dims=1) for shift in (-1, 0, 1)], dim=2)
        return self.scale * torch.relu(patches @ self.weight.T).sum(dim=1) @ self.sign.T


def convolution(width: int, seed: Seed, *, scaling: Scaling = "ntk") -> Problem:
    """Random signals in two classes, learned by a `Convolution` under cross-entropy."""
    x = gaussian((SAMPLES, INPUTS), seed.child("signals"), torch.float64)
    net = Convolution(INPUTS, width, scaling, seed.child("filters", width))
    return Problem(net, x, torch.arange(SAMPLES) % 2, nn.CrossEntropyLoss())


@dataclass(frozen=True)
class Descent:
    """``torch.optim.SGD`` or another optimizer class with fixed options, as a picklable factory."""

    kind: Callable[..., torch.optim.Optimizer]
    options: tuple[tuple[str, float | bool], ...]

    def __call__(self, parameters: object) -> torch.optim.Optimizer:
        """The optimizer over these parameters."""
        return self.kind(parameters, **dict(self.options))


def sgd(lr: float, momentum: float = 0.0) -> Descent:
    """Gradient descent or heavy ball."""
    return Descent(torch.optim.SGD, (("lr", lr), ("momentum", momentum)))
