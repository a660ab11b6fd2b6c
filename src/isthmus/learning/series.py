"""Power series of activations, in log space: what the complexity measures are made of."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from isthmus._core.errors import HypothesisError, InputError

_PI = np.pi


@dataclass(frozen=True)
class PowerSeries:
    """``phi(z) = sum_i c_i z^i`` around zero.

    Attributes:
        name: what messages call it.
        function: phi itself, on arrays.
        coefficients: ``i -> (log |c_i|, sign of c_i)`` for an array of degrees; log 0 = -inf.
        radius: of convergence; infinite for entire functions and polynomials.
        degree: of a polynomial; None for a series that does not end.
    """

    name: str
    function: Callable[[np.ndarray], np.ndarray]
    coefficients: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    radius: float = np.inf
    degree: int | None = None

    def scaled(self, factor: float) -> "PowerSeries":
        """``z -> phi(factor z)``; factor > 0."""
        if factor <= 0:
            raise InputError(f"A series is scaled by a positive factor, found {factor}.")

        def coefficients(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            log, sign = self.coefficients(i)
            return log + i * np.log(factor), sign

        name = f"{self.name}({factor:g} z)"
        return PowerSeries(name, lambda z: self.function(factor * z), coefficients, self.radius / factor, self.degree)

    def values(self, degree: int) -> np.ndarray:
        """``c_0, ..., c_degree``."""
        log, sign = self.coefficients(np.arange(degree + 1))
        return sign * np.exp(log)


def polynomial(coefficients: "list[float] | np.ndarray", name: str = "polynomial") -> PowerSeries:
    """``sum_i c_i z^i`` with these coefficients, lowest degree first.

    Raises:
        InputError: no coefficient, or one that is not finite.
    """
    c = np.asarray(coefficients, dtype=np.float64)
    if c.ndim != 1 or c.size == 0 or not np.isfinite(c).all():
        raise InputError("A polynomial needs at least one finite coefficient, lowest degree first.")

    def at(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = np.where(i < len(c), c[np.minimum(i, len(c) - 1)], 0.0)
        return _log(np.abs(inside)), np.sign(inside)

    return PowerSeries(name, lambda z: np.polynomial.polynomial.polyval(z, c), at, np.inf, len(c) - 1)


def power_series(name: str) -> PowerSeries:
    """The series of a named activation: sin, cos, exp, erf, gelu, tanh, sigmoid, softplus, silu.

    Raises:
        HypothesisError: the activation has no power series at zero (ReLU and its kin).
        InputError: the name is unknown.
    """
    if name in _ROUGH:
        raise HypothesisError(
            f"{name} has a kink at zero and no power series, so the complexity measures do not exist for it: they measure smooth "
            f"target functions. Take one of {', '.join(SERIES)}, or a polynomial."
        )
    if name not in SERIES:
        raise InputError(
            f"The series of {name!r} is not known; there are {', '.join(SERIES)}. Or write polynomial([c0, c1, ...])."
        )
    return SERIES[name]


def truncated(series: PowerSeries, degree: int) -> PowerSeries:
    """The Taylor polynomial of this degree."""
    return polynomial(series.values(degree), f"{series.name} to degree {degree}")


def truncation_degree(series: PowerSeries, error: float, *, bound: float = 1.0, largest: int = 2000) -> int:
    """The smallest degree whose Taylor polynomial is within `error` of the function everywhere on ``[0, bound]``.

    Only degrees with a non-zero coefficient are tried; the maximum is taken over 2001 points.

    Args:
        series: the function.
        error: largest deviation allowed, > 0.
        bound: end of the interval; must lie within the radius of convergence.
        largest: where to stop looking.

    Raises:
        HypothesisError: the interval reaches the radius of convergence.
        InputError: the error is not positive, or no degree up to `largest` suffices.
    """
    if error <= 0:
        raise InputError(f"The truncation error must be positive, found {error}.")
    if bound >= series.radius:
        raise HypothesisError(
            f"The Taylor series of {series.name} converges for |z| < {series.radius:.4g}; no polynomial of it is close up to {bound:g}."
        )
    z, c = np.linspace(0, bound, 2001), series.values(largest)
    target, partial = series.function(z), np.zeros(2001)
    for degree in range(largest + 1):
        if c[degree] == 0 and degree < largest:
            continue
        partial += c[degree] * z**degree
        if np.abs(partial - target).max() < error:
            return degree
    raise InputError(f"No Taylor polynomial of {series.name} up to degree {largest} is within {error:g} on [0, {bound:g}].")


def _log(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(values)


def _where(condition: np.ndarray, log: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.where(condition, log, -np.inf), np.where(condition, sign, 0.0)


def _alternating(i: np.ndarray, offset: int) -> np.ndarray:
    return 1.0 - 2.0 * (((i - offset) // 2) % 2)


def _sin(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _where(i % 2 == 1, -special.gammaln(i + 1.0), _alternating(i, 1))


def _cos(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _where(i % 2 == 0, -special.gammaln(i + 1.0), _alternating(i, 0))


def _exp(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return -special.gammaln(i + 1.0), np.ones(len(i))


def _erf(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    half = (i - 1) / 2.0
    return _where(i % 2 == 1, np.log(2 / np.sqrt(_PI)) - special.gammaln(half + 1) - np.log(np.maximum(i, 1)), _alternating(i, 1))


def _gelu(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``z Phi(z) = z / 2 + z erf(z / sqrt 2) / 2``."""
    log, sign = _erf(i - 1)
    log = log - (i - 1) * np.log(np.sqrt(2)) - np.log(2)
    log, sign = _where((i % 2 == 0) & (i >= 2), log, sign)
    return np.where(i == 1, -np.log(2), log), np.where(i == 1, 1.0, sign)


