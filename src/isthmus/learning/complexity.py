"""Complexity of smooth target functions, in log space, and the orders of samples and width that it implies.

``C_s(phi, R) = C* sum_i (i+1)^1.75 R^i |c_i|`` drives the number of samples and
``C_eps(phi, R) = sum_i [(C* R)^i + (sqrt(log(1/eps)/i) C* R)^i] |c_i|`` the width, for ``phi(z) = sum c_i z^i``. The constant
C* is unspecified ("sufficiently large"); every value here is for the C* that was passed. At i = 0 the second term of
C_eps counts as 1. As stated at second hand by Panigrahi and Goyal (NeurIPS 2021).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, special

from isthmus._core.errors import InputError, NumericalError
from isthmus._core.status import Status
from isthmus.kernel.ridge import square_kernel, target_columns
from isthmus.learning.series import PowerSeries

CONSTANT = 1e4
_BLOCK, _MOST = 4096, 2**23
_TAIL = 1e-13
LN10 = math.log(10)


@dataclass(frozen=True)
class Complexity:
    """A measure as a power of ten.

    Attributes:
        log10: of the value; infinite where the series diverges.
        converges: whether the radius lies within the radius of convergence.
        terms: summed.
    """

    log10: float
    converges: bool
    terms: int

    @property
    def value(self) -> float:
        """The number itself; infinite when no float holds it."""
        return 10**self.log10 if self.log10 < 308 else math.inf


def sample_complexity(series: PowerSeries, radius: float = 1.0, *, constant: float = CONSTANT) -> Complexity:
    """``C_s(phi, R) = C* sum_i (i+1)^1.75 R^i |c_i|``.

    Terms are added past their peak until the rest is below 1e-13 of the sum; at and beyond the radius of convergence the
    value is infinite and `converges` is False (truncate the series there).

    Args:
        series: phi.
        radius: R > 0.
        constant: C*.

    Raises:
        InputError: R or C* is not positive.
        NumericalError: R is so close to the radius of convergence that 2^23 terms do not suffice.
    """
    _positive(R=radius, constant=constant)
    if radius >= series.radius:
        return Complexity(math.inf, False, 0)

    def weight(i: np.ndarray) -> np.ndarray:
        return 1.75 * np.log(i + 1.0) + i * math.log(radius)

    total, terms = _sum(series, weight, radius / series.radius)
    return Complexity((total + math.log(constant)) / LN10, True, terms)


def width_complexity(
    series: PowerSeries, radius: float = 1.0, *, eps: float = 0.1, constant: float = CONSTANT, log10_radius: float | None = None
) -> Complexity:
    """``C_eps(phi, R) = sum_i [(C* R)^i + (sqrt(log(1/eps) / i) C* R)^i] |c_i|``; the second term is 1 at i = 0.

    Args:
        series: phi.
        radius: R > 0.
        eps: accuracy, in (0, 1).
        constant: C*.
        log10_radius: log10 R in place of R, for measures nested in one another.

    Returns:
        The measure; infinite where C* R reaches the radius of convergence, and also where an entire function would
        need more terms than can be summed (C* R above about 10^6): the value is then beyond any use.

    Raises:
        InputError: an argument is out of range.
    """
    _positive(R=radius, constant=constant)
    if not 0 < eps < 1:
        raise InputError(f"eps must lie between 0 and 1, found {eps}.")
    log_reach = math.log(constant) + (math.log(radius) if log10_radius is None else log10_radius * LN10)
    reach = math.exp(log_reach) if log_reach < 700 else math.inf
    if reach >= series.radius:
        return Complexity(math.inf, False, 0)
    if series.degree is None and reach > _MOST / 8:
        return Complexity(math.inf, True, 0)
    spread = math.log(math.log(1 / eps))

    def weight(i: np.ndarray) -> np.ndarray:
        second = 0.5 * i * (spread - np.log(np.maximum(i, 1)))
        return i * log_reach + np.logaddexp(0.0, second)

    total, terms = _sum(series, weight, reach / series.radius)
    return Complexity(total / LN10, True, terms)


def _sum(series: PowerSeries, weight: Callable[[np.ndarray], np.ndarray], ratio: float) -> tuple[float, int]:
    """Logarithm of ``sum_i exp(weight(i)) |c_i|``: block by block, until a block adds nothing and its terms fall."""
    total, start = -math.inf, 0
    last = math.inf if series.degree is None else series.degree
    while start <= last:
        i = np.arange(start, min(start + _BLOCK, last + 1), dtype=np.int64)
        logs = weight(i) + series.coefficients(i)[0]
        block = float(special.logsumexp(logs)) if np.isfinite(logs).any() else -math.inf
        total, start = float(np.logaddexp(total, block)), start + len(i)
        geometric = 1 / (1 - ratio) if ratio < 1 else math.inf
        half = logs[len(logs) // 2 :]
        falling = not np.isfinite(half).any() or float(half[np.isfinite(half)][-1]) <= float(half[np.isfinite(half)][0])
        if falling and (block == -math.inf or block + math.log(geometric) < total + math.log(_TAIL)):
            break
        if start >= _MOST:
            raise NumericalError(Status.MAX_STEPS, f"{series.name}: {start} terms; R is too close to the radius of convergence")
    return total, start


def kernel_complexity(kernel: np.ndarray, targets: np.ndarray, *, jitter: float = 1e-10) -> float:
    """``sqrt(y^T K^{-1} y / n)``: the norm that the kernel needs for these targets, per sample.

    Args:
        kernel: positive semidefinite ``(n, n)``.
        targets: y, ``(n,)`` or ``(n, k)`` (summed over columns).
        jitter: added to the diagonal, relative to its mean.

    Raises:
        ShapeError: shapes do not fit.
        InputError: the kernel is not symmetric or finite.
    """
    gram = square_kernel(kernel)
    columns = target_columns(targets, len(gram))
    shifted = gram + jitter * float(np.trace(gram)) / len(gram) * np.eye(len(gram))
    solved = linalg.solve(shifted, columns, assume_a="pos")
    return math.sqrt(max(float(np.sum(columns * solved)), 0.0) / len(gram))


@dataclass(frozen=True)
class Bounds:
    """log10 of the orders that the theory names; its constants, exponents of poly() and log factors are unknown.

    Attributes:
        steps_two_layer: ``C_s(phi,1)^2 k^3 p^2 / eps^2``.
        samples_three_layer: ``(C_eps(Phi, sqrt(p2) C_eps(phi,1)) C_eps(phi,1) sqrt(p2) p1 k^2 / eps0)^2``, the variant
            whose samples grow only polylogarithmically with the width; infinite where the nested measure is.
        flag: what these numbers are not.
    """

    steps_two_layer: float
    samples_three_layer: float
    flag: str = "theory shape, constants unknown: orders only, astronomically loose, not a prediction"


def bounds(
    inner: PowerSeries,
    outer: PowerSeries,
    *,
    units: Sequence[int] = (1, 1),
    outputs: int = 1,
    eps: float = 0.1,
    constant: float = CONSTANT,
) -> Bounds:
    """The orders of steps and samples that the theory names for a class of targets.

    Args:
        inner: phi, the inner activation (also that of the two-layer class).
        outer: Phi, the outer activation of the three-layer class.
        units: ``(p1, p2)``, numbers of target units; p = p1 in the two-layer formula.
        outputs: k.
        eps: accuracy.
        constant: C*.
    """
    p1, p2 = units
    _positive(p1=p1, p2=p2, outputs=outputs)
    c_s = sample_complexity(inner, constant=constant).log10
    c_eps = width_complexity(inner, eps=eps, constant=constant).log10
    nested = math.inf
    if math.isfinite(c_eps):
        nested = width_complexity(outer, eps=eps, constant=constant, log10_radius=0.5 * math.log10(p2) + c_eps).log10
    steps = 2 * c_s + 3 * math.log10(outputs) + 2 * math.log10(p1 / eps)
    samples = 2 * (nested + c_eps + 0.5 * math.log10(p2) + math.log10(p1 * outputs**2 / eps))
    return Bounds(steps, samples)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0 or not math.isfinite(value):
            raise InputError(f"{name} must be a positive number, found {value}.")
