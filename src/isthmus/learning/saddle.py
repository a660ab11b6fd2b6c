"""The saddle at the start of the bilinear objective, certified by operator norms (derived here).

For ``E L(f0 + G2(W', V'), y)`` the gradient at (0, 0) is zero and the Hessian couples, for each first-layer unit j, only
``w'_j`` with the column ``V'_{.j}``, by ``M_j[i, k] = E[g_i 1_{v,i} 1_{w,j} x_k]`` with ``g_i = sum_r dL/df_r A_{r,i}``. Its
spectrum is plus and minus the singular values of all M_j, and zeros: unless every M_j vanishes, the start is a strict saddle.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus.learning.pseudo import Displacement, PseudoNetwork
from isthmus.model.derivatives import loss_gradient
from isthmus.model.problem import Problem


@dataclass(frozen=True)
class SaddleCertificate:
    """The smallest curvature at the start, and the direction that has it.

    Attributes:
        smallest: smallest eigenvalue of the Hessian at (0, 0).
        norms: operator norm of M_j for each first-layer unit, ``(m1,)``.
        unit: the unit j of the largest norm.
        direction: unit-norm displacement with the smallest curvature; add a small multiple to leave the saddle.
        objective: which objective this is.
    """

    smallest: float
    norms: Tensor
    unit: int
    direction: Displacement
    objective: str


def saddle_certificate(
    network: PseudoNetwork,
    inputs: Tensor,
    targets: Tensor,
    loss: nn.Module,
    *,
    ridge_first: float = 0.0,
    ridge_second: float = 0.0,
) -> SaddleCertificate:
    """Certify the saddle of ``L(f0 + G2(W', V')) + (mu_w / 2) |W'|^2 + (mu_v / 2) |V'|^2`` at (0, 0).

    ``lambda_min = (mu_w + mu_v) / 2 - sqrt(((mu_w - mu_v) / 2)^2 + s^2)`` with ``s = max_j |M_j|_op``; for mu = 0 this is -s. A
    fourth-power penalty on W' has no curvature at 0, hence mu_w = 0 and a negative value whenever s > 0.

    Args:
        network: three layers.
        inputs: ``(n, d)``.
        targets: ``(n, k)`` or labels ``(n,)``.
        loss: a torch loss, twice differentiable in the outputs; with its own reduction.
        ridge_first: mu_w.
        ridge_second: mu_v.

    Raises:
        InputError: two layers, where the bilinear part is zero.
    """
    blocks = bilinear_blocks(network, inputs, output_slopes(network.start(inputs), targets, loss))
    norms = torch.linalg.matrix_norm(blocks, 2)
    unit = int(norms.argmax())
    left, values, right = torch.linalg.svd(blocks[unit])
    s, half = float(values[0]), (ridge_first - ridge_second) / 2
    smallest = (ridge_first + ridge_second) / 2 - math.hypot(half, s)
    weight = math.atan2(half + math.hypot(half, s), s) if s > 0 else 0.0
    first, second = torch.zeros_like(network.first), torch.zeros(blocks.shape[1], len(network.first)).to(network.first)
    first[unit], second[:, unit] = math.cos(weight) * right[0], -math.sin(weight) * left[:, 0]
    return SaddleCertificate(smallest, norms, unit, Displacement(first, second), "bilinear part only")


def sign_averaged_smallest(network: PseudoNetwork, inputs: Tensor, targets: Tensor) -> float:
    """Smallest eigenvalue at (0, 0) of ``E_Sigma mean (f0 + lin_Sigma + G2 - y)^2 / 2``, one output.

    The linear terms average to zero in the gradient but add ``E[u_j u_j^T]`` to each unit's block, with ``u_j`` the slope of the
    outputs in ``(V'_{.j}, w'_j)``: the value lies above that of the bilinear objective.

    Raises:
        InputError: two layers, or several outputs.
    """
    if network.second is None or len(network.output) != 1 or targets.shape != (len(inputs), 1):
        raise InputError("The sign-averaged Hessian is written for three layers, one output and targets (n, 1).")
    blocks = bilinear_blocks(network, inputs, (network.start(inputs) - targets) / len(inputs))
    d_w, hidden, d_v, _ = network.gates(inputs)
    gate = d_v * network.output[0]
    pulled = d_w * (gate @ network.second)
    smallest = math.inf
    for j, block in enumerate(blocks):
        slopes = torch.cat([gate * hidden[:, j : j + 1], pulled[:, j : j + 1] * inputs], dim=1)
        matrix = slopes.T @ slopes / len(inputs)
        matrix[: len(block), len(block) :] += block
        matrix[len(block) :, : len(block)] += block.T
        smallest = min(smallest, float(torch.linalg.eigvalsh(matrix)[0]))
    return smallest


def bilinear_blocks(network: PseudoNetwork, inputs: Tensor, slopes: Tensor) -> Tensor:
    """``M_j``, ``(m1, m2, d)``, for slopes ``dL/df`` ``(n, k)`` of the loss over all samples.

    Raises:
        InputError: two layers.
    """
    if network.second is None:
        raise InputError("A two-layer network has no bilinear part (its second-order term is zero), hence no such saddle.")
    d_w, _, d_v, _ = network.gates(inputs)
    return torch.einsum("ni,nj,nk->jik", (slopes @ network.output) * d_v, d_w, inputs)


def output_slopes(outputs: Tensor, targets: Tensor, loss: nn.Module) -> Tensor:
    """``dL/df`` of the whole loss at these outputs, ``(n, k)``."""
    table = _Table(outputs)
    return loss_gradient(Problem(table, torch.arange(len(outputs)), targets, loss)).reshape(outputs.shape)


class _Table(nn.Module):
    """Outputs as parameters, looked up by sample."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = nn.Parameter(outputs.detach().clone())

    def forward(self, rows: Tensor) -> Tensor:
        """The outputs of these samples."""
        return self.outputs[rows]
