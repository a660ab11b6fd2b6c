"""Parametric curves between two points in parameter space, as modules that a training loop can train."""

import copy
import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.model.network import Network

CurveKind = Literal["bezier", "polygon"]


def curve_weights(kind: CurveKind, position: Tensor, count: int) -> Tensor:
    """How much each of `count` control points weighs at positions in [0, 1]: ``(...)`` to ``(..., count)``.

    Bezier: ``C(m, k) t^k (1 - t)^(m - k)`` with ``m = count - 1``; polygon: straight pieces of equal length in t.
    """
    t, last = position[..., None], count - 1
    index = torch.arange(count, dtype=position.dtype, device=position.device)
    if kind == "polygon":
        return (1 - (t * last - index).abs()).clamp_min(0)
    ways = torch.tensor([math.comb(last, k) for k in range(count)], dtype=position.dtype, device=position.device)
    return ways * t**index * (1 - t) ** (last - index)


class CurveModule(nn.Module):
    """The network at a point of a curve whose inner control points are its only parameters.

    In training mode each forward pass stands at a uniformly random position (Garipov et al. 2018), so that the loss of
    training is the mean over the curve; in evaluation mode it stands halfway.

    Args:
        network: the architecture, with the buffers to start from.
        ends: start and end, ``(2, p)``.
        bends: inner control points, ``(b, p)``.
        kind: Bezier curve or polygonal chain.
    """

    def __init__(self, network: Network, ends: Tensor, bends: Tensor, kind: CurveKind) -> None:
        super().__init__()
        self.body = copy.deepcopy(network.module).requires_grad_(False)
        self.body.load_state_dict({**network.buffers, **network.parameters}, strict=False)
        self.layout = network.layout
        self.kind: CurveKind = kind
        self.ends: Tensor
        self.register_buffer("ends", ends)
        self.bends = nn.Parameter(bends)

    def forward(self, inputs: Tensor) -> Tensor:
        """The network's output at the position of this pass."""
        middle = torch.tensor(0.5)
        position = (torch.rand(()) if self.training else middle).to(self.ends)
        control = torch.cat([self.ends[:1], self.bends, self.ends[1:]])
        point = curve_weights(self.kind, position, len(control)) @ control
        return functional_call(self.body, self.layout.unflatten(point), (inputs,))
