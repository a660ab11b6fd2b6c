"""The survey's symmetry stage and its chapter: trained networks, networks without hidden units, and what a person reads."""

import pytest
import torch
from torch import nn

from isthmus._core.seeds import Seed
from isthmus.model.problem import Problem
from isthmus.plots.symmetry import plot_counts, plot_path, plot_taxonomy
from isthmus.report.chapters.symmetry import SYMMETRY
from isthmus.results.symmetry import PathProfile
from isthmus.studies.stages.symmetry import equal_loss_path
from isthmus.symmetry.reduction import reduce
from isthmus.symmetry.taxonomy import unit_taxonomy
from tests.symmetry.networks import dense, inputs

X = inputs(60)


def problem(activation: str = "relu") -> Problem:
    network = dense([3, 9, 7, 2], activation)
    return Problem(network, X, network(X) + 0.2 * torch.sin(X[:, :2]), nn.MSELoss())


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "sigmoid"])
def test_a_path_of_equal_loss_to_a_reordered_copy(activation: str) -> None:
    record = equal_loss_path(problem(activation), seed=Seed(0))
    assert record.status.ok
    assert record.rise <= 1e-12
    assert record.barrier > 1e-3
    assert min(record.free) >= 1
    assert max(record.moved) <= 9


def test_where_no_path_is_known_the_record_says_why() -> None:
    linear = Problem(nn.Linear(3, 2).double(), X, X[:, :2], nn.MSELoss())
    record = equal_loss_path(linear, seed=Seed(0))
    assert not record.status.ok
    assert "no hidden layer" in record.method
    assert record.loss.size == 0


def test_chapter_and_figures() -> None:
    given = problem()
    units = unit_taxonomy(given, reduce(given, tolerances=(1e-9, 1e-4), steps=20))
    path = equal_loss_path(given, seed=Seed(1))
    records = {"symmetry/taxonomy": units, "symmetry/path": path}
    sentence = SYMMETRY.sentence(records)
    assert f"10^{units.log10_joined:.1f}" in sentence
    assert str(len(path.steps)) in sentence
    assert len(SYMMETRY.headline(records)) == 4
    assert [plate.id for plate in SYMMETRY.figures(records)] == ["units", "copies", "equal-loss-path"]
    for figure in (plot_taxonomy(units), plot_counts(units), plot_path(path)):
        assert figure.axes
    alone = {"symmetry/taxonomy": units}
    assert "segments" not in SYMMETRY.sentence(alone)
    assert [plate.id for plate in SYMMETRY.figures(alone)] == ["units", "copies"]


def test_the_path_record_survives_saving(tmp_path: object) -> None:
    record = equal_loss_path(problem(), seed=Seed(2))
    record.save(tmp_path / "path.safetensors")
    assert PathProfile.load(tmp_path / "path.safetensors").same_numbers(record)
