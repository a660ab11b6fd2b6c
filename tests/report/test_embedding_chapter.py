"""The chapter on critical points says what its records hold, and every figure draws."""

import pytest
from matplotlib.figure import Figure

from isthmus.curvature import polish
from isthmus.embedding import Growth, census, condensation, grow, identify_plateau, unit_curvature
from isthmus.model.problem import Problem
from isthmus.report.chapters.embedding import EMBEDDING
from tests.embedding.fixtures import WIDTH_1, flat, steps_problem
from tests.embedding.networks import problem as built


def _records(problem: Problem) -> dict:
    return {"embedding/units": unit_curvature(problem, batches=2), "embedding/plateau": identify_plateau(problem, largest=20)}


def _drawn(records: dict) -> list[str]:
    plates = EMBEDDING.figures(records)
    assert all(isinstance(plate.draw(), Figure) and plate.caption for plate in plates)
    return [plate.id for plate in plates]


def test_near_a_narrow_point() -> None:
    image = grow(polish(steps_problem(1, flat(WIDTH_1))).problem, Growth("0", {0: (0.3, 0.7)})).problem
    records = _records(image) | {"embedding/census": census(steps_problem(1), [1, 2], starts=[6, 8])}
    records["embedding/condensation"] = condensation(image)
    words = EMBEDDING.sentence(records)
    assert "near the critical point of width 1" in words and "signed loss gap" in words
    assert _drawn(records) == ["plateau", "condensation", "unit-curvature", "census"]
    assert "1 to 1" in [line.value for line in EMBEDDING.headline(records)]


@pytest.mark.parametrize("kind", ["conv", "dense, first layer"])
def test_networks_without_a_narrow_point(kind: str) -> None:
    problem, _ = built(kind)
    records = _records(problem)
    words, lines = EMBEDDING.sentence(records), EMBEDDING.headline(records)
    assert "nan" not in words and "none found near" in [line.value for line in lines]
    assert "unit-curvature" in _drawn(records)
