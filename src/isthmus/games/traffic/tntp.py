"""Reading TNTP files, the exchange format of traffic assignment instances.

Public instances are licensed for research and are not part of isthmus; these functions read a user's own copies.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from isthmus._core.errors import InputError
from isthmus.games.costs import MonomialCosts
from isthmus.games.traffic.network import RoadNetwork

_COLUMNS = ("init_node", "term_node", "capacity", "length", "free_flow_time", "b", "power")


def read_tntp(network: str | os.PathLike, trips: str | os.PathLike) -> RoadNetwork:
    """A road network from ``*_net.tntp`` and ``*_trips.tntp``, with BPR costs ``t0 (1 + B (x / capacity)^power)``.

    Nodes are renumbered from 0; ``<FIRST THRU NODE>`` is respected; demand within a zone is ignored.

    Args:
        network: file of links.
        trips: file of demands.

    Raises:
        InputError: a file is missing or malformed (with its line), or the instance makes no sense.
    """
    head, rows = _links(Path(network))
    origin, destination, demand = _trips(Path(trips))
    tail, tip, capacity, _, free, b, power = (rows[:, i] for i in range(7))
    bad = (capacity <= 0) & (b > 0)
    if bad.any():
        link = int(np.argmax(bad))
        raise InputError(
            f"{network}: the link from {tail[link]:.0f} to {tip[link]:.0f} has capacity {capacity[link]:g}; BPR costs divide by it."
        )
    coefficient = np.where(b > 0, free * b / np.power(np.where(capacity > 0, capacity, 1.0), power), 0.0)
    if (free < 0).any() or (b < 0).any():
        raise InputError(f"{network}: a free-flow time or B is negative, so a cost would decrease with traffic.")
    return RoadNetwork(
        nodes=int(head["NUMBER OF NODES"]),
        tail=tail.astype(np.int64) - 1,
        head=tip.astype(np.int64) - 1,
        costs=MonomialCosts(free, coefficient, power),
        origin=origin - 1,
        destination=destination - 1,
        demand=demand,
        first_thru=int(head.get("FIRST THRU NODE", 1)) - 1,
        name=Path(network).stem,
    )


def read_tntp_flows(path: str | os.PathLike) -> np.ndarray:
    """Published link flows from a ``*_flow.tntp`` file, in the order of its lines, ``(e,)``.

    Raises:
        InputError: the file is missing or malformed.
    """
    rows = [(number, line.split()) for number, line in _lines(Path(path))]
    return np.array([_number(path, number, words[2]) for number, words in rows[1:] if len(words) >= 3])


def _links(path: Path) -> tuple[dict[str, float], np.ndarray]:
    head, rows, inside = {}, [], False
    for number, line in _lines(path):
        found = re.match(r"<([^>]+)>\s*(.*)", line)
        if found and not inside:
            inside = found[1] == "END OF METADATA"
            if not inside and found[2]:
                head[found[1]] = _number(path, number, found[2].split()[0]) if found[1] != "ORIGINAL HEADER" else 0.0
            continue
        words = line.rstrip(";").split()
        if len(words) < len(_COLUMNS):
            raise InputError(f"{path}, line {number}: a link has {len(words)} columns; needed are {', '.join(_COLUMNS)}.")
        rows.append([_number(path, number, word) for word in words[: len(_COLUMNS)]])
    for name in ("NUMBER OF NODES", "NUMBER OF LINKS"):
        if name not in head:
            raise InputError(f"{path} has no <{name}> before <END OF METADATA>; it is not a TNTP network file.")
    if len(rows) != head["NUMBER OF LINKS"]:
        raise InputError(f"{path} announces {head['NUMBER OF LINKS']:.0f} links and has {len(rows)}; it may be truncated.")
    return head, np.array(rows)


def _trips(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    origin, found = None, []
    for number, line in _lines(path):
        if line.startswith("<"):
            continue
        if line.lower().startswith("origin"):
            origin = int(_number(path, number, line.split()[-1]))
            continue
        for part in filter(None, (part.strip() for part in line.split(";"))):
            pair = part.split(":")
            if origin is None or len(pair) != 2:
                raise InputError(
                    f"{path}, line {number}: found {part!r}; needed is 'destination : demand;' below an 'Origin' line."
                )
            found.append((origin, int(_number(path, number, pair[0])), _number(path, number, pair[1])))
    if not found:
        raise InputError(f"{path} holds no demand; needed are 'Origin n' lines followed by 'destination : demand;'.")
    table = np.array(found)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without comments and blanks."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"{path} cannot be read as a TNTP file ({fault}).") from fault
    for number, line in enumerate(text.splitlines(), 1):
        kept = line.partition("~")[0].strip()
        if kept:
            yield number, kept


def _number(path: str | os.PathLike, line: int, word: str) -> float:
    try:
        return float(word)
    except ValueError as fault:
        raise InputError(f"{path}, line {line}: {word!r} is not a number.") from fault
