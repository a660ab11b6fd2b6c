"""The survey's stage, its chapter and its figures, for networks with and without a game."""

from pathlib import Path

import numpy as np
import pytest
from torch import nn

import isthmus
from isthmus import Problem, Task
from isthmus._core.seeds import Seed
from isthmus.games.timeline import affordable_prices, affordable_samples, game_timeline, some_samples
from isthmus.model.data import Sgd
from isthmus.plots.games import plot_gap, plot_kirchhoff, plot_sankey, plot_units
from isthmus.report.chapters.games import GAMES as CHAPTER
from isthmus.report.loading import load_records
from isthmus.studies.stages.games import GAMES as STAGE
from isthmus.studies.stages.training import HISTORY
from isthmus.studies.survey import survey
from isthmus.training import train
from tests.games.networks import classification, convolutional, images, regression


def surveyed(problem: Problem, folder: Path) -> dict:
    survey(Task(problem, Sgd(lr=0.01), epochs=2, batch=4), out=folder, scale="smoke", stages=(HISTORY, STAGE))
    isthmus.render(folder)
    return load_records(folder)


@pytest.mark.parametrize("kind", ["dense", "convolutional", "one layer", "linear"])
def test_stage_and_chapter(kind, tmp_path):
    problem = {
        "dense": lambda: regression((4, 6, 5, 3), 0, bias=True),
        "convolutional": lambda: Problem(convolutional(0), *images(samples=8), nn.CrossEntropyLoss()),
        "one layer": lambda: classification((4, 3), 0),
        "linear": lambda: regression((4, 6, 3), 0, relu=False),
    }[kind]()
    records = surveyed(problem, tmp_path / "run")
    timeline, found, flows = (records[f"games/{name}"] for name in ("timeline", "certificate", "flows"))
    assert timeline.gap[-1] == pytest.approx(found.gap)
    assert timeline.loss[-1] == pytest.approx(records["training/history"].train_loss[-1], rel=1e-5)
    assert (timeline.gap >= timeline.gap_lower - 1e-12).all()
    words = CHAPTER.sentence(records)
    assert "gap" in words
    lines = {line.name: line.value for line in CHAPTER.headline(records)}
    assert lines["verdict"] == found.verdict
    plates = [plate.id for plate in CHAPTER.figures(records)]
    assert ("game-units" in plates) == (kind != "one layer")
    assert ("games/braess-heldout" in records) == (problem.test_inputs is not None)
    page = (tmp_path / "run" / "atlas.html").read_text()
    assert "The game of paths" in page and ("linear piece" in page) == (timeline.gates == "frozen")
    assert flows.kirchhoff_residual < 1e-9


def test_networks_without_a_game_say_why(tmp_path):
    problem = classification((4, 6, 3), 0)
    smooth = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    records = surveyed(Problem(smooth, problem.inputs, problem.targets, nn.CrossEntropyLoss()), tmp_path / "run")
    assert "Tanh" in records["games/timeline"].reason
    assert CHAPTER.sentence(records).startswith("Not measured: UnsupportedLayer")
    assert CHAPTER.figures(records) == []
    assert not (tmp_path / "run" / "records" / "games" / "flows.safetensors").exists()


def test_budgets_grow_with_the_weights_and_samples_are_stated():
    problem = regression((4, 6, 5, 3), 0, samples=40)
    run = train(problem, Sgd(lr=0.005), steps=30, batch=40)
    found = game_timeline(run, steps=run.steps, samples=16, seed=Seed(0))
    assert found.samples == 16
    last = isthmus.PathGame(some_samples(run.problem_at(30), 16, Seed(0)))
    assert found.path_norm[-1] == pytest.approx(last.flow.total)
    assert found.gradient_norm[-1] == pytest.approx(last.certificate().gradient_norm)
    assert found.gap[-1] == pytest.approx(last.certificate(prices="exact").gap)
    assert found.kind == "exact" and (found.gap == found.gap_lower).all()
    assert affordable_prices([problem]) == "exact"
    assert affordable_prices([problem], flops=1.0) == "bound"
    assert affordable_samples(problem, 1000) == 40
    assert affordable_samples(problem, 1000, least=5, flops=1.0) == 5


def test_figures_draw_what_the_records_hold():
    game = isthmus.PathGame(regression((4, 6, 5, 3), 0, bias=True))
    flows, scan = game.flows(top=12), game.braess_scan()
    figure = plot_sankey(flows, shown=12)
    ribbons = [p for p in figure.axes[0].patches if type(p).__name__ == "PathPatch"]
    assert len(ribbons) == sum(len(w) - max(0, int(np.argmax(w >= 0)) - 1) - 1 for w in flows.top_paths)
    dots = sum(len(line.get_xdata()) for line in plot_units(flows, scan).axes[1].lines[:2])
    assert dots == len(scan.change)
    assert len(plot_kirchhoff(flows).axes[0].lines[1].get_xdata()) == 11
    run = train(regression((4, 6, 3), 0), Sgd(lr=0.005), steps=8, batch=12)
    assert len(plot_gap(game_timeline(run, steps=run.steps, seed=Seed(0))).axes) == 2
