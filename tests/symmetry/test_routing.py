"""Routing: as few rounds as a search over all arrangements finds."""

import pytest

from isthmus._core.errors import HypothesisError, InputError
from isthmus.symmetry.routing import route
from tests.reference.routing import fewest_rounds


def apply(start: list, rounds: list) -> list:
    here = list(start)
    for moves in rounds:
        sources, targets = [s for s, _ in moves], [t for _, t in moves]
        assert len(set(sources)) == len(sources) and len(set(targets)) == len(targets)
        assert all(here[t] is None for t in targets)
        units = [here[s] for s in sources]
        for s in sources:
            here[s] = None
        for t, unit in zip(targets, units, strict=True):
            here[t] = unit
    return here


@pytest.mark.parametrize(("r", "m"), [(2, 3), (3, 4), (4, 5), (5, 6), (2, 4), (3, 5), (4, 6), (3, 6), (5, 7), (4, 8)])
def test_no_route_is_longer_than_the_shortest(r: int, m: int) -> None:
    distances = fewest_rounds(r, m)
    start = [*range(r), *[None] * (m - r)]
    for goal, rounds in distances.items():
        found = route(start, goal)
        assert len(found) == rounds
        assert tuple(apply(start, found)) == goal
    if m == r + 1:
        in_order = [n for goal, n in distances.items() if goal[r] is None]
        assert max(in_order) == 3 * r // 2
    if m >= 2 * r:
        assert max(distances.values()) <= 2


def test_large_layers_and_refusals() -> None:
    start = [*range(300), None]
    goal = [*reversed(range(300)), None]
    assert tuple(apply(start, route(start, goal))) == tuple(goal)
    assert len(route(start, goal)) == 450
    wide = [*range(300), *[None] * 300]
    assert len(route(wide, [*reversed(range(300)), *[None] * 300])) == 2
    assert route([0, 1], [0, 1]) == []
    with pytest.raises(HypothesisError, match="isolated"):
        route([0, 1], [1, 0])
    with pytest.raises(InputError, match="same units"):
        route([0, None], [1, None])
