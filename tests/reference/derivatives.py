"""Dense derivatives by the most obvious route: one autograd call per entry, and finite differences."""

import copy

import torch
from torch import Tensor, nn


def trainable(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def dense_jacobian(module: nn.Module, inputs: Tensor) -> Tensor:
    """``(n, c, p)`` by one backward pass for each sample and output, each sample alone in its batch."""
    params = trainable(module)
    rows = []
    for x in inputs:
        outputs = module(x[None]).reshape(-1)
        for value in outputs:
            grads = torch.autograd.grad(value, params, retain_graph=True, allow_unused=True)
            rows.append(
                torch.cat([(g if g is not None else torch.zeros_like(p)).reshape(-1) for g, p in zip(grads, params, strict=True)])
            )
    return torch.stack(rows).reshape(len(inputs), -1, rows[0].numel())


def shifted(module: nn.Module, direction: Tensor, step: float) -> nn.Module:
    """A copy of the module with its flat parameters moved by ``step * direction``."""
    moved = copy.deepcopy(module)
    start = 0
    with torch.no_grad():
        for p in trainable(moved):
            p += step * direction[start : start + p.numel()].reshape(p.shape)
            start += p.numel()
    return moved


def loss_gradient(module: nn.Module, inputs: Tensor, targets: Tensor, loss: nn.Module) -> Tensor:
    params = trainable(module)
    grads = torch.autograd.grad(loss(module(inputs), targets), params, allow_unused=True)
    return torch.cat([(g if g is not None else torch.zeros_like(p)).reshape(-1) for g, p in zip(grads, params, strict=True)])


def finite_difference_hessian_product(
    module: nn.Module, inputs: Tensor, targets: Tensor, loss: nn.Module, direction: Tensor, step: float = 1e-5
) -> Tensor:
    """Central difference of the gradient along a direction."""
    plus = loss_gradient(shifted(module, direction, step), inputs, targets, loss)
    minus = loss_gradient(shifted(module, direction, -step), inputs, targets, loss)
    return (plus - minus) / (2 * step)
