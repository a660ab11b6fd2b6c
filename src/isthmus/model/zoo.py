"""Networks with a stated parametrization."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus.linops.random import forked_rng, gaussian


class Erf(nn.Module):
    """The error function as an activation."""

    def forward(self, x: Tensor) -> Tensor:
        """``erf(x)``, entry by entry."""
        return torch.erf(x)


class SigmoidSoftplus(nn.Module):
    """``sigmoid(4 x) + log(1 + e^x)``: smooth, without parity, the activation of the teacher-student experiments."""

    def forward(self, x: Tensor) -> Tensor:
        """Entry by entry; softplus by its formula, since torch's own is linear above 20."""
        return torch.sigmoid(4 * x) + torch.logaddexp(x, torch.zeros_like(x))


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "erf": Erf}
Scaling = Literal["ntk", "mean_field"]


def mlp(widths: Sequence[int], activation: str = "relu", *, seed: Seed | int = 0, output_bias: bool = True) -> nn.Sequential:
    """A multilayer perceptron ``widths[0] -> ... -> widths[-1]`` with torch's own initialization and biases.

    Args:
        widths: inputs, hidden widths, outputs; at least two numbers.
        activation: relu, tanh, gelu or erf, between layers.
        seed: names the initialization; global generators are left alone.
        output_bias: whether the last layer has a bias; hidden layers always have one.

    Raises:
        InputError: fewer than two widths, or an unknown activation.
    """
    if len(widths) < 2:
        raise InputError(f"An MLP needs at least inputs and outputs, found widths {list(widths)}.")
    make = _activation(activation)
    layers: list[nn.Module] = []
    with forked_rng(as_seed(seed)):
        for index, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
            bias = output_bias or index < len(widths) - 2
            layers += [] if index == 0 else [make()]
            layers.append(nn.Linear(fan_in, fan_out, bias=bias))
    return nn.Sequential(*layers)


class ScaledLinear(nn.Module):
    """``y = scale * W x`` with trainable ``W ~ N(0, 1)``, without bias."""

    def __init__(self, fan_in: int, fan_out: int, scale: float, seed: Seed) -> None:
        super().__init__()
        self.weight = nn.Parameter(gaussian((fan_out, fan_in), seed, torch.get_default_dtype()))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Scaled linear map of ``(n, fan_in)``."""
        return self.scale * nn.functional.linear(x, self.weight)


def ntk_mlp(
    inputs: int,
    width: int,
    outputs: int,
    depth: int = 2,
    *,
    seed: Seed | int = 0,
    scaling: Scaling = "ntk",
    activation: str = "relu",
) -> nn.Sequential:
    """A bias-free MLP whose weights are N(0, 1) and whose scale sits in the forward pass.

    ``scaling="ntk"``: every layer is multiplied by ``1/sqrt(fan_in)`` (hidden layers also by sqrt(2) after ReLU), so
    outputs and tangent kernel are O(1) at every width. ``scaling="mean_field"``: the last layer is multiplied by
    ``1/width`` instead; outputs vanish like ``width^-1/2`` and the kernel like ``1/width``, so the learning rate must
    grow like the width for the loss to fall at a width-independent rate.

    Args:
        inputs: input dimension.
        width: of every hidden layer.
        outputs: output dimension.
        depth: number of weight layers, at least 2.
        seed: names the initialization.
        scaling: the parametrization.
        activation: relu, tanh, gelu or erf.

    Raises:
        InputError: depth below 2, or an unknown name.
    """
    if depth < 2 or scaling not in ("ntk", "mean_field"):
        raise InputError(f"Needed depth >= 2 and scaling 'ntk' or 'mean_field', found depth={depth}, scaling={scaling!r}.")
    seed, make = as_seed(seed), _activation(activation)
    gain = math.sqrt(2) if activation == "relu" else 1.0
    layers: list[nn.Module] = [ScaledLinear(inputs, width, 1 / math.sqrt(inputs), seed.child("layer", 0))]
    for index in range(1, depth):
        last = index == depth - 1
        scale = 1 / width if last and scaling == "mean_field" else gain / math.sqrt(width)
        layers += [make(), ScaledLinear(width, outputs if last else width, scale, seed.child("layer", index))]
    return nn.Sequential(*layers)


def _activation(name: str) -> Callable[[], nn.Module]:
    if name not in ACTIVATIONS:
        raise InputError(f"Activation {name!r} is unknown; there are {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


def relu_net(
    inputs: int,
    width: int,
    outputs: int = 1,
    depth: int = 2,
    *,
    trains: Literal["hidden", "all"] = "hidden",
    output_std: float = 1.0,
    seed: Seed | int = 0,
) -> nn.Sequential:
    """A two- or three-layer ReLU network whose variances are 1/width, as the theory beyond the kernel regime sets them.

    Two layers: ``a relu(W x + b)``; three: ``A relu(V relu(W x + b1) + b2)``; ``W, b1 ~ N(0, 1/width)``,
    ``V, b2 ~ N(0, 1/width)``, ``A ~ N(0, output_std^2)``. A useful learning rate is of order 1/width.

    Args:
        inputs: input dimension d.
        width: of every hidden layer.
        outputs: number of outputs k.
        depth: weight layers, 2 or 3.
        trains: ``"hidden"``: W (and V) only, biases and output layer frozen; ``"all"``: everything. It changes what the
            network can learn.
        output_std: standard deviation of the output weights.
        seed: names the initialization.

    Raises:
        InputError: another depth, or an unknown choice of what trains.
    """
    if depth not in (2, 3) or trains not in ("hidden", "all"):
        raise InputError(f"Needed depth 2 or 3 and trains 'hidden' or 'all', found depth={depth}, trains={trains!r}.")
    seed, dtype = as_seed(seed), torch.get_default_dtype()
    sizes = [inputs, *[width] * (depth - 1)]
    layers: list[nn.Module] = []
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        layers += [nn.utils.skip_init(nn.Linear, fan_in, fan_out), nn.ReLU()]
        for name, parameter in layers[-2].named_parameters():
            parameter.data = gaussian(parameter.shape, seed.child("layer", index, name), dtype) / math.sqrt(fan_out)
            parameter.requires_grad_(trains == "all" or name == "weight")
    last = nn.utils.skip_init(nn.Linear, width, outputs, bias=False)
    last.weight.data = output_std * gaussian((outputs, width), seed.child("output"), dtype)
    last.requires_grad_(trains == "all")
    return nn.Sequential(*layers, last)
