"""The whole spectrum of a small network's Hessian, and its inertia with one cut-off."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import NumericalError
from isthmus._core.numerics import EPSILON
from isthmus._core.status import Status
from isthmus.engine.memory import require_memory
from isthmus.model.derivatives import HessianProduct
from isthmus.model.problem import Problem, provenance
from isthmus.results.critical import Inertia, Spectrum
from isthmus.results.provenance import Cost

CUTOFF = 1e-13
GAP = 1e3
_CLEAR = 10.0


@dataclass(frozen=True)
class InertiaCount:
    """An inertia with the evidence that it can be counted at all.

    Attributes:
        inertia: negative, zero, positive.
        cutoff: the magnitude up to which eigenvalues count as zero.
        gap: smallest magnitude above the cut-off over the largest below it, rounding at least.
        resolved: gap of at least 1e3, no magnitude within a factor 10 of the cut-off, none between it and the uncertainty.
    """

    inertia: Inertia
    cutoff: float
    gap: float
    resolved: bool


def count_inertia(
    values: np.ndarray, *, cutoff: float = CUTOFF, scale: float | None = None, uncertainty: float = 0.0
) -> InertiaCount:
    """Negative, zero and positive eigenvalues with one cut-off, ``|lambda| <= cutoff * scale`` counting as zero.

    Args:
        values: eigenvalues, ``(p,)``.
        cutoff: relative to `scale`; never below ``p eps``.
        scale: the largest magnitude by default; pass one scale to compare several matrices.
        uncertainty: absolute error that the eigenvalues may have beyond rounding; any that lies between the cut-off and
            this level makes the count unresolved.

    Returns:
        Counts, the absolute cut-off, the gap around it, and whether it can be trusted.

    Raises:
        NumericalError: an eigenvalue is not finite.
    """
    if not np.isfinite(values).all():
        raise NumericalError(Status.NOT_FINITE, "an eigenvalue whose sign was to be counted")
    size = np.abs(np.asarray(values, dtype=np.float64))
    largest = float(size.max(initial=0.0)) if scale is None else scale
    relative = max(cutoff, len(size) * EPSILON["float64"])
    line, rounding = relative * largest, EPSILON["float64"] * max(largest, 1e-300)
    zero = size <= line
    above = float(size[~zero].min()) if (~zero).any() else np.inf
    below = max(float(size[zero].max()) if zero.any() else 0.0, rounding)
    inertia = Inertia(int((values[~zero] < 0).sum()), int(zero.sum()), int((values[~zero] > 0).sum()))
    doubtful = bool(((size > line) & (size <= uncertainty)).any())
    gap, clear = above / below, above >= _CLEAR * line and (_CLEAR * below <= line or largest == 0)
    return InertiaCount(inertia, line, gap, bool(gap >= GAP and clear and not doubtful))


def dense_hessian(problem: Problem) -> Tensor:
    """The Hessian of the loss that was given as a symmetric matrix ``(p, p)``.

    Cost: p Hessian products; memory ``8 p^2`` bytes in float64.

    Raises:
        BudgetError: the matrix does not fit in memory.
    """
    network = problem.network
    require_memory(
        3 * network.size**2 * network.flat.element_size(),
        what=f"The dense Hessian of {network.size} parameters",
        instead="hessian_eigenvalues, which needs products only",
    )
    matrix = HessianProduct(problem)(torch.eye(network.size, dtype=network.dtype, device=network.device))
    return (matrix + matrix.T) / 2


def hessian_spectrum(problem: Problem, *, cutoff: float = CUTOFF) -> Spectrum:
    """All Hessian eigenvalues of a small network, in float64, with their inertia.

    Args:
        problem: network, data and loss; taken to float64.
        cutoff: eigenvalues up to ``cutoff * max |lambda|`` count as zero.

    Returns:
        The spectrum; status UNRESOLVED when no gap of 1e3 separates zero from the rest.

    Raises:
        BudgetError: the network is too large for a dense matrix.
    """
    started, problem = time.perf_counter(), problem.eval().to(torch.float64)
    values = torch.linalg.eigvalsh(dense_hessian(problem)).cpu().numpy()
    count = count_inertia(values, cutoff=cutoff)
    return Spectrum(
        values=values,
        inertia=count.inertia,
        cutoff=count.cutoff,
        gap=count.gap,
        resolved=count.resolved,
        status=Status.EXACT if count.resolved else Status.UNRESOLVED,
        method=f"dense Hessian of {problem.loss.name} over {problem.samples} samples, float64",
        error=None,
        cost=Cost(matvecs=len(values), seconds=time.perf_counter() - started),
        provenance=provenance(problem),
    )
