"""Every claim of the paper holds where it should, and its control fails."""

import pytest
import torch
from torch import nn

from isthmus.claims import check_claim
from isthmus.model.problem import Problem
from isthmus.papers.zhang2021 import PAPER
from tests.embedding.networks import KINDS
from tests.embedding.networks import problem as built

_OWN = {claim.id: claim for claim in PAPER.claims}


@pytest.mark.parametrize("claim", PAPER.claims, ids=lambda claim: claim.id)
def test_claim_holds_and_its_control_fails(claim: object) -> None:
    subject, _ = built("dense, first layer")
    result = check_claim(claim, subject, paper=PAPER.key)
    assert result.verdict == ("holds" if claim.kind == "exact" else "consistent"), result.evidence
    assert result.control_verdict == "fails", result.control_evidence


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_map_holds_for_every_kind_of_unit(kind: str) -> None:
    subject, _ = built(kind)
    result = check_claim(_OWN["critical_embedding"], subject, paper=PAPER.key)
    assert (result.verdict, result.control_verdict) == ("holds", "fails"), result.evidence


def test_a_network_without_units_is_outside_the_hypothesis() -> None:
    x = torch.randn(8, 3, dtype=torch.float64)
    result = check_claim(
        _OWN["critical_embedding"], Problem(nn.Linear(3, 2).double(), x, x[:, :2], nn.MSELoss()), paper=PAPER.key
    )
    assert result.verdict == "inapplicable" and "split one by one" in result.unmet
