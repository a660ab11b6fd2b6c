"""The survey's surfaces: what they hold is what the public functions give, and the chapter says it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus import Problem, Task
from isthmus.report.chapters.training import TRAINING
from isthmus.results.catalog import load_record
from isthmus.results.surfaces import CurveProfile, LossPlane
from isthmus.studies.stages.surface import CURVE, PLANE
from isthmus.studies.stages.training import HISTORY
from isthmus.studies.stages.twins import TWINS
from isthmus.studies.survey import survey
from tests.model.networks import build


def task_of(rate: float = 0.1) -> Task:
    module, inputs, labels = build("mlp", samples=40)
    problem = Problem(module, inputs, labels, nn.CrossEntropyLoss(), test=(inputs[:10], labels[:10]))
    return Task(problem, lambda p: torch.optim.SGD(p, lr=rate, momentum=0.9), epochs=4, batch=8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("surface") / "run"
    done = survey(task_of(), out=out, scale="smoke", stages=(HISTORY, TWINS, PLANE, CURVE))
    assert done.computed == ("history", "twins", "surface", "curve")
    return out


def record(run: Path, name: str) -> LossPlane | CurveProfile:
    return load_record(run / f"records/curvature/{name}.safetensors")


def test_the_planes_are_those_of_the_run_and_of_the_curve(run: Path) -> None:
    task = task_of()
    trajectory, other = (isthmus.open_trajectory(run / "checkpoints" / part, task.problem) for part in ("", "control-0"))
    end, far = (found.problem_at(found.steps[-1]) for found in (trajectory, other))
    plane = isthmus.loss_plane(task.problem, isthmus.trajectory_directions(trajectory), points=7)
    assert record(run, "plane").same_numbers(plane)
    curve = record(run, "curve")
    assert curve.values[0, -1] == pytest.approx(isthmus.model.evaluation.evaluate(end).loss)
    assert curve.values[0, 0] == pytest.approx(isthmus.model.evaluation.evaluate(far).loss)
    np.testing.assert_allclose(curve.line_chord, isthmus.error_barrier(end, end, far).chord)
    assert record(run, "curve_plane").landmark_names == ["second", "first", "bend"]


def test_the_chapter_tells_both_barriers_and_draws_three_figures(run: Path) -> None:
    needs = {name: run / f"records/{name}.safetensors" for name in TRAINING.needs}
    found = {name: load_record(path) for name, path in needs.items() if path.exists()}
    assert "trained for 20 steps has" in TRAINING.sentence(found)
    plates = {plate.id: plate for plate in TRAINING.figures(found)}
    assert {"plane", "curve", "curve-plane"} <= set(plates)
    for name in ("plane", "curve", "curve-plane"):
        assert plates[name].draw().axes
    assert "<svg" in isthmus.render(run).read_text()


def test_a_curve_that_diverges_leaves_the_survey_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus._core.errors import NumericalError
    from isthmus._core.status import Status
    from isthmus.studies.stages import surface

    def diverging(*_: object, **__: object) -> None:
        raise NumericalError(Status.NOT_FINITE, "the training loss")

    monkeypatch.setattr(surface, "low_loss_curve", diverging)
    survey(task_of(), out=tmp_path / "run", scale="smoke", stages=(HISTORY, TWINS, CURVE))
    assert not (tmp_path / "run/records/curvature/curve.safetensors").exists()
    assert "barrier to twins" in isthmus.render(tmp_path / "run").read_text()
