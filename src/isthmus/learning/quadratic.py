"""The quadratic model of Bai and Lee: two layers, smooth activation, signs that cancel the linear part.

``f = m^{-1/2} sum_r a_r sigma((w0_r + S_r w_r) . x)`` with ``S_r = +-1`` has the linear part ``f_L``, whose mean over S is
zero, and the quadratic part ``f_Q``, which does not depend on S. It is quadratic within a layer (sigma''), where the
three-layer ReLU network is bilinear across layers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus._core.errors import InputError


@dataclass(frozen=True)
class Smooth:
    """An activation with its first two derivatives."""

    value: Callable[[Tensor], Tensor]
    first: Callable[[Tensor], Tensor]
    second: Callable[[Tensor], Tensor]


def _softplus_second(z: Tensor) -> Tensor:
    return torch.sigmoid(z) * torch.sigmoid(-z)


SMOOTH: dict[str, Smooth] = {
    "softplus": Smooth(torch.nn.functional.softplus, torch.sigmoid, _softplus_second),
    "tanh": Smooth(torch.tanh, lambda z: torch.cosh(z) ** -2, lambda z: -2 * torch.tanh(z) * torch.cosh(z) ** -2),
    "sin": Smooth(torch.sin, torch.cos, lambda z: -torch.sin(z)),
}


@dataclass(frozen=True)
class SignedNetwork:
    """``m^{-1/2} sum_r a_r sigma((w0_r + S_r w_r) . x)`` around ``w = 0``.

    Attributes:
        start: w0, ``(m, d)``.
        output: a, ``(m,)``.
        activation: softplus, tanh or sin.
    """

    start: Tensor
    output: Tensor
    activation: str = "softplus"

    def __post_init__(self) -> None:
        if self.activation not in SMOOTH:
            raise InputError(
                f"The quadratic model needs an activation with a second derivative: {', '.join(SMOOTH)}; found "
                f"{self.activation!r}. (ReLU's second derivative is zero, and the model would be linear.)"
            )

    def value(self, inputs: Tensor, move: Tensor, signs: Tensor) -> Tensor:
        """The network at signed displacement, ``(n,)``."""
        return self._read(SMOOTH[self.activation].value(inputs @ (self.start + signs[:, None] * move).T))

    def linear(self, inputs: Tensor, move: Tensor, signs: Tensor) -> Tensor:
        """``f_L = m^{-1/2} sum_r a_r sigma'(w0_r . x) S_r w_r . x``, ``(n,)``."""
        return self._read(SMOOTH[self.activation].first(inputs @ self.start.T) * (inputs @ move.T) * signs)

    def quadratic(self, inputs: Tensor, move: Tensor) -> Tensor:
        """``f_Q = (1 / (2 sqrt m)) sum_r a_r sigma''(w0_r . x) (w_r . x)^2``, ``(n,)``."""
        return self._read(SMOOTH[self.activation].second(inputs @ self.start.T) * (inputs @ move.T).square()) / 2

    def linear_mean_square(self, inputs: Tensor, move: Tensor) -> Tensor:
        """``E_S f_L^2 = (1/m) sum_r a_r^2 sigma'(w0_r . x)^2 (w_r . x)^2``, exactly, ``(n,)``."""
        slopes = SMOOTH[self.activation].first(inputs @ self.start.T) * (inputs @ move.T)
        return slopes.square() @ self.output.square() / len(self.output)

    def _read(self, hidden: Tensor) -> Tensor:
        return hidden @ self.output / math.sqrt(len(self.output))
