"""Split matrices of a two-layer network by their definition, and the wide Hessian by plain autograd."""

import torch
from torch import Tensor, nn

from tests.reference.derivatives import trainable


def dense_hessian(module: nn.Module, inputs: Tensor, targets: Tensor, loss: nn.Module) -> Tensor:
    """One double-backward pass per parameter."""
    params = trainable(module)
    grads = torch.autograd.grad(loss(module(inputs), targets), params, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in grads])
    rows = [torch.cat([g.reshape(-1) for g in torch.autograd.grad(v, params, retain_graph=True)]) for v in flat]
    return torch.stack(rows)


def two_layer_pair(w: Tensor, b: Tensor, u: Tensor, x: Tensor, y: Tensor, unit: int) -> tuple[Tensor, Tensor]:
    """S and D of one unit of ``f = u tanh(w x + b)`` under the mean of squares over all entries, sample by sample."""
    d_u = u.shape[0]
    stiffness = torch.zeros(x.shape[1] + 1, x.shape[1] + 1, dtype=x.dtype)
    coupling = torch.zeros(d_u, x.shape[1] + 1, dtype=x.dtype)
    for xi, yi in zip(x, y, strict=True):
        error = 2 * (u @ torch.tanh(w @ xi + b) - yi) / y.numel()
        lifted = torch.cat([xi, torch.ones(1, dtype=x.dtype)])
        t = torch.tanh(w[unit] @ xi + b[unit])
        slope, bend = 1 - t**2, -2 * t * (1 - t**2)
        stiffness += (error @ u[:, unit]) * bend * torch.outer(lifted, lifted)
        coupling += torch.outer(error, slope * lifted)
    return stiffness, coupling


def effective_directions(weight: Tensor, bias: Tensor, reader: Tensor, *, odd: bool) -> float:
    """Inverse of the strength-weighted mean of squared cosines between input weights, pair by pair."""
    units = [torch.cat([w, b[None]]) for w, b in zip(weight, bias, strict=True)]
    strength = [float(p.norm() * reader[:, k].norm()) for k, p in enumerate(units)]
    total = 0.0
    for i, p in enumerate(units):
        for j, q in enumerate(units):
            cosine = float(p @ q / (p.norm() * q.norm()))
            kept = cosine if odd else max(cosine, 0.0)
            total += strength[i] * strength[j] * kept**2
    return sum(strength) ** 2 / total
