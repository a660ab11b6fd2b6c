"""Every claim holds and its control fails, on whatever problem is passed."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from isthmus._core.seeds import Seed
from isthmus.claims import check_claim
from isthmus.curvature.spectrum import hessian_spectrum
from isthmus.model.problem import Problem
from isthmus.papers.simsek2021 import PAPER
from isthmus.papers.simsek2021.figures import SCALES, count_ratios, student_runs, subspace_graph
from isthmus.papers.simsek2021.landmarks import LANDMARKS, landmark
from isthmus.papers.simsek2021.students import gradients, grid, random_students, teacher, train_long
from isthmus.plots.subspaces import plot_graph, plot_ratios, plot_students

PROBLEM = Problem(nn.Linear(2, 1), torch.zeros(4, 2), torch.ones(4, 1), nn.MSELoss())


@pytest.mark.parametrize("claim", PAPER.claims, ids=lambda claim: claim.id)
def test_claim_holds_and_its_control_fails(claim: object) -> None:
    result = check_claim(claim, PROBLEM, paper="simsek2021", seed=1)
    assert result.verdict == "holds", result.evidence
    assert result.control_verdict == "fails", result.control_evidence


def test_all_statements_have_a_claim() -> None:
    ids = [claim.id for claim in PAPER.claims]
    assert len(ids) == len(set(ids))
    assert set(ids) >= {
        "isolated_minima", "one_extra_neuron_connects", "count_of_minima", "dimension_at_least_h", "subspaces_connected",
        "count_of_critical", "closed_forms", "saddles_dominate_mild", "minima_dominate_vast",
    }  # fmt: skip


def test_landmarks_are_strict_minima_of_their_width() -> None:
    for name in LANDMARKS:
        problem = landmark(name, 0.5)
        assert hessian_spectrum(problem).values.min() > 0


def test_figures_from_small_records(tmp_path: object) -> None:
    graph, ratios = subspace_graph(2, 3), count_ratios((2, 4), 6)
    students = student_runs(SCALES["smoke"])
    assert (graph.components, graph.diameter, len(graph.x), len(graph.first)) == (1, 6, 12, 12)
    assert ratios.crossover.tolist() == [0, 1]
    assert students.kind_count.sum() == 6 * len(students.reduced)
    assert (students.reduced == 4).all()
    for record, draw in ((graph, plot_graph), (ratios, plot_ratios), (students, plot_students)):
        assert draw(record).axes
        record.save(tmp_path / "record.safetensors")
        assert type(record).load(tmp_path / "record.safetensors").same_numbers(record)


def test_the_authors_protocol_runs_and_descends() -> None:
    """Adam in blocks as torch runs it on one student alone, then a polish inside the box."""
    brief = partial(train_long, blocks=2, block=40, polish=25)
    few = replace(SCALES["paper"], widths=(5,), examined=5, runs=2, spacing=1.0, train=brief)
    record = student_runs(few, seed=3)
    assert record.scale == "paper"
    x = grid(1.0)
    starts = random_students(2, 5, Seed(3).child(5))
    before = gradients(starts, x, teacher(x))[0]
    assert (record.loss[0] < before.numpy() / 10).all()
    row = starts[0].clone().requires_grad_()
    adam = torch.optim.Adam([row], lr=1e-3)
    for step in range(80):
        adam.param_groups[0]["lr"] = 1e-3 / (1 + step // 40)
        adam.zero_grad()
        w, a = row[:10].reshape(2, 5), row[10:]
        (((torch.sigmoid(4 * x @ w) + torch.nn.functional.softplus(x @ w)) @ a - teacher(x)) ** 2).mean().backward()
        adam.step()
    found = train_long(starts[:1], x, teacher(x), blocks=2, block=40, polish=0)
    torch.testing.assert_close(found.points[0], row.detach().clamp(-10, 10), rtol=1e-9, atol=1e-9)
