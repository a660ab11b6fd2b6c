"""How far two kernels are apart; every sum over entries is accumulated in float64."""

import math
import time

import numpy as np

from isthmus._core.errors import InputError, ShapeError
from isthmus._core.status import Status
from isthmus.results.kernel import KernelDistance, Ntk
from isthmus.results.provenance import Cost, Provenance

_BLOCK = 2**20


def kernel_distance(first: Ntk | np.ndarray, second: Ntk | np.ndarray) -> KernelDistance:
    """Rotation, scale and change between two kernels on the same points.

    ``S = 1 - <K, K'> / (|K| |K'|)``, computed as ``|K/|K| - K'/|K'||^2 / 2``, which is the same number without
    cancellation; ``angle = 2 arcsin(sqrt(S / 2))``; ``scale = |K'| / |K|``; ``relative_change = |K' - K| / |K|``. They
    satisfy ``change^2 = scale^2 - 2 scale (1 - S) + 1``. S ignores scale and is not a metric; the angle is one.

    Args:
        first: K, a record or an array.
        second: K', of the same shape.

    Returns:
        The four numbers.

    Raises:
        ShapeError: the shapes differ.
        InputError: a kernel is zero or not finite, or the reductions over outputs differ.
    """
    started = time.perf_counter()
    if isinstance(first, Ntk) and isinstance(second, Ntk) and first.outputs != second.outputs:
        raise InputError(f"One kernel is {first.outputs!r} over outputs and the other {second.outputs!r}; never mix them.")
    a, b = (k.kernel if isinstance(k, Ntk) else np.asarray(k) for k in (first, second))
    if a.shape != b.shape:
        raise ShapeError(f"The kernels have shapes {a.shape} and {b.shape}; compare kernels on the same points.")
    size_a, size_b = frobenius_norm(a), frobenius_norm(b)
    if not (0 < size_a < math.inf and 0 < size_b < math.inf):
        raise InputError(f"A kernel is zero or not finite (norms {size_a:.3g} and {size_b:.3g}); no angle exists.")
    gap, change = 0.0, 0.0
    for x, y in zip(_blocks(a), _blocks(b), strict=True):
        gap += float(np.sum((x / size_a - y / size_b) ** 2))
        change += float(np.sum((y - x) ** 2))
    cosine_distance = gap / 2
    return KernelDistance(
        cosine_distance=cosine_distance,
        angle=2 * math.asin(min(1.0, math.sqrt(cosine_distance / 2))),
        scale=size_b / size_a,
        relative_change=math.sqrt(change) / size_a,
        status=Status.EXACT,
        method="half-square form, float64 accumulation",
        error=None,
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=first.provenance if isinstance(first, Ntk) else Provenance(),
    )


def frobenius_norm(kernel: np.ndarray) -> float:
    """``sqrt(sum of squares)``, accumulated in float64."""
    return math.sqrt(sum(float(np.sum(block * block)) for block in _blocks(kernel)))


def _blocks(kernel: np.ndarray) -> list[np.ndarray]:
    flat = np.ascontiguousarray(kernel).reshape(-1)
    return [flat[i : i + _BLOCK].astype(np.float64) for i in range(0, len(flat), _BLOCK)]
