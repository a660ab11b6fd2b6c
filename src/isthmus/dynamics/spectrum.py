"""Modes of the loss-scaled tangent kernel, and the error's projections on them."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError, VerificationError
from isthmus._core.numerics import rank_cutoff
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.dynamics.degeneracy import degenerate_causes
from isthmus.dynamics.scaling import ScaledLoss, is_quadratic, scaled_loss
from isthmus.kernel import empirical_ntk
from isthmus.linops.eigen import top_eigenpairs
from isthmus.linops.operator import SymmetricOperator
from isthmus.model.derivatives import output_jvp, output_vjp
from isthmus.model.problem import Problem, provenance
from isthmus.results.dynamics import Spectrum
from isthmus.results.provenance import Cost

_FULL_LIMIT = 4000
_SHARE = 0.99


def spectrum(
    problem: Problem,
    *,
    modes: int | None = None,
    rtol: float = 1e-6,
    seed: Seed | int = 0,
    verify: bool = True,
) -> Spectrum:
    """Eigenvalues of the loss-scaled tangent kernel and what they do to the error.

    ``H = B^{1/2} K B^{1/2}`` with the empirical kernel ``K = J J^T`` of the network as it stands and B the loss's Hessian in
    the outputs; ``z_i = v_i . u_0`` (see `isthmus.results.dynamics`). The nonzero eigenvalues are those of the Gauss-Newton
    matrix of the loss that was given, so ``lr * values[0]`` is what every stability limit bounds. In float64.

    All ``n c`` modes are computed when they number at most 4000; above that (or with `modes`) the largest ones by Lanczos,
    and one bucket for the rest: its part of the error and an interval for its eigenvalues.

    Args:
        problem: network, data and loss; evaluated in evaluation mode.
        modes: how many of the largest modes; all of them, or 50 of a large problem, by default.
        rtol: tolerance of the Lanczos residuals, relative to the largest eigenvalue.
        seed: names Lanczos' start vectors.
        verify: compare one quadratic form with reverse mode, and the trace with the sum of eigenvalues.

    Returns:
        The spectrum. Cost: the kernel and ``(n c)^3`` operations, or one vector-Jacobian and one Jacobian-vector product for
        each Lanczos step.

    Raises:
        InputError: `modes` is out of range.
        HypothesisError: the loss is not convex and curved in the outputs.
        VerificationError: a self-check fails.

    References:
        Jacot, Gabriel, Hongler 2018; Bu, Xu, Chen 2020 (arXiv 2010.13165) for the dynamics read off it.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    problem = problem.eval().to(torch.float64)
    size = problem.samples * problem.outputs
    if modes is not None and not 1 <= modes <= size:
        raise InputError(f"modes = {modes} were asked of a kernel with {size} modes (n c); write a number in 1..{size}.")
    scaled = scaled_loss(problem)
    if modes is None and size <= _FULL_LIMIT:
        found = _full(problem, scaled, verify)
    else:
        found = _largest(problem, scaled, modes or min(50, size), rtol, seed)
    return _record(problem, scaled, found, seed, verify, started)


@dataclass(frozen=True)
class _Modes:
    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    complete: bool
    matvecs: int
    status: Status
    method: str


def _full(problem: Problem, scaled: ScaledLoss, verify: bool) -> _Modes:
    kernel = empirical_ntk(problem.network, problem.inputs, verify=verify).matrix.astype(np.float64)
    matrix = scaled.scale(scaled.scale(kernel).T)
    matrix = (matrix + matrix.T) / 2
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = values[::-1].copy(), vectors[:, ::-1].copy()
    if verify and abs(values.sum() - np.trace(matrix)) > 1e-9 * max(np.trace(matrix), 1e-300):
        raise VerificationError("The eigenvalues of the scaled kernel do not add up to its trace; do not use them.")
    values = np.maximum(values, 0.0)
    return _Modes(values, vectors, np.zeros(len(values)), True, 0, Status.EXACT, "full symmetric eigendecomposition")