def _tanh(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``|c_i| = 2 (2^s - 1) zeta(s) / pi^s`` with ``s = i + 1``, from the Bernoulli numbers."""
    s = i + 1.0
    log = np.log(2) + s * np.log(2) + np.log1p(-np.exp2(-s)) + np.log(special.zeta(np.maximum(s, 2))) - s * np.log(_PI)
    return _where(i % 2 == 1, log, _alternating(i, 1))


def _sigmoid(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``1 / 2 + tanh(z / 2) / 2``."""
    log, sign = _tanh(i)
    return np.where(i == 0, -np.log(2), log - (i + 1) * np.log(2)), np.where(i == 0, 1.0, sign)


def _softplus(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The integral of the sigmoid."""
    log, sign = _sigmoid(np.maximum(i - 1, 0))
    log = log - np.log(np.maximum(i, 1))
    return np.where(i == 0, np.log(np.log(2)), log), np.where(i == 0, 1.0, sign)


def _silu(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``z`` times the sigmoid."""
    log, sign = _sigmoid(np.maximum(i - 1, 0))
    return _where(i >= 1, log, sign)


SERIES: dict[str, PowerSeries] = {
    "sin": PowerSeries("sin", np.sin, _sin),
    "cos": PowerSeries("cos", np.cos, _cos),
    "exp": PowerSeries("exp", np.exp, _exp),
    "erf": PowerSeries("erf", special.erf, _erf),
    "gelu": PowerSeries("gelu", lambda z: z * special.ndtr(z), _gelu),
    "tanh": PowerSeries("tanh", np.tanh, _tanh, _PI / 2),
    "sigmoid": PowerSeries("sigmoid", special.expit, _sigmoid, _PI),
    "softplus": PowerSeries("softplus", lambda z: np.logaddexp(0, z), _softplus, _PI),
    "silu": PowerSeries("silu", lambda z: z * special.expit(z), _silu, _PI),
}
_ROUGH = ("relu", "leaky_relu", "abs", "hardtanh", "relu6", "elu", "celu", "selu")
