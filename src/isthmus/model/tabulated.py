"""Smooth activations whose first two derivatives are worked out once, for a graph that is multiplied many times.

A product with a Hessian on a kept graph passes every activation's second derivative at the same point. Torch evaluates
it anew in each product: for GELU a dozen passes over the layer's values, a tenth of the product. Inside `Tabulated` a
smooth activation keeps f'(a) and f''(a), and each product multiplies by them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_SMOOTH = {
    functional.gelu,
    functional.silu,
    functional.softplus,
    functional.mish,
    functional.elu,
    functional.celu,
    functional.selu,
    functional.logsigmoid,
    functional.tanh,
    functional.sigmoid,
    torch.tanh,
    torch.sigmoid,
    torch.erf,
    Tensor.tanh,
    Tensor.sigmoid,
    Tensor.erf,
}


class Tabulated(TorchFunctionMode):
    """A context in which smooth activations keep their first two derivatives: for products that are not differentiated again."""

    def __torch_function__(self, func: Callable, types: Any, args: Sequence = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Run `func`, with tables where it is a smooth activation of one tensor that has a graph."""
        kwargs = kwargs or {}
        in_place = kwargs.get("inplace") or any(argument is True for argument in args[1:])
        if func not in _SMOOTH or in_place or not args or not args[0].requires_grad:
            return func(*args, **kwargs)
        leaf = args[0].detach().requires_grad_()
        value = func(leaf, *args[1:], **kwargs)
        (slope,) = torch.autograd.grad(value.sum(), leaf, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), leaf)
        return _Value.apply(args[0], value.detach(), slope.detach(), bend)


class _Value(torch.autograd.Function):
    """``f(a)``, whose gradient is ``g f'(a)``."""

    @staticmethod
    def forward(ctx: Any, point: Tensor, value: Tensor, slope: Tensor, bend: Tensor) -> Tensor:
        ctx.save_for_backward(point, slope, bend)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        return _Gradient.apply(cotangent, *ctx.saved_tensors), None, None, None


class _Gradient(torch.autograd.Function):
    """``g f'(a)``, whose gradients are ``c f'(a)`` in g and ``c g f''(a)`` in a."""

    @staticmethod
    def forward(ctx: Any, cotangent: Tensor, point: Tensor, slope: Tensor, bend: Tensor) -> Tensor:
        ctx.save_for_backward(slope, cotangent * bend)
        return cotangent * slope

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, ...]:
        slope, bent = ctx.saved_tensors
        return change * slope, change * bent, None, None
