"""Kernel learners on a given kernel: ridge regression, the choice of its ridge, and gradient descent in closed form.

All of it works on kernel matrices, so that it serves every kernel: empirical, infinite-width, or a user's own. The
ridge is measured per sample, ``K + n l I``, so that one value of l means the same at every n. The scikit-learn
estimators around it are in `isthmus.kernel.estimators`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from isthmus._core.errors import InputError, NumericalError, ShapeError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.linops.cg import conjugate_gradient, nystrom_preconditioner
from isthmus.linops.operator import DenseOperator, SymmetricOperator
from isthmus.results.kernel import Ntk

Solver = Literal["auto", "cholesky", "cg"]
_DENSE = 12_000
_SELECT = 4_000
_SKETCH = 200


@dataclass(frozen=True)
class RidgeChoice:
    """The score of every ridge tried.

    Attributes:
        ridges: l, ascending.
        scores: KARE of each, an estimate of the squared test error (summed over target columns).
        ridge: the best.
        at_edge: whether the best is the first or last tried; at the lower edge no regularization helps.
        samples: examples that the scores were computed on.
    """

    ridges: np.ndarray
    scores: np.ndarray
    ridge: float
    at_edge: bool
    samples: int


@dataclass(frozen=True)
class KernelFit:
    """Dual coefficients of a learner: predictions are ``K(x, X) @ coefficients``.

    Attributes:
        coefficients: ``(n, k)``.
        ridge: l of ``K + n l I``; None for gradient descent.
        choice: how the ridge was chosen; None when it was given.
        method: in words.
        residual: largest relative residual of the linear system; None where there is none.
        status: EXACT for a factorization, CONVERGED or MAX_STEPS for conjugate gradients.
    """

    coefficients: np.ndarray
    ridge: float | None
    choice: RidgeChoice | None
    method: str
    residual: float | None
    status: Status

    def predict(self, cross: Ntk | np.ndarray | Tensor) -> np.ndarray:
        """``K(x, X) @ coefficients`` for a kernel ``(m, n)`` between new and training points, ``(m, k)``.

        Raises:
            ShapeError: the kernel's columns are not the training points.
        """
        rows = kernel_matrix(cross)
        if rows.shape[1] != len(self.coefficients):
            raise ShapeError(
                f"The kernel between new and training points has shape {rows.shape}; (m, {len(self.coefficients)}) was "
                "needed, with one column for each training point."
            )
        return rows @ self.coefficients


class KernelSpectrum:
    """One eigendecomposition of a kernel that serves every ridge and every number of descent steps.

    Args:
        kernel: symmetric positive semidefinite, ``(n, n)``; rounding's negative eigenvalues count as zero.

    Raises:
        ShapeError: the kernel is not square.
        InputError: it is not finite, not symmetric, or clearly not positive semidefinite.
    """

    def __init__(self, kernel: Ntk | np.ndarray | Tensor) -> None:
        values, self.vectors = np.linalg.eigh(square_kernel(kernel))
        if values[0] < -1e-6 * max(values[-1], 0) * max(1, len(values) ** 0.5):
            raise InputError(
                f"The kernel has the eigenvalue {values[0]:.3g} (largest {values[-1]:.3g}), so it is no kernel: a kernel is "
                "positive semidefinite. Check that rows and columns are the same points in the same order."
            )
        self.values = values.clip(min=0)

    @cached_property
    def scale(self) -> float:
        """``trace K / n``, the mean diagonal."""
        return float(self.values.mean())

    def kare(self, targets: np.ndarray | Tensor, ridges: np.ndarray) -> np.ndarray:
        """``[(1/n) |(K/n + l)^-1 y|^2] / [(1/n) trace (K/n + l)^-1]^2`` for each ridge l.

        It estimates the squared test error, summed over the columns of y, and equals generalized cross-validation.
        """
        weights = (self.vectors.T @ target_columns(targets, len(self.values))) ** 2
        inverse = 1 / (self.values / len(self.values) + np.asarray(ridges, dtype=np.float64)[:, None])
        return (inverse**2 @ weights.sum(1) / len(self.values)) / inverse.mean(1) ** 2

    def choose(self, targets: np.ndarray | Tensor, ridges: Sequence[float] | np.ndarray | None = None) -> RidgeChoice:
        """The ridge of least KARE.

        Args:
            targets: y, ``(n,)`` or ``(n, k)``.
            ridges: candidates l; by default 45 from 1e-7 to 1e4 times ``trace K / n^2``.
        """
        tried = self.default_ridges() if ridges is None else np.sort(np.asarray(ridges, dtype=np.float64).reshape(-1))
        if tried.size == 0 or not (tried > 0).all() or not np.isfinite(tried).all():
            raise InputError("The ridges to choose from must be positive, finite numbers.")
        scores = self.kare(targets, tried)
        best = int(np.argmin(scores))
        return RidgeChoice(tried, scores, float(tried[best]), best in (0, len(tried) - 1), len(self.values))

    def default_ridges(self) -> np.ndarray:
        """45 ridges from 1e-7 to 1e4 times ``trace K / n^2``, evenly in the logarithm."""
        return np.logspace(-7, 4, 45) * max(self.scale, 1e-300) / len(self.values)

    def filtered(self, targets: np.ndarray | Tensor, gains: np.ndarray) -> np.ndarray:
        """``sum_i g_i v_i v_i^T y``: dual coefficients of a spectral filter, ``(n, k)``."""
        return self.vectors @ (gains[:, None] * (self.vectors.T @ target_columns(targets, len(self.values))))

    def ridge(self, targets: np.ndarray | Tensor, ridge: float | None = None) -> KernelFit:
        """Ridge regression from the spectrum; the ridge is chosen by KARE when left out."""
        choice = self.choose(targets) if ridge is None else None
        chosen = choice.ridge if choice is not None else _positive(ridge)
        coefficients = self.filtered(targets, 1 / (self.values + len(self.values) * chosen))
        return KernelFit(coefficients, chosen, choice, "kernel ridge regression, eigendecomposition", None, Status.EXACT)

    def descent(self, targets: np.ndarray | Tensor, rate: float, steps: int, momentum: float = 0.0) -> KernelFit:
        """What `steps` of gradient descent on ``|f - y|^2 / 2`` (a sum, no 1/n) from f = 0 arrive at.

        ``f_t = y - (I - rate K)^t y`` on the training points without momentum; with it, torch's heavy ball
        ``v <- momentum v + gradient, w <- w - rate v``. For a network that starts elsewhere pass ``y - f_0`` and add
        f_0 to the predictions; for a mean loss divide the rate by n.

        Args:
            targets: y, ``(n,)`` or ``(n, k)``.
            rate: learning rate; stable below ``2 (1 + momentum) / largest eigenvalue``.
            steps: how many, 0 or more.
            momentum: in [0, 1).

        Raises:
            InputError: a choice is out of range, or the rate is unstable.
        """
        if steps < 0 or int(steps) != steps or rate <= 0 or not 0 <= momentum < 1:
            raise InputError(f"Needed steps >= 0, rate > 0, 0 <= momentum < 1; found {steps}, {rate}, {momentum}.")
        limit = 2 * (1 + momentum) / max(float(self.values[-1]), 1e-300)
        if rate > limit:
            raise InputError(
                f"A learning rate of {rate:.4g} diverges on this kernel: it must stay below 2 (1 + momentum) / largest "
                f"eigenvalue = {limit:.4g}. For a mean loss divide the network's rate by n."
            )
        return KernelFit(
            coefficients=self.filtered(targets, _descent_gains(self.values, rate, int(steps), momentum)),
            ridge=None,
            choice=None,
            method=f"{steps} steps of gradient descent in closed form, rate {rate:.4g}, momentum {momentum:g}",
            residual=None,
            status=Status.EXACT,
        )


def kernel_ridge(
    kernel: Ntk | np.ndarray | Tensor | SymmetricOperator,
    targets: np.ndarray | Tensor,
    ridge: float | None = None,
    *,
    solver: Solver = "auto",
    rtol: float = 1e-8,
    seed: Seed | int = 0,
) -> KernelFit:
    """Solve ``(K + n l I) a = y``; a new point's prediction is ``K(x, X) a``.

    Args:
        kernel: symmetric positive semidefinite ``(n, n)``; an `Ntk` record of any outputs is flattened to
            ``(n c, n c)``. A `SymmetricOperator` is used by its products alone.
        targets: y, ``(n,)`` or ``(n, k)``.
        ridge: l > 0; chosen by KARE when left out, on at most 4000 seeded samples (l does not depend on n).
        solver: ``"cholesky"`` (n^3/3 operations), ``"cg"`` (conjugate gradients with a Nyström preconditioner of rank
            200; n^2 per step), or ``"auto"``: Cholesky up to n = 12000 for a matrix, conjugate gradients otherwise.
        rtol: relative residual at which conjugate gradients stop.
        seed: names the draws of conjugate gradients and of the selection's samples.

    Returns:
        The coefficients, with the choice of ridge and the residual.

    Raises:
        ShapeError: shapes do not fit.
        InputError: the kernel is not symmetric or finite, the ridge is not positive, or is needed and missing.
        NumericalError: the matrix is not positive definite.
    """
    seed = as_seed(seed)
    if solver not in ("auto", "cholesky", "cg"):
        raise InputError(f"solver={solver!r} is unknown; write 'auto', 'cholesky' or 'cg'.")
    if isinstance(kernel, SymmetricOperator):
        if ridge is None or solver == "cholesky":
            raise InputError("A kernel known by its products alone needs ridge=, and solver='cg' or 'auto'.")
        return _iterate(kernel, target_columns(targets, kernel.shape[0]), _positive(ridge), None, rtol, seed)
    gram = square_kernel(kernel)
    columns = target_columns(targets, len(gram))
    iterative = solver == "cg" or (solver == "auto" and len(gram) > _DENSE)
    if ridge is None and not iterative and len(gram) <= _SELECT:
        return KernelSpectrum(gram).ridge(columns)
    choice = _choose(gram, columns, seed) if ridge is None else None
    chosen = choice.ridge if choice is not None else _positive(ridge)
    if iterative:
        return _iterate(DenseOperator(torch.from_numpy(gram)), columns, chosen, choice, rtol, seed)
    return _factorize(gram, columns, chosen, choice)


def kernel_matrix(kernel: Ntk | np.ndarray | Tensor) -> np.ndarray:
    """A kernel as a float64 matrix; a full ``(n, c, m, d)`` kernel is flattened to ``(n c, m d)``.

    Raises:
        ShapeError: it has neither two nor four axes.
    """
    array = (
        kernel.kernel if isinstance(kernel, Ntk) else kernel.cpu().numpy() if isinstance(kernel, Tensor) else np.asarray(kernel)
    )
    if array.ndim == 4:
        array = array.reshape(array.shape[0] * array.shape[1], -1)
    if array.ndim != 2:
        raise ShapeError(f"A kernel matrix (n, m) or a kernel (n, c, m, d) was needed, found shape {array.shape}.")
    return array.astype(np.float64, copy=False)


def square_kernel(kernel: Ntk | np.ndarray | Tensor) -> np.ndarray:
    """A symmetric kernel matrix in float64.

    Raises:
        ShapeError: the kernel is not square.
        InputError: it is not finite or not symmetric.
    """
    gram = kernel_matrix(kernel)
    if gram.shape[0] != gram.shape[1] or len(gram) == 0:
        raise ShapeError(f"The kernel of the training points with themselves was needed, a square matrix; found {gram.shape}.")
    if not np.isfinite(gram).all():
        raise InputError("The kernel holds NaN or infinite entries, so no learner can be fitted to it.")
    gap = float(np.abs(gram - gram.T).max())
    if gap > 1e-4 * float(np.abs(gram).max()):
        raise InputError(f"The kernel is not symmetric (largest difference {gap:.3g}); rows and columns must be the same points.")
    return gram


def target_columns(targets: np.ndarray | Tensor, samples: int) -> np.ndarray:
    """Real targets as float64 columns ``(n, k)``.

    Raises:
        ShapeError: another number of samples than the kernel.
        InputError: not finite.
    """
    array = targets.detach().cpu().numpy() if isinstance(targets, Tensor) else np.asarray(targets)
    if array.ndim == 0 or len(array) != samples:
        raise ShapeError(f"The kernel is over {samples} points and the targets have shape {array.shape}.")
    columns = array.reshape(samples, -1).astype(np.float64)
    if not np.isfinite(columns).all():
        raise InputError("The targets hold NaN or infinite entries.")
    return columns


def _factorize(gram: np.ndarray, columns: np.ndarray, ridge: float, choice: RidgeChoice | None) -> KernelFit:
    shifted = gram.copy()
    shifted[np.diag_indices_from(shifted)] += len(gram) * ridge
    try:
        factor = scipy.linalg.cho_factor(shifted, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError as fault:
        raise NumericalError(
            Status.BREAKDOWN, f"K + n l I is not positive definite at l = {ridge:.3g}; K is no kernel, or l is below its rounding"
        ) from fault
    solution = scipy.linalg.cho_solve(factor, columns, check_finite=False)
    rest = columns - gram @ solution - len(gram) * ridge * solution
    return KernelFit(solution, ridge, choice, "kernel ridge regression, Cholesky", _relative(rest, columns), Status.EXACT)


def _iterate(
    operator: SymmetricOperator, columns: np.ndarray, ridge: float, choice: RidgeChoice | None, rtol: float, seed: Seed
) -> KernelFit:
    size = operator.shape[0]
    shift = size * ridge
    inverse = nystrom_preconditioner(operator, min(_SKETCH, size), shift, seed=seed.child("sketch"))
    right = torch.from_numpy(columns).to(operator.device, operator.dtype)
    solved = conjugate_gradient(operator, right, shift=shift, preconditioner=inverse, rtol=rtol)
    method = f"kernel ridge regression, {solved.steps} steps of conjugate gradients, Nyström preconditioner"
    return KernelFit(
        solved.solution.double().cpu().numpy(), ridge, choice, method, float(solved.residuals.max(initial=0.0)), solved.status
    )


def _choose(gram: np.ndarray, columns: np.ndarray, seed: Seed) -> RidgeChoice:
    rows = np.arange(len(gram))
    if len(gram) > _SELECT:
        rows = np.sort(seed.child("selection").numpy().choice(len(gram), _SELECT, replace=False))
    return KernelSpectrum(gram[np.ix_(rows, rows)]).choose(columns[rows])


def _descent_gains(values: np.ndarray, rate: float, steps: int, momentum: float) -> np.ndarray:
    """The dual coefficient per unit target after `steps`, for each eigenvalue, by powers of one affine map each.

    State ``(a, v, 1)``: ``v <- momentum v + lambda a - 1``, ``a <- a - rate v``.
    """
    step = np.zeros((len(values), 3, 3))
    step[:, 1] = np.stack([values, np.full_like(values, momentum), np.full_like(values, -1.0)], axis=1)
    step[:, 0] = [1.0, 0.0, 0.0] - rate * step[:, 1]
    step[:, 2, 2] = 1.0
    return np.linalg.matrix_power(step, steps)[:, 0, 2]


def _positive(ridge: float | None) -> float:
    if ridge is None or not 0 < ridge < np.inf:
        raise InputError(f"The ridge must be a positive number, found {ridge}; it is added as n times ridge to the diagonal.")
    return float(ridge)


def _relative(rest: np.ndarray, columns: np.ndarray) -> float:
    norms = np.linalg.norm(columns, axis=0)
    return float((np.linalg.norm(rest, axis=0) / np.where(norms > 0, norms, 1)).max(initial=0.0))
