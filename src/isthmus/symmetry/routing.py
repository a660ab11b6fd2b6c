"""Reordering labeled units with the help of free slots: the combinatorial half of a zero-loss path."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from isthmus._core.errors import HypothesisError, InputError

Round = tuple[tuple[int, int], ...]


def route(start: Sequence[int | None], goal: Sequence[int | None]) -> list[Round]:
    """Rounds of moves ``(from slot, to free slot)`` that turn one arrangement of units into another.

    In one round any number of units may move, each into its own slot that is free at the round's begin. With one free slot
    this is sorting by star transpositions, and the rounds are as few as can be: misplaced units plus closed cycles, at most
    ``floor(3 r / 2)``. With more free slots cycles are worked on in parallel and cut into pieces of equal length; with as
    many free slots as units two rounds are always enough.

    Args:
        start: the unit in each slot, None where a slot is free.
        goal: the same units rearranged.

    Returns:
        The rounds, in order; empty when nothing has to move.

    Raises:
        InputError: the two arrangements hold different units.
        HypothesisError: something has to move and no slot is free.
    """
    place = {unit: slot for slot, unit in enumerate(start) if unit is not None}
    target = {unit: slot for slot, unit in enumerate(goal) if unit is not None}
    if len(start) != len(goal) or set(place) != set(target):
        raise InputError(f"The arrangements {list(start)} and {list(goal)} do not hold the same units in as many slots.")
    if place != target and len(place) == len(start):
        raise HypothesisError(
            "All units of a layer are needed and none is free, so no path of equal function reorders them: at minimal width "
            "the orders are isolated. One more unit in the layer connects them."
        )
    rounds = []
    while place != target:
        moves = _one_round(place, target, len(start))
        rounds.append(tuple(sorted((place[unit], slot) for unit, slot in moves.items())))
        place |= moves
    return rounds


@dataclass(frozen=True)
class _Thread:
    """Misplaced units, each wanting the slot of the one before it.

    Attributes:
        units: in that order; the first wants a free slot, or in a closed cycle the slot of the last.
        closed: whether it is a cycle, which only an outside slot can open.
    """

    units: tuple[int, ...]
    closed: bool

    def rounds(self, cuts: int) -> int:
        """Rounds it takes when `cuts` of its units step aside at once; a closed thread without cut waits one round."""
        length = len(self.units)
        if self.closed:
            return 1 + math.ceil(length / cuts) if cuts else length + 2
        return math.ceil((length + cuts) / (cuts + 1))

    def aside(self, cuts: int) -> list[int]:
        """The units that step aside, so that the parts between them are equally long."""
        stride = self.rounds(cuts) - 1
        places = [(i if self.closed else i + 1) * stride for i in range(cuts)]
        return [self.units[k] for k in places if k < len(self.units) and (self.closed or k > 0)]


def _one_round(place: dict[int, int], target: dict[int, int], slots: int) -> dict[int, int]:
    """Who moves where: units whose target is free go there, the other free slots take units that step aside."""
    threads, spare = _threads(place, target, slots)
    cuts = [0] * len(threads)
    for _ in spare:
        most = max(range(len(threads)), key=lambda i: (threads[i].rounds(cuts[i]), threads[i].closed, cuts[i] == 0))
        if cuts[most] == len(threads[most].units):
            break
        cuts[most] += 1
    moves = {thread.units[0]: target[thread.units[0]] for thread in threads if not thread.closed}
    aside = [unit for thread, count in zip(threads, cuts, strict=True) if count for unit in thread.aside(count)]
    return moves | dict(zip([unit for unit in aside if unit not in moves], spare, strict=False))


def _threads(place: dict[int, int], target: dict[int, int], slots: int) -> tuple[list[_Thread], list[int]]:
    taken = set(place.values())
    wanting = {target[unit]: unit for unit in place if place[unit] != target[unit]}
    free = [slot for slot in range(slots) if slot not in taken]
    threads, seen = [], set()
    for slot in free:
        units = []
        while slot in wanting:
            units.append(wanting[slot])
            slot = place[units[-1]]
        if units:
            threads.append(_Thread(tuple(units), closed=False))
            seen.update(units)
    for unit in sorted(wanting.values()):
        units = []
        while unit not in seen:
            units.append(unit)
            seen.add(unit)
            unit = wanting[place[unit]]
        if units:
            threads.append(_Thread(tuple(units), closed=True))
    return threads, [slot for slot in free if slot not in wanting]
