"""Counts too large to hold, in log space, with the regimes' own formulas.

Saddle-point (Hayman) estimates of the coefficients of ``(e^x - 1)^r`` and ``(e^x - 1)^r exp(e^x - 1)``:
``log c_m = log F(R) - m log R - log(2 pi b(R)) / 2`` with ``R F'(R) / F(R) = m`` and ``b = R d/dR (R F'/F)``.
"""

import math
from collections.abc import Callable

from isthmus.combinatorics.balance import require_wide_enough
from isthmus.combinatorics.subspaces import critical_subspaces, minima_subspaces

EXACT_UP_TO = 400


def log10_critical_subspaces(r: int, m: int) -> float:
    """``log10 G(r, m)``: exact up to width 400, else by the saddle point.

    The relative error of the estimate is below ``1 / (12 (m - r)) + 1 / (12 r)``: 0.04 in log10 at worst.

    Raises:
        InputError: m is below r, or r below 1.
    """
    require_wide_enough(r, m)
    if m <= EXACT_UP_TO or m == r:
        return math.log10(critical_subspaces(r, m)) if m <= EXACT_UP_TO else math.lgamma(m + 1) / math.log(10)
    return saddle_point(r, m, minima=False) / math.log(10)


def log10_minima_subspaces(r: int, m: int) -> float:
    """``log10 T(r, m)``: exact up to width 400, else by the saddle point.

    Raises:
        InputError: m is below r, or r below 1.
    """
    require_wide_enough(r, m)
    if m <= EXACT_UP_TO or m == r:
        return math.log10(minima_subspaces(r, m)) if m <= EXACT_UP_TO else math.lgamma(m + 1) / math.log(10)
    return saddle_point(r, m, minima=True) / math.log(10)


def log_mild(r: int, h: int) -> float:
    """``log(r! r^(2h) / (2^h h!))``: the common leading term of G(r, r+h) and T(r, r+h) when h is far below sqrt(r)."""
    return math.lgamma(r + 1) + 2 * h * math.log(r) - h * math.log(2) - math.lgamma(h + 1)


def mild_ratio(r: int, h: int, k: int) -> float:
    """``r^k h! / (2^k (h+k)!)``: the leading term of G(r-k, r+h) / T(r, r+h); saddles dominate polynomially, degree k."""
    return math.exp(k * math.log(r) + math.lgamma(h + 1) - k * math.log(2) - math.lgamma(h + k + 1))


def saddle_point(r: int, m: int, *, minima: bool) -> float:
    """The saddle-point estimate of ``log G(r, m)`` or ``log T(r, m)`` for m > r >= 1, at any size."""

    def slope(x: float) -> float:
        return r * x / -math.expm1(-x) + (x * math.exp(x) if minima else 0.0)

    x = _increasing_root(slope, m, high=math.log(m) + 1 if minima else float(m))
    decay = -math.expm1(-x)
    spread = r * (1 / decay - x * math.exp(-x) / decay**2) + ((1 + x) * math.exp(x) if minima else 0.0)
    value = r * (x + math.log(decay)) + (math.expm1(x) if minima else 0.0)
    return math.lgamma(m + 1) + value - m * math.log(x) - 0.5 * math.log(2 * math.pi * x * spread)


def _increasing_root(function: Callable[[float], float], target: float, *, high: float) -> float:
    low = 0.0
    for _ in range(200):
        middle = (low + high) / 2
        if function(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2
