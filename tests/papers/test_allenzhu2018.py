"""Every claim passes on a smooth network, and every control fails; the verdicts do not hang on one seed."""

import pytest
import torch
from torch import nn

from isthmus.claims import Claim, check_claim
from isthmus.model.problem import Problem
from isthmus.papers.allenzhu2018 import PAPER


def problem(activation: type[nn.Module] = nn.Tanh) -> Problem:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 20), activation(), nn.Linear(20, 1))
        x = torch.randn(60, 4)
    return Problem(net, x, x[:, :1].sin(), nn.MSELoss()).eval()


@pytest.mark.slow
@pytest.mark.parametrize("claim", PAPER.claims, ids=lambda claim: claim.id)
def test_claim_passes_and_its_control_fails(claim: Claim) -> None:
    result = check_claim(claim, problem(), paper=PAPER.key)
    assert result.verdict in ("holds", "consistent"), result.evidence
    assert result.control_verdict == "fails", result.control_evidence


def test_the_papers_statements_are_all_bound() -> None:
    ids = {claim.id for claim in PAPER.claims}
    assert {
        "two_layer_learns_class",
        "three_layer_learns_class",
        "sgd_polynomial",
        "samples_independent_of_width",
        "beyond_ntk",
        "quadratic_approximation",
        "escaping_saddles",
    } <= ids


def test_a_network_with_kinks_or_linear_in_its_parameters_is_told_so() -> None:
    claim = next(claim for claim in PAPER.claims if claim.id == "quadratic_model_of_this_network")
    assert "smooth" in check_claim(claim, problem(nn.ReLU), paper=PAPER.key).unmet
    linear = Problem(
        nn.Linear(4, 1), torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(20, 1), nn.MSELoss()
    )
    assert "linear" in check_claim(claim, linear, paper=PAPER.key).unmet
