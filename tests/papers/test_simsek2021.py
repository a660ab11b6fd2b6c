"""Every claim holds and its control fails, on whatever problem is passed."""

import pytest
import torch
from torch import nn

from isthmus.claims import check_claim
from isthmus.model.problem import Problem
from isthmus.papers.simsek2021 import PAPER
from isthmus.papers.simsek2021.landmarks import LANDMARKS, landmark

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
        slope = torch.func.hessian(
            lambda flat, p=problem: p.loss(p.network.apply(p.network.layout.unflatten(flat), p.inputs), p.targets)
        )
        assert float(torch.linalg.eigvalsh(slope(problem.network.flat)).min()) > 0
