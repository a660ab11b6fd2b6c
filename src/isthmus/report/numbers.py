"""Numbers as a person reads them: as many digits as the error allows."""

import math


def with_error(value: float, error: float) -> str:
    """``0.302 ± 0.013``: two digits of the error, and the value to the same place; four digits without an error."""
    if math.isnan(value):
        return "not measured"
    if not math.isfinite(error) or error <= 0:
        return number(value)
    if abs(value) >= 1e5 or (value != 0 and abs(value) < 1e-4):
        return f"{number(value)}\u00a0±\u00a0{number(error)}"
    digits = max(0, min(8, 1 - math.floor(math.log10(error))))
    if digits > 6 - max(0, math.floor(math.log10(max(abs(value), 1e-12)))):
        return number(value)
    return f"{value:.{digits}f}\u00a0±\u00a0{error:.{digits}f}"


def number(value: float) -> str:
    """Four significant digits; powers of ten as ``2.1·10^-7``."""
    if math.isnan(value):
        return "not measured"
    if math.isinf(value):
        return "infinite"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 < exponent < 6:
        return f"{value:.4g}"
    return f"{value / 10**exponent:.2g}·10^{exponent}"


def percent(value: float) -> str:
    """``39.7 %``."""
    return "not measured" if math.isnan(value) else f"{100 * value:.1f}\u00a0%"


def interval_percent(value: float, low: float, high: float) -> str:
    """``39.7 [36.7, 42.8] %``."""
    return f"{100 * value:.1f} [{100 * low:.1f},\u00a0{100 * high:.1f}]\u00a0%"


def count(value: int) -> str:
    """Thousands separated by thin spaces."""
    return f"{value:,}".replace(",", "\u202f")


def duration(seconds: float) -> str:
    """``1.9 s`` or ``2 min 05 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
