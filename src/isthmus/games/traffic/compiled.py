"""Inner loops over paths, compiled by numba where it is installed and interpreted where not; same numbers either way.

Paths lie one after another in `links`; path p occupies ``links[pointer[p]:pointer[p + 1]]`` and belongs to demand
``owner[p]``; paths of one demand are neighbors.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

try:
    from numba import njit
except ImportError:

    def njit(*_: Any, **__: Any) -> Callable[[Callable], Callable]:
        """The function as it is."""
        return lambda function: function


@njit(cache=True)
def trace(before: np.ndarray, tail: np.ndarray, row: np.ndarray, destination: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pointer and links of each demand's shortest path, read backwards off the trees."""
    pointer = np.zeros(len(row) + 1, dtype=np.int64)
    for od in range(len(row)):
        length, node = 0, destination[od]
        while before[row[od], node] >= 0:
            node = tail[before[row[od], node]]
            length += 1
        pointer[od + 1] = pointer[od] + length
    links = np.empty(pointer[-1], dtype=np.int64)
    for od in range(len(row)):
        position, node = pointer[od + 1], destination[od]
        while before[row[od], node] >= 0:
            position -= 1
            links[position] = before[row[od], node]
            node = tail[links[position]]
    return pointer, links


@njit(cache=True)
def known(
    pointer: np.ndarray, links: np.ndarray, first: np.ndarray, new_pointer: np.ndarray, new_links: np.ndarray
) -> np.ndarray:
    """Whether each demand's new path is among the paths it has; those of demand d are ``first[d]..first[d + 1]``."""
    found = np.zeros(len(first) - 1, dtype=np.bool_)
    for od in range(len(found)):
        length = new_pointer[od + 1] - new_pointer[od]
        for p in range(first[od], first[od + 1]):
            if pointer[p + 1] - pointer[p] != length:
                continue
            same = True
            for i in range(length):
                if links[pointer[p] + i] != new_links[new_pointer[od] + i]:
                    same = False
                    break
            if same:
                found[od] = True
                break
    return found


@njit(cache=True)
def sweep(
    pointer: np.ndarray,
    links: np.ndarray,
    first: np.ndarray,
    flow: np.ndarray,
    load: np.ndarray,
    constant: np.ndarray,
    coefficient: np.ndarray,
    power: np.ndarray,
    rounds: int,
) -> None:
    """Gauss-Seidel Newton shifts from every path to its demand's cheapest, updating flow and load in place.

    A shift is ``(C_p - C_best) / sum of c' over links in exactly one of the two``, cut at the flow there is.
    """
    value = np.empty(len(load))
    slope = np.empty(len(load))
    for e in range(len(load)):
        value[e], slope[e] = _cost(load[e], constant[e], coefficient[e], power[e])
    mark = np.full(len(load), -1, dtype=np.int64)
    stamp = 0
    for _ in range(rounds):
        for od in range(len(first) - 1):
            if first[od + 1] - first[od] < 2:
                continue
            best, least = first[od], np.inf
            for p in range(first[od], first[od + 1]):
                total = 0.0
                for i in range(pointer[p], pointer[p + 1]):
                    total += value[links[i]]
                if total < least:
                    best, least = p, total
            for p in range(first[od], first[od + 1]):
                if p == best or (flow[p] == 0.0 and flow[best] == 0.0):
                    continue
                stamp += 1
                _shift(p, best, pointer, links, flow, load, value, slope, constant, coefficient, power, mark, stamp)


@njit(cache=True)
def _shift(
    p: int,
    best: int,
    pointer: np.ndarray,
    links: np.ndarray,
    flow: np.ndarray,
    load: np.ndarray,
    value: np.ndarray,
    slope: np.ndarray,
    constant: np.ndarray,
    coefficient: np.ndarray,
    power: np.ndarray,
    mark: np.ndarray,
    stamp: int,
) -> None:
    """One shift between two paths; links that both use are marked and left alone."""
    excess, bend = 0.0, 0.0
    for i in range(pointer[best], pointer[best + 1]):
        e = links[i]
        mark[e] = 2 * stamp
        excess -= value[e]
        bend += slope[e]
    for i in range(pointer[p], pointer[p + 1]):
        e = links[i]
        excess += value[e]
        if mark[e] == 2 * stamp:
            mark[e] = 2 * stamp + 1
            bend -= slope[e]
        else:
            bend += slope[e]
    amount = excess / bend if bend > 0.0 else (np.inf if excess > 0.0 else (-np.inf if excess < 0.0 else 0.0))
    amount = max(-flow[best], min(flow[p], amount))
    if amount == 0.0:
        return
    flow[p] -= amount
    flow[best] += amount
    for i in range(pointer[best], pointer[best + 1]):
        e = links[i]
        if mark[e] == 2 * stamp:
            load[e] = max(load[e] + amount, 0.0)
            value[e], slope[e] = _cost(load[e], constant[e], coefficient[e], power[e])
    for i in range(pointer[p], pointer[p + 1]):
        e = links[i]
        if mark[e] != 2 * stamp + 1:
            load[e] = max(load[e] - amount, 0.0)
            value[e], slope[e] = _cost(load[e], constant[e], coefficient[e], power[e])


@njit(cache=True)
def _cost(load: Any, constant: Any, coefficient: Any, power: Any) -> tuple[Any, Any]:
    """Cost of a link and its derivative."""
    if power == 0.0 or coefficient == 0.0:
        return constant + (coefficient if power == 0.0 else 0.0), 0.0
    if power == 1.0:
        return constant + coefficient * load, coefficient
    if power == 4.0:
        cube = coefficient * load * load * load
        return constant + cube * load, 4.0 * cube
    safe = max(load, 1e-12) if power < 1.0 else load
    return constant + coefficient * load**power, coefficient * power * safe ** (power - 1.0)
