"""Every claim passes on a smooth network, and every control fails; the verdicts do not hang on one seed."""

import pytest
import torch
from torch import nn

from isthmus.claims import Claim, check_claim
from isthmus.learning.learners import NetworkLearner
from isthmus.model.problem import Problem
from isthmus.papers.allenzhu2018 import PAPER
from isthmus.papers.allenzhu2018.figures import Size, against_parameters, against_samples, paper_learners, titled
from isthmus.plots.learning import plot_parameters


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


def test_figures_compare_eight_learners_of_twelve_settings() -> None:
    tiny = Size((20, 40), 4, 40, (3, 6), epochs=2, seeds=2)
    learners = paper_learners(tiny.width, tiny.epochs)
    assert len(learners) == 8
    assert all("12 settings" in learner.words for learner in learners if isinstance(learner, NetworkLearner))
    samples, parameters = against_samples(tiny), against_parameters(tiny)
    assert samples.test_error.shape == (10, 2, 2)
    assert not samples.oracle
    assert parameters.parameters[::5].tolist() == [3 * 7, 6 * 10]
    assert "desk scale" in titled(plot_parameters(parameters), "desk", tiny).get_suptitle()
