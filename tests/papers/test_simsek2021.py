"""Every claim holds and its control fails, on whatever problem is passed."""

import pytest
import torch
from torch import nn

from isthmus.claims import check_claim
from isthmus.curvature.spectrum import hessian_spectrum
from isthmus.model.problem import Problem
from isthmus.papers.simsek2021 import PAPER
from isthmus.papers.simsek2021.figures import count_ratios, student_runs, subspace_graph
from isthmus.papers.simsek2021.landmarks import LANDMARKS, landmark
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
    students = student_runs((4, 6), runs=3, examined=6, steps=150, spacing=1.0)
    assert (graph.components, graph.diameter, len(graph.x), len(graph.first)) == (1, 6, 12, 12)
    assert ratios.crossover.tolist() == [0, 1]
    assert students.kind_count.sum() == 6 * len(students.reduced)
    assert (students.reduced == 4).all()
    for record, draw in ((graph, plot_graph), (ratios, plot_ratios), (students, plot_students)):
        assert draw(record).axes
        record.save(tmp_path / "record.safetensors")
        assert type(record).load(tmp_path / "record.safetensors").same_numbers(record)
