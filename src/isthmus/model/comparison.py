"""How far two networks of one architecture are apart: as functions, in their activation patterns, in their weights."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from isthmus._core.errors import InputError, ShapeError
from isthmus.engine.memory import chunks
from isthmus.model.network import Network

_ROWS = 2048
_RECTIFIERS = {
    torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, functional.relu, functional.relu_,
    functional.leaky_relu, functional.leaky_relu_,
}  # fmt: skip


class _Watch(TorchFunctionMode):
    """Notes which outputs of rectifiers are positive, in order of execution."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Mapping | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _RECTIFIERS:
            self.seen.append(result.detach() > 0)
        return result


def activation_patterns(network: Network, inputs: Tensor) -> list[Tensor]:
    """On or off of every rectifier (ReLU, leaky ReLU) for every example, one ``(n, units)`` mask a call.

    Args:
        network: evaluated in its present mode.
        inputs: ``(n, ...)``.

    Returns:
        Masks in order of execution; empty for a network without rectifiers.
    """
    parts: list[list[Tensor]] = []
    for rows in chunks(len(inputs), _ROWS):
        with _Watch() as watch:
            network(inputs[rows])
        parts.append([mask.reshape(mask.shape[0], -1) for mask in watch.seen])
    return [torch.cat(masks) for masks in zip(*parts, strict=True)]


def hamming_distance(first: Network, second: Network, inputs: Tensor) -> tuple[float, list[float]]:
    """Share of (unit, example) pairs whose rectifier is on in one network and off in the other.

    Args:
        first: a network.
        second: another one of the same architecture.
        inputs: on which the patterns are compared, ``(n, ...)``.

    Returns:
        The share over all units, and each layer's own; NaN and none for a network without rectifiers.

    Raises:
        ShapeError: the patterns have different shapes.
    """
    pairs = list(zip(activation_patterns(first, inputs), activation_patterns(second, inputs), strict=False))
    if any(a.shape != b.shape for a, b in pairs):
        raise ShapeError("The networks have rectifiers of different widths; compare networks of one architecture.")
    flipped = [int((a != b).sum()) for a, b in pairs]
    sizes = [a.numel() for a, _ in pairs]
    pooled = sum(flipped) / sum(sizes) if sizes else float("nan")
    return pooled, [count / size for count, size in zip(flipped, sizes, strict=True)]


def function_distances(first: Network, second: Network, inputs: Tensor) -> dict[str, float]:
    """Distances between two functions on some inputs.

    ``disagreement``: share of examples with another argmax; ``logit_l2``: ``|f - g| / sqrt((|f|^2 + |g|^2) / 2)`` over all
    entries; ``jensen_shannon``: mean divergence of the softmax outputs, nats; ``logit_cosine``: mean ``1 - cos`` of the
    output vectors. For one output the first, third and fourth are NaN.

    Args:
        first: f.
        second: g.
        inputs: ``(n, ...)``.

    Raises:
        InputError: there are no inputs.
    """
    if len(inputs) == 0:
        raise InputError("Function distances need at least one input.")
    f, g = (torch.cat([net(inputs[rows]) for rows in chunks(len(inputs), _ROWS)]).double() for net in (first, second))
    size = ((f.square().sum() + g.square().sum()) / 2).sqrt().clamp_min(1e-300)
    found = {"logit_l2": float((f - g).norm() / size)}
    others = ("disagreement", "jensen_shannon", "logit_cosine")
    if f.shape[1] == 1 or torch.equal(f, g):
        return dict.fromkeys(others, float("nan") if f.shape[1] == 1 else 0.0) | found
    p, q = f.log_softmax(1), g.log_softmax(1)
    middle = torch.logaddexp(p, q) - math.log(2.0)
    divergence = 0.5 * ((p.exp() * (p - middle)).sum(1) + (q.exp() * (q - middle)).sum(1))
    return found | {
        "disagreement": float((f.argmax(1) != g.argmax(1)).double().mean()),
        "jensen_shannon": float(divergence.mean().clamp_min(0)),
        "logit_cosine": float((1 - functional.cosine_similarity(f, g, dim=1)).mean()),
    }


def weight_distance(first: Network, second: Network) -> float:
    """``|w - w'| / sqrt((|w|^2 + |w'|^2) / 2)`` over the trainable parameters; permutations are not divided out."""
    a, b = first.flat.double(), second.flat.double()
    return float((a - b).norm() / ((a.square().sum() + b.square().sum()) / 2).sqrt().clamp_min(1e-300))
