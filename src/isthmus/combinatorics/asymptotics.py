"""Counts too large to hold, in log space, with the regimes' own formulas.

Saddle-point (Hayman) estimates of the coefficients of ``(e^x - 1)^r`` and ``(e^x - 1)^r exp(e^x - 1)``:
``log c_m = log F(R) - m log R - log(2 pi b(R)) / 2`` with ``R F'(R) / F(R) = m`` and ``b = R d/dR (R F'/F)``.
"""

import math
from collections.abc import Callable

from isthmus.combinatorics.balance import require_wide_enough
from isthmus.combinatorics.subspaces import Symmetry, critical_subspaces, minima_subspaces

EXACT_UP_TO = 400


def log10_critical_subspaces(r: int, m: int, *, symmetry: Symmetry = "none") -> float:
    """``log10 G(r, m)``: exact up to width 400, else by the saddle point.

    The relative error of the estimate is below ``1 / (12 (m - r)) + 1 / (12 r)``: 0.08 in log10 at worst.

    Args:
        r: irreducible units.
        m: width.
        symmetry: of the activation; beyond width 400 ``"odd_null"`` is counted as ``"odd"``, a lower bound.

    Raises:
        InputError: m is below r, or r below 1.
    """
    require_wide_enough(r, m)
    if m <= EXACT_UP_TO:
        return math.log10(critical_subspaces(r, m, symmetry=symmetry))
    return _logarithm(r, m, groups=0.0, symmetry=symmetry)


def log10_minima_subspaces(r: int, m: int, *, symmetry: Symmetry = "none") -> float:
    """``log10 T(r, m)``: exact up to width 400, else by the saddle point, with the same error.

    Args:
        r: minimal width.
        m: width.
        symmetry: of the activation; beyond width 400 ``"odd_null"`` is counted as ``"odd"``, a lower bound.

    Raises:
        InputError: m is below r, or r below 1.
    """
    require_wide_enough(r, m)
    if m <= EXACT_UP_TO:
        return math.log10(minima_subspaces(r, m, symmetry=symmetry))
    return _logarithm(r, m, groups=1.0 if symmetry == "none" else 0.5, symmetry=symmetry)


def log10_critical_below(r: int, m: int, *, symmetry: Symmetry = "none") -> float:
    """``log10 sum_{s<r} G(s, m)``, one critical point for each narrower width; minus infinity for r = 1."""
    require_wide_enough(r, m)
    logs = [log10_critical_subspaces(s, m, symmetry=symmetry) for s in range(1, r)]
    top = max(logs, default=-math.inf)
    return top + math.log10(sum(10 ** (value - top) for value in logs)) if logs else top


def log_mild(r: int, h: int) -> float:
    """``log(r! r^(2h) / (2^h h!))``: the common leading term of G(r, r+h) and T(r, r+h) when h is far below sqrt(r)."""
    return math.lgamma(r + 1) + 2 * h * math.log(r) - h * math.log(2) - math.lgamma(h + 1)


def mild_ratio(r: int, h: int, k: int) -> float:
    """``r^k h! / (2^k (h+k)!)``: the leading term of G(r-k, r+h) / T(r, r+h); saddles dominate polynomially, degree k."""
    return math.exp(k * math.log(r) + math.lgamma(h + 1) - k * math.log(2) - math.lgamma(h + k + 1))


def saddle_point(r: int, m: int, *, groups: float) -> float:
    """The saddle-point estimate of ``log(m! [x^m] (e^x - 1)^r exp(g (e^x - 1)))`` for m > r >= 1, at any size.

    Args:
        r: irreducible units.
        m: width.
        groups: g, the weight of zero-type groups: 0 for G, 1 for T, 1/2 for T under an odd activation over ``2^m``.
    """

    def slope(x: float) -> float:
        return r * x / -math.expm1(-x) + groups * x * _exp(x, groups)

    x = _increasing_root(slope, m, high=math.log(m / groups) + 1 if groups else float(m))
    decay = -math.expm1(-x)
    spread = r * (1 / decay - x * math.exp(-x) / decay**2) + groups * (1 + x) * _exp(x, groups)
    value = r * (x + math.log(decay)) + groups * (_exp(x, groups) - 1)
    return math.lgamma(m + 1) + value - m * math.log(x) - 0.5 * math.log(2 * math.pi * x * spread)


def _logarithm(r: int, m: int, *, groups: float, symmetry: Symmetry) -> float:
    plain = saddle_point(r, m, groups=groups) if m > r else math.lgamma(m + 1)
    return plain / math.log(10) + (0.0 if symmetry == "none" else m * math.log10(2))


def _exp(x: float, weight: float) -> float:
    """``e^x``, not evaluated where its weight is zero and it could overflow."""
    return math.exp(x) if weight else 0.0


def _increasing_root(function: Callable[[float], float], target: float, *, high: float) -> float:
    low = 0.0
    for _ in range(200):
        middle = (low + high) / 2
        if function(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2
