"""A layer more or a layer less: lifting into a deeper network where the new layer works in its linear range."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, UnsupportedLayer
from isthmus._core.seeds import Seed, as_seed
from isthmus.linops.random import gaussian
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.resizing import module_of, output_difference, require_same_outputs

Mixing = Literal["identity", "random"]


@dataclass(frozen=True)
class Lifted:
    """A network with a layer inserted or removed.

    Attributes:
        problem: with the new network.
        margin: for each unit of that layer, the distance of its pre-activations from the kink over the training inputs,
            ``(m,)``; positive where it works in its linear range on all of them.
        difference: largest relative change of an output on the training inputs.
        off_sample: the same on the test inputs, or NaN without; lifting agrees on the training inputs only.
    """

    problem: Problem
    margin: Tensor
    difference: float
    off_sample: float


def lift_depth(problem: Problem, after: str, *, mixing: Mixing = "identity", margin: float = 0.1, seed: Seed | int = 0) -> Lifted:
    """Insert a hidden layer of equal width behind a hidden layer, so that the outputs on the training data stay.

    The new layer ``ReLU(M h + c)`` has c so large that all its pre-activations over the training inputs are at least
    `margin` (times their spread) above the kink; the following layer takes ``W M^-1`` and ``b - W M^-1 c``. A critical
    point then stays critical. The lift depends on the data: off the training inputs the outputs may differ.

    Args:
        problem: a Sequential of Linear layers and ReLUs, data and loss.
        after: name of the Linear layer whose ReLU is followed.
        mixing: M is the identity (linear for all inputs), or a random orthogonal matrix.
        margin: distance from the kink relative to the largest pre-activation.
        seed: names the random matrix.

    Returns:
        The deeper network, with margins and the difference off the training inputs.

    Raises:
        UnsupportedLayer: the module is no such Sequential, or `after` no hidden layer of it.
        InputError: the margin is not positive, or the mixing unknown.
        VerificationError: the outputs on the training inputs changed.
    """
    if margin <= 0 or mixing not in ("identity", "random"):
        raise InputError(f"A positive margin and mixing 'identity' or 'random' are needed, found {margin} and {mixing!r}.")
    problem = problem.eval()
    layers, place = _chain(problem.network, after)
    h = _hidden(layers[: place + 2], problem.inputs)
    size, dtype = h.shape[1], problem.network.dtype
    mix = torch.eye(size, dtype=dtype)
    if mixing == "random":
        mix = torch.linalg.qr(gaussian((size, size), as_seed(seed).child("mix"), torch.float64))[0].to(dtype)
    raw = h @ mix.T
    shift = margin * raw.abs().max().clamp_min(1e-12) - raw.amin(0)
    fresh, follower = _linear(mix, shift), layers[place + 2]
    weight = follower.weight.detach() @ torch.linalg.inv(mix)
    bias = (follower.bias.detach() if follower.bias is not None else 0) - weight @ shift
    deeper = [*layers[: place + 2], fresh, nn.ReLU(), _linear(weight, bias), *layers[place + 3 :]]
    return _certified(problem, nn.Sequential(*deeper), (raw + shift).amin(0))


def prune_layer(problem: Problem, layer: str) -> Lifted:
    """Remove a hidden layer that works in its linear range on all training inputs: the inverse of `lift_depth`.

    Args:
        problem: a Sequential of Linear layers and ReLUs, data and loss.
        layer: name of the Linear layer that goes, together with its ReLU.

    Returns:
        The shallower network.

    Raises:
        UnsupportedLayer: the module is no such Sequential, or a unit of the layer meets its kink on the training inputs.
        VerificationError: the outputs on the training inputs changed.
    """
    problem = problem.eval()
    layers, place = _chain(problem.network, layer)
    raw = _hidden(layers[: place + 1], problem.inputs)
    margin = raw.amin(0)
    if bool((margin <= 0).any()):
        raise UnsupportedLayer(
            f"{int((margin <= 0).sum())} of {len(margin)} units of {layer!r} are at or below their kink on some training input, so "
            "the layer is not linear there and cannot be removed without a change."
        )
    gone, follower = layers[place], layers[place + 2]
    weight = follower.weight.detach() @ gone.weight.detach()
    bias = follower.weight.detach() @ (gone.bias.detach() if gone.bias is not None else raw.new_zeros(len(margin)))
    bias = bias + (follower.bias.detach() if follower.bias is not None else 0)
    return _certified(problem, nn.Sequential(*layers[:place], _linear(weight, bias), *layers[place + 3 :]), margin)


def _certified(problem: Problem, module: nn.Module, margin: Tensor) -> Lifted:
    made = problem._with(network=Network(module).eval())
    difference = require_same_outputs(problem.network, made.network, problem.inputs, what="Changing the depth")
    test = problem.test_inputs
    off = float("nan") if test is None else output_difference(problem.network, made.network, test)
    return Lifted(made, margin, difference, off)


def _chain(network: Network, name: str) -> tuple[list, int]:
    """The layers of a Sequential of Linear layers and ReLUs, and the index of a hidden one of them."""
    module = module_of(network)
    layers = list(module.children()) if isinstance(module, nn.Sequential) else []
    if not layers or not all(isinstance(layer, nn.Linear | nn.ReLU) for layer in layers):
        raise UnsupportedLayer(
            f"Depth is changed in an nn.Sequential of Linear layers and ReLUs; this network is a {type(module).__name__} with "
            f"{', '.join(sorted({type(sub).__name__ for sub in module.modules() if sub is not module})) or 'no layers'}."
        )
    hidden = [
        str(i)
        for i in range(len(layers) - 2)
        if isinstance(layers[i], nn.Linear) and isinstance(layers[i + 1], nn.ReLU) and isinstance(layers[i + 2], nn.Linear)
    ]
    if name not in hidden:
        raise UnsupportedLayer(f"{name!r} is no hidden Linear layer followed by a ReLU; there are {', '.join(hidden) or 'none'}.")
    return layers, int(name)


def _hidden(layers: Iterable[nn.Module], inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return nn.Sequential(*layers)(inputs)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A layer with these values; drawn on no device first, so that no random number is used up."""
    made = nn.Linear(weight.shape[1], weight.shape[0], device="meta", dtype=weight.dtype)
    made.weight, made.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
    return made