class ScaledKernel(SymmetricOperator):
    """``u -> B^{1/2} J J^T B^{1/2} u`` without forming the kernel."""

    def __init__(self, problem: Problem, scaled: ScaledLoss) -> None:
        super().__init__(problem.samples * problem.outputs, torch.float64, problem.network.device)
        self.problem, self.scaled = problem, scaled

    def _matmat(self, columns: Tensor) -> Tensor:
        return torch.stack([self._product(column) for column in columns.unbind(1)], dim=1)

    def _product(self, column: Tensor) -> Tensor:
        network, inputs = self.problem.network, self.problem.inputs
        inner = torch.from_numpy(self.scaled.scale(column.cpu().numpy())).to(column)
        moved = output_jvp(network, inputs, self._between(output_vjp(network, inputs, inner.reshape(len(inputs), -1))))
        return torch.from_numpy(self.scaled.scale(moved.reshape(-1).cpu().numpy())).to(column)

    def _between(self, direction: Tensor) -> Tensor:
        """What happens to the direction in weight space, between J^T and J: nothing."""
        return direction


def _largest(problem: Problem, scaled: ScaledLoss, count: int, rtol: float, seed: Seed) -> _Modes:
    operator = ScaledKernel(problem, scaled)
    pairs = top_eigenpairs(operator, count, rtol=rtol, seed=seed.child("spectrum"))
    complete = count == operator.shape[0]
    return _Modes(
        np.maximum(pairs.values, 0.0),
        pairs.vectors.cpu().numpy(),
        pairs.residuals,
        complete,
        pairs.matvecs,
        pairs.status,
        f"{count} largest modes by thick-restart Lanczos",
    )


def _record(problem: Problem, scaled: ScaledLoss, found: _Modes, seed: Seed, verify: bool, started: float) -> Spectrum:
    size = len(scaled.error)
    cutoff = 4 * rank_cutoff(float(found.values[0]), size, "float64")
    coefficients = found.vectors.T @ scaled.error
    zero = found.values <= cutoff
    total = float(scaled.error @ scaled.error)
    outside, quotient = (0.0, 0.0) if found.complete else _bucket(ScaledKernel(problem, scaled), scaled.error, found.vectors)
    unreachable = 0.5 * float(coefficients[zero] @ coefficients[zero])
    start = problem.network
    origin = output_jvp(start, problem.inputs, start.flat).reshape(-1).double().cpu().numpy()
    positive = found.values[~zero]
    return Spectrum(
        values=found.values,
        coefficients=coefficients,
        vectors=found.vectors,
        residuals=found.residuals,
        scaled_error=scaled.error,
        pull=found.vectors.T @ scaled.scale(origin),
        offset=scaled.offset,
        loss=scaled.loss,
        loss_name=problem.loss.name,
        quadratic=is_quadratic(problem),
        outputs=problem.outputs,
        parameters=problem.network.size,
        cutoff=cutoff,
        zero_modes=int(zero.sum()),
        flat_modes=scaled.null,
        smallest=_smallest(found, int(zero.sum()), scaled.null),
        condition=float(positive[0] / positive[-1]) if len(positive) else float("nan"),
        floor=scaled.offset + unreachable,
        effective_modes=_effective(coefficients, total),
        bucket_norm=outside,
        bucket_value=quotient,
        bucket_bounds=(0.0, 0.0 if found.complete else float(found.values[-1] + found.residuals[-1])),
        causes=degenerate_causes(problem) if found.complete and zero.sum() > scaled.null else [],
        complete=found.complete,
        status=found.status,
        method=f"{found.method} of the tangent kernel of {problem.samples} samples, scaled by the Hessian of {problem.loss.name}",
        error="residual |H v - lambda v| of each mode" if found.matvecs else "rounding of float64",
        cost=Cost(matvecs=found.matvecs, seconds=time.perf_counter() - started),
        provenance=provenance(problem, seed, verified=verify),
    )


def _bucket(operator: ScaledKernel, error: np.ndarray, vectors: np.ndarray) -> tuple[float, float]:
    """Norm of the error outside the computed modes, and H's Rayleigh quotient on that part."""
    rest = torch.from_numpy(error - vectors @ (vectors.T @ error))
    square = float(rest @ rest)
    return (square**0.5, float(rest @ (operator @ rest)) / square) if square > 0 else (0.0, 0.0)


def _smallest(found: _Modes, zeros: int, flat: int) -> float:
    """The smallest eigenvalue apart from directions in which the loss does not curve."""
    if not found.complete:
        return float("nan")
    return 0.0 if zeros > flat else float(found.values[len(found.values) - 1 - flat])


def _effective(coefficients: np.ndarray, total: float) -> int:
    """How many modes, largest share first, carry 99 % of the squared error; all of them when the computed ones do not."""
    shares = np.sort(coefficients**2)[::-1].cumsum()
    return int(min(np.searchsorted(shares, _SHARE * total) + 1, len(shares)))
