"""Loss surfaces the obvious way: a copied module, its parameters set one by one, one forward pass a point."""

import copy

import numpy as np
import torch
from torch import Tensor, nn


def surface(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: nn.Module,
    directions: Tensor,
    coefficients: np.ndarray,
    *,
    bn: str = "keep",
) -> tuple[np.ndarray, np.ndarray]:
    """Losses and shares of wrong labels at ``w + sum_k c_k d_k``; `directions` run over the trainable parameters in order."""
    losses, wrong = [], []
    for c in coefficients:
        moved = copy.deepcopy(module).eval()
        start = 0
        with torch.no_grad():
            for parameter in (p for p in moved.parameters() if p.requires_grad):
                for k, weight in enumerate(c):
                    step = directions[k, start : start + parameter.numel()].reshape(parameter.shape)
                    parameter += float(weight) * step
                start += parameter.numel()
            if bn == "recalibrate":
                measure(moved, inputs)
            outputs = moved(inputs)
            losses.append(float(loss(outputs, targets)))
            labels = not targets.is_floating_point()
            wrong.append(float((outputs.argmax(1) != targets).double().mean()) if labels else np.nan)
    return np.array(losses), np.array(wrong)


def measure(module: nn.Module, inputs: Tensor) -> None:
    """Running statistics from one pass over all inputs."""
    norms = [sub for sub in module.modules() if isinstance(sub, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        module(inputs)
    module.eval()


def filter_scaled(direction: Tensor, weights: Tensor) -> Tensor:
    """One tensor of a random direction under Li et al.'s filter normalization, filter by filter."""
    made = torch.zeros_like(direction)
    if weights.ndim >= 2:
        for i in range(len(weights)):
            length = float(direction[i].norm())
            made[i] = direction[i] / length * weights[i].norm() if float(weights[i].norm()) > 0 else 0 * direction[i]
    return made
