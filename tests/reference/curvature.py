"""Dense curvature: finite differences of the gradient, the Gauss-Newton matrix by definition, a smoothed spectrum."""

import numpy as np
import torch
from torch import Tensor, nn

from tests.reference.derivatives import dense_jacobian, finite_difference_hessian_product


def dense_hessian(module: nn.Module, inputs: Tensor, targets: Tensor, loss: nn.Module) -> Tensor:
    """``(p, p)``, one central difference of the gradient a column."""
    size = sum(p.numel() for p in module.parameters() if p.requires_grad)
    units = torch.eye(size, dtype=torch.float64)
    columns = [finite_difference_hessian_product(module, inputs, targets, loss, unit) for unit in units]
    matrix = torch.stack(columns, dim=1)
    return (matrix + matrix.T) / 2


def dense_cross_entropy_ggn(module: nn.Module, inputs: Tensor) -> Tensor:
    """``J^T (diag(q) - q q^T) J / n`` with q the softmax of the outputs."""
    jacobian, soft = dense_jacobian(module, inputs), module(inputs).detach().softmax(1)
    bend = torch.diag_embed(soft) - soft[:, :, None] * soft[:, None, :]
    return torch.einsum("ncp,ncd,ndq->pq", jacobian, bend, jacobian) / len(inputs)


def smoothed(values: np.ndarray, grid: np.ndarray, width: float) -> np.ndarray:
    """``(1/p) sum_i N(x; lambda_i, width^2)`` on the grid."""
    bumps = np.exp(-0.5 * ((grid[:, None] - values[None]) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return bumps.mean(axis=1)


def inputs_with_spectrum(values: np.ndarray, samples: int, seed: int = 0) -> Tensor:
    """X with ``2 X^T X / samples`` of these eigenvalues: the Hessian of linear regression under torch's MSELoss."""
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.standard_normal((samples, len(values))))
    right, _ = np.linalg.qr(rng.standard_normal((len(values), len(values))))
    return torch.from_numpy((left * np.sqrt(values * samples / 2)) @ right.T)
