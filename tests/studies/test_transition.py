"""Change points: found where they were planted, absent where nothing changes, honest where nothing can be known."""

import numpy as np
import pytest

from isthmus._core.errors import ShapeError
from isthmus.studies.transition import find_transition

TIMES = np.array([0, 0.1, 0.2, 0.5, 1, 2, 4, 8, 16, 30.0])


def curve(place: float, seed: int, replicates: int = 6, noise: float = 0.01, low: float = 0.02) -> np.ndarray:
    draw = np.random.default_rng(seed)
    steps = np.where(place > TIMES, 0.3, low)[:, None]
    return steps + noise * draw.standard_normal((len(TIMES), replicates))


@pytest.mark.parametrize("place", [0.3, 1.5, 6.0])
def test_a_planted_fall_lies_between_its_neighbours(place: float) -> None:
    found = find_transition("barrier", TIMES, curve(place, 0), floor=0.02)
    left, right = TIMES[place > TIMES].max(), TIMES[place <= TIMES].min()
    assert found.verdict == "transient"
    assert left <= found.epoch <= right
    assert found.interval[0] <= found.epoch <= found.interval[1]
    assert found.before == pytest.approx(0.3, abs=0.02)
    assert found.after == pytest.approx(0.02, abs=0.02)


def test_nothing_changes_means_no_transient_in_most_runs() -> None:
    verdicts = [find_transition("flat", TIMES, curve(-1, seed, noise=0.003, low=0.2), seed=seed).verdict for seed in range(40)]
    assert verdicts.count("transient") == 0
    assert verdicts.count("no transient") >= 30


def test_a_fall_below_the_floor_does_not_count() -> None:
    tiny = curve(1.0, 0, noise=0.0002, low=0.0) * 0.01
    assert find_transition("barrier", TIMES, tiny, floor=0.02).verdict == "no transient"
    assert find_transition("barrier", TIMES, tiny, floor=0.0).verdict == "transient"


def test_a_rise_is_no_transient() -> None:
    assert find_transition("rising", TIMES, curve(1.0, 0)[::-1]).verdict == "no transient"


@pytest.mark.parametrize(("values", "times"), [(curve(1.0, 0)[:3], TIMES[:3]), (curve(1.0, 0)[:, :1], TIMES)])
def test_too_little_is_unresolved(values: np.ndarray, times: np.ndarray) -> None:
    assert find_transition("little", times, values).verdict == "unresolved"


def test_excluded_runs_are_left_out_and_shapes_are_checked() -> None:
    values = curve(1.5, 0)
    holed = np.concatenate([values, np.full((len(TIMES), 1), np.nan)], axis=1)
    assert find_transition("holes", TIMES, holed) == find_transition("holes", TIMES, values)
    with pytest.raises(ShapeError, match="replicates"):
        find_transition("wrong", TIMES, values[:4])


def test_the_same_seed_gives_the_same_interval() -> None:
    values = curve(1.5, 0, noise=0.08)
    assert find_transition("again", TIMES, values, seed=3) == find_transition("again", TIMES, values, seed=3)
