"""Memory estimates before work."""

import os
from collections.abc import Iterator

from isthmus._core.errors import BudgetError


def available_bytes() -> int:
    """Memory that this process may still allocate: free physical memory, or less inside a container."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    free = int(line.split()[1]) * 1024
    except OSError:
        pass
    return min(free, _cgroup_bytes())


def _cgroup_bytes() -> int:
    try:
        with (
            open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit,
            open("/sys/fs/cgroup/memory.current", encoding="ascii") as used,
        ):
            return int(limit.read()) - int(used.read())
    except (OSError, ValueError):
        return 2**62


def require_memory(needed: float, *, what: str, instead: str) -> None:
    """Raise `BudgetError` when `needed` bytes exceed what is available.

    Args:
        needed: bytes at the peak.
        what: the thing that would be allocated, as a noun phrase.
        instead: the method or option that fits.

    Raises:
        BudgetError: naming both sizes and the alternative.
    """
    free = available_bytes()
    if needed > free:
        raise BudgetError(
            f"{what} would need {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are available. Instead: {instead}."
        )


def chunks(total: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size` that cover ``range(total)``."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
