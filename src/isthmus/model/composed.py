"""Layer and instance norm by their formula, where torch's fused kernels differentiate wrongly.

A forward-mode derivative of the fused `layer_norm` or `instance_norm` is wrong by 7 to 50 % once it is differentiated
again (torch 2.13). Inside `ComposedNorms` both run as mean, variance and division, wherever they are called: as a
module, as a function, or inside another layer.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class ComposedNorms(TorchFunctionMode):
    """A context in which `layer_norm` and `instance_norm` are composed of differentiable operations."""

    def __torch_function__(self, func: Callable, types: Any, args: Sequence = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Run `func`, or the composed formula in its place."""
        return _FORMULAS.get(func, func)(*args, **(kwargs or {}))


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over the last axes; `torch.nn.functional.layer_norm` otherwise."""
    scaled = _standardized(input, tuple(range(-len(normalized_shape), 0)), eps)
    scaled = scaled if weight is None else scaled * weight
    return scaled if bias is None else scaled + bias


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """The same over positions, for each sample and channel; with running statistics it is affine and runs as it is."""
    if not use_input_stats:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    scaled = _standardized(input, tuple(range(2, input.ndim)), eps)
    channels = (1, -1, *(1,) * (input.ndim - 2))
    scaled = scaled if weight is None else scaled * weight.reshape(channels)
    return scaled if bias is None else scaled + bias.reshape(channels)


def _standardized(values: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    centered = values - values.mean(axes, keepdim=True)
    return centered * torch.rsqrt(centered.square().mean(axes, keepdim=True) + eps)


_FORMULAS: dict[Callable, Callable] = {
    functional.layer_norm: layer_norm,
    torch.layer_norm: layer_norm,
    functional.instance_norm: instance_norm,
}
