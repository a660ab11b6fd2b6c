import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus.claims import check_claim
from isthmus.dynamics import regime_check
from isthmus.papers.bu2020 import PAPER
from isthmus.papers.bu2020.instances import two_layer
from tests.dynamics.problems import classification

EXACT = {"strongly_convex_in_prediction"}


@pytest.mark.parametrize("claim", PAPER.claims, ids=lambda claim: claim.id)
def test_claim_stands_and_its_control_fails(claim):
    found = check_claim(claim, classification(), paper=PAPER.key, seed=0)
    assert found.verdict == ("holds" if claim.id in EXACT else "consistent"), found.evidence
    assert found.control_verdict == "fails", found.control_evidence


def test_statements_of_the_paper_are_all_bound():
    wanted = {
        "heavy_ball_linear",
        "nesterov_sublinear",
        "limiting_odes",
        "strongly_convex_in_prediction",
        "other_optimizers_and_architectures",
    }
    assert wanted <= {claim.id for claim in PAPER.claims}


def test_convexity_is_inapplicable_where_examples_are_coupled():
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2))
    problem = isthmus.Problem(net, x, torch.zeros(8, 2), nn.MSELoss())
    claim = next(claim for claim in PAPER.claims if claim.id == "strongly_convex_in_prediction")
    assert check_claim(claim, problem, paper=PAPER.key).verdict == "inapplicable"


def test_instances_start_at_zero_and_share_their_data_over_widths():
    narrow, wide = (two_layer(width, isthmus.Seed(3)) for width in (64, 256))
    assert torch.equal(narrow.inputs, wide.inputs) and torch.equal(narrow.targets, wide.targets)
    assert narrow.network(narrow.inputs).abs().max() < 1e-13
    assert isthmus.spectrum(two_layer(64, isthmus.Seed(3), repeat=True)).zero_modes == 5


def notebook(width):
    """The authors' notebook on scikit-learn digits: no 1/sqrt(m), both layers trained, labels as numbers."""
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    images = np.kron(digits.images[:30] / 16, np.ones((3, 3)))
    x = torch.tensor(np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(30, 784), dtype=torch.float32)
    torch.manual_seed(218)
    net = nn.Sequential(nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 1, bias=False))
    nn.init.normal_(net[0].weight, std=1 / width)
    nn.init.uniform_(net[2].weight, -1, 1)
    return isthmus.Problem(net, x, torch.tensor(digits.target[:30, None], dtype=torch.float32), nn.MSELoss())


def test_the_notebooks_setting_is_flagged_before_training():
    found = [isthmus.stability_limit(notebook(width), lambda p: torch.optim.SGD(p, lr=1e-4), rtol=1e-3) for width in (1000, 2000)]
    assert all(one.margin > 1 for one in found)
    assert found[1].x / found[0].x == pytest.approx(2, rel=0.3)  # grows with the width: no NTK parametrization
    verdict = regime_check(notebook(1000), lambda p: torch.optim.SGD(p, lr=1e-4), kernel_samples=5)
    assert verdict.verdict == "edge of stability or catapult expected" and "NTK parametrization" in verdict.consequence
