"""Shortest reordering with free slots by breadth-first search over all arrangements."""

import collections
import itertools

Arrangement = tuple[int | None, ...]


def fewest_rounds(r: int, m: int) -> dict[Arrangement, int]:
    """Rounds from units 0..r-1 in the first r of m slots to every arrangement; a round moves any units to free slots."""
    start: Arrangement = (*range(r), *[None] * (m - r))
    distance, queue = {start: 0}, collections.deque([start])
    while queue:
        here = queue.popleft()
        free = [slot for slot in range(m) if here[slot] is None]
        taken = [slot for slot in range(m) if here[slot] is not None]
        for k in range(1, min(len(free), r) + 1):
            for targets in itertools.permutations(free, k):
                for sources in itertools.combinations(taken, k):
                    there = list(here)
                    for source, target in zip(sources, targets, strict=True):
                        there[target], there[source] = here[source], None
                    if tuple(there) not in distance:
                        distance[tuple(there)] = distance[here] + 1
                        queue.append(tuple(there))
    return distance
