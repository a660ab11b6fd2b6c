"""What kind of critical point a small network stands at, or an honest "unresolved"."""

import math
import time

import numpy as np
import torch
from torch import Tensor

from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature.spectrum import CUTOFF, InertiaCount, count_inertia, dense_hessian
from isthmus.linops.random import gaussian
from isthmus.model.derivatives import loss_gradient, loss_value
from isthmus.model.populations import Population
from isthmus.model.problem import Problem, provenance
from isthmus.results.critical import Certificate
from isthmus.results.provenance import Cost

_RELAXATIONS = 8
_DRAWS = 12
_STEPS = (1e-2, 1e-1)


def certify(problem: Problem, *, tolerance: float = 1e-10, cutoff: float = CUTOFF, seed: Seed | int = 0) -> Certificate:
    """Gradient norm, inertia and kind of the point at which a small network stands.

    Eigenvalues up to ``cutoff * max |lambda|`` count as zero. The point is taken to be off the exact critical one by
    ``d = -H^+ g``; eigenvalues between the cut-off and ``|H(w + d) - H(w)|`` make the answer `unresolved`, as does a
    spectrum without a gap of 1e3 around the cut-off. Where the Hessian is positive semidefinite with zeros, the loss is
    followed along zero directions, all other directions relaxed: unchanged means flat, lower means a saddle of higher
    order, anything else stays `undecided`.

    Args:
        problem: network (small enough for a dense Hessian), data and loss; taken to float64.
        tolerance: gradient norm above which the point is `not critical`.
        cutoff: relative cut-off for zero eigenvalues.
        seed: names the random combinations of zero directions.

    Returns:
        The certificate, status UNRESOLVED when the label is `unresolved` or `undecided`.

    Raises:
        BudgetError: the network is too large for a dense Hessian.
    """
    started, problem = time.perf_counter(), problem.eval().to(torch.float64)
    point = problem.network.flat
    gradient, hessian = loss_gradient(problem), dense_hessian(problem)
    values, basis = torch.linalg.eigh(hessian)
    slope, largest = float(gradient.norm()), float(values.abs().max())
    uncertainty = _uncertainty(problem, hessian, values, basis, gradient) if slope <= tolerance else math.nan
    count = count_inertia(values.cpu().numpy(), cutoff=cutoff, uncertainty=0.0 if math.isnan(uncertainty) else uncertainty)
    change = np.full(2, np.nan)
    psd = count.resolved and count.inertia.negative == 0 and count.inertia.zero > 0
    if slope <= tolerance and psd:
        change = _along_zeros(problem, values, basis, count, as_seed(seed))
    label, reason = _label(slope, tolerance, count, change, largest)
    return Certificate(
        values=values.cpu().numpy(),
        flat_change=change,
        loss=loss_value(problem),
        loss_name=problem.loss.name,
        gradient_norm=slope,
        relative_gradient=slope / max(largest * float(point.norm()), 1e-300),
        inertia=count.inertia,
        cutoff=count.cutoff,
        gap=count.gap,
        uncertainty=uncertainty,
        label=label,
        reason=reason,
        status=Status.UNRESOLVED if label in ("unresolved", "undecided") else Status.EXACT,
        method=f"dense Hessian of {problem.loss.name} over {problem.samples} samples, float64; zero up to {cutoff:g} x largest",
        error="eigenvalues may move by `uncertainty` on the way to the exact critical point",
        cost=Cost(matvecs=2 * len(values), seconds=time.perf_counter() - started),
        provenance=provenance(problem, as_seed(seed)),
    )


def _uncertainty(problem: Problem, hessian: Tensor, values: Tensor, basis: Tensor, gradient: Tensor) -> float:
    """``|H(w + d) - H(w)|`` (spectral norm) for the Newton step d over eigenvalues above rounding."""
    keep = values.abs() > 1e-12 * values.abs().max()
    step = -(basis[:, keep] @ ((basis[:, keep].T @ gradient) / values[keep]))
    moved = dense_hessian(problem.at(problem.network.flat + step))
    return float(torch.linalg.matrix_norm(moved - hessian, ord=2))


def _along_zeros(problem: Problem, values: Tensor, basis: Tensor, count: InertiaCount, seed: Seed) -> np.ndarray:
    """Lowest and highest change of the loss along zero directions, the others relaxed by Newton steps; over size^2."""
    zero = values.abs() <= count.cutoff
    flat, stiff, bends = basis[:, zero], basis[:, ~zero], values[~zero]
    mixes = gaussian((flat.shape[1], _DRAWS), seed.child("flat"), torch.float64, problem.network.device)
    mixes = torch.cat([torch.eye(flat.shape[1], dtype=mixes.dtype, device=mixes.device)[:, :_DRAWS], mixes], dim=1)
    lines = (flat @ (mixes / mixes.norm(dim=0))).T
    point, population = problem.network.flat, Population(problem)
    size = float(point.abs().mean().clamp_min(1e-3))
    moves = torch.cat([sign * step * size * lines for step in _STEPS for sign in (1, -1)])
    lengths = moves.square().sum(1)
    points = point + moves
    start = population.losses(point[None])[0]
    for _ in range(_RELAXATIONS):
        _, gradients = population.gradients(points)
        points = points - ((gradients @ stiff) / bends) @ stiff.T
    change = (population.losses(points) - start) / lengths
    return np.array([float(change.min()), float(change.max())])


def _label(slope: float, tolerance: float, count: InertiaCount, change: np.ndarray, largest: float) -> tuple[str, str]:
    if not slope <= tolerance:
        return "not critical", f"the gradient norm {slope:.3g} is above {tolerance:.3g}; polish the point first"
    if not count.resolved:
        return (
            "unresolved",
            f"eigenvalues lie too near the cut-off {count.cutoff:.3g} to be told from zero (gap ratio {count.gap:.3g})",
        )
    if count.inertia.negative:
        return "strict saddle", f"{count.inertia.negative} negative eigenvalues, gap {count.gap:.3g}"
    if count.inertia.zero == 0:
        return "strict minimum", f"all {count.inertia.positive} eigenvalues positive, gap {count.gap:.3g}"
    line = 1e-10 * largest
    if change[0] < -line:
        return (
            "higher-order saddle",
            f"no negative eigenvalue, yet along a zero direction the loss falls ({change[0]:.3g} x length^2)",
        )
    if change[1] <= line:
        return "minimum with flat directions", f"the loss is constant along all {count.inertia.zero} zero directions tried"
    return "undecided", f"{count.inertia.zero} zero eigenvalues along which the loss is not constant"
