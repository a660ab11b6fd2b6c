"""The split algebra: what one unit's pair (S, D) says about every way of splitting it.

Splitting unit j into copies with outgoing shares ``w_1 + .. + w_k = 1`` adds to the Hessian, up to exact congruence, a
block that is made of ``S_j = sum_x <e, u_j> d^2 phi`` (own parameters) and ``D_j = sum_x e (x) d phi`` alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus.curvature.spectrum import InertiaCount, count_inertia
from isthmus.model.unit_derivatives import FrozenErrors
from isthmus.results.critical import Inertia


@dataclass(frozen=True)
class SplitBlocks:
    """The pairs of some units.

    Attributes:
        stiffness: S, ``(m, d_p, d_p)``, symmetric.
        coupling: D, ``(m, d_u, d_p)``.
    """

    stiffness: Tensor
    coupling: Tensor


def split_blocks(frozen: FrozenErrors, units: Sequence[int] | None = None) -> SplitBlocks:
    """S and D of a group's units as matrices.

    Args:
        frozen: the frozen-error functional.
        units: which; all by default.

    Returns:
        The blocks. Cost: ``d_p`` Hessian products of the functional, which serve all units together.
    """
    own, out = frozen.blocks.sizes
    chosen = list(range(frozen.group.size)) if units is None else list(units)
    direction = torch.zeros(frozen.group.size, own, dtype=frozen.problem.network.dtype, device=frozen.problem.network.device)
    nothing = direction.new_zeros(frozen.group.size, out)
    columns = []
    for k in range(own):
        direction.zero_()
        direction[:, k] = 1
        curved, pulled = frozen(direction, nothing)
        columns.append((curved[chosen], pulled[chosen]))
    stiffness = torch.stack([c for c, _ in columns], dim=2)
    return SplitBlocks((stiffness + stiffness.mT) / 2, torch.stack([d for _, d in columns], dim=2))


def split_inertia(
    stiffness: np.ndarray, coupling: np.ndarray, weights: Sequence[float], *, scale: float, cutoff: float
) -> InertiaCount:
    """The inertia that splitting one unit adds, from its pair alone.

    With r = rank D, ``(n-, n0, n+)`` the inertia of S on ker D, and p positive, q negative, z zero shares among k:
    ``((k-1) r + (p-1) n- + q n+,  (k-1)(d_u - r) + z (d_p - r) + (p-1+q) n0,  (k-1) r + (p-1) n+ + q n-)``.

    Args:
        stiffness: S, ``(d_p, d_p)``.
        coupling: D, ``(d_u, d_p)``.
        weights: the shares.
        scale: magnitude that the relative cut-off refers to, the same for all matrices compared.
        cutoff: relative; what lies below is zero.

    Returns:
        The counts; `resolved` when the rank of D and the inertia of S on its kernel both are.
    """
    rank, kernel, sure = _kernel(coupling, scale, cutoff)
    inner = count_inertia(np.linalg.eigvalsh(kernel.T @ stiffness @ kernel), cutoff=cutoff, scale=scale)
    p, q, z = (sum(1 for w in weights if test(w)) for test in (lambda w: w > 0, lambda w: w < 0, lambda w: w == 0))
    extra, n = len(weights) - 1, inner.inertia
    d_u, d_p = coupling.shape
    total = Inertia(
        extra * rank + (p - 1) * n.negative + q * n.positive,
        extra * (d_u - rank) + z * (d_p - rank) + (p - 1 + q) * n.zero,
        extra * rank + (p - 1) * n.positive + q * n.negative,
    )
    needed = p - 1 + q > 0
    return InertiaCount(total, inner.cutoff, inner.gap if needed else np.inf, sure and (inner.resolved or not needed))


def null_inertia(coupling: np.ndarray, *, scale: float, cutoff: float) -> InertiaCount:
    """The inertia that a null unit adds: ``(r, d_p + d_u - 2 r, r)`` with r the rank of its D."""
    rank, _, sure = _kernel(coupling, scale, cutoff)
    d_u, d_p = coupling.shape
    return InertiaCount(Inertia(rank, d_p + d_u - 2 * rank, rank), cutoff * scale, np.inf, sure)


def split_verdict(stiffness: np.ndarray, coupling: np.ndarray, *, base: Inertia, scale: float, cutoff: float) -> tuple[str, str]:
    """What a two-way split of a unit makes of a critical point, and the shares alpha for which it does.

    Args:
        stiffness: S, ``(d_p, d_p)``.
        coupling: D, ``(d_u, d_p)``.
        base: inertia of the narrow point.
        scale: magnitude that the cut-off refers to.
        cutoff: relative.

    Returns:
        Label (``strict saddle``, ``minimum with flat directions``, ``undecided`` or ``unresolved``) and alpha interval.
    """
    rank, kernel, sure = _kernel(coupling, scale, cutoff)
    count = count_inertia(np.linalg.eigvalsh(kernel.T @ stiffness @ kernel), cutoff=cutoff, scale=scale)
    inner = count.inertia
    if base.negative:
        return "strict saddle", "every alpha (the narrow point is one)"
    if not (sure and count.resolved):
        return "unresolved", "no gap between zero and the rest"
    if rank:
        return "strict saddle", "every alpha, 0 and 1 included"
    if inner.negative and inner.positive:
        return "strict saddle", "every alpha but 0 and 1 (there undecided)"
    if not inner.negative and not inner.positive:
        return "undecided", "every alpha (no curvature at second order)"
    side, other = ("0 < alpha < 1", "alpha outside [0, 1]")[:: 1 if inner.positive else -1]
    if base.zero or inner.zero:
        return "undecided", f"{side}; strict saddle for {other}"
    return "minimum with flat directions", f"{side}; strict saddle for {other}; undecided at 0 and 1"


def _kernel(coupling: np.ndarray, scale: float, cutoff: float) -> tuple[int, np.ndarray, bool]:
    """Rank of D, an orthonormal basis of its kernel, and whether the rank is clear."""
    _, values, right = np.linalg.svd(coupling, full_matrices=True)
    count = count_inertia(values, cutoff=cutoff, scale=scale)
    rank = count.inertia.positive
    return rank, right[rank:].T, count.resolved
