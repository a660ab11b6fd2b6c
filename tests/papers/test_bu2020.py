import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus.claims import check_claim
from isthmus.dynamics import TorchSgd, spectrum, stability_limit
from isthmus.papers.bu2020 import PAPER
from isthmus.papers.bu2020.figures import METHODS, Size, notebook, optimizer_runs
from isthmus.papers.bu2020.instances import two_layer
from isthmus.plots.dynamics import plot_runs
from isthmus.results.optimizers import OptimizerRuns
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


@pytest.fixture(scope="module")
def runs():
    pytest.importorskip("sklearn")
    few = {name: METHODS[name] for name in ("gradient descent", "heavy ball 0.8")}
    return {name: optimizer_runs(name, Size(1000, 24, 12, 2), methods=few, seed=0) for name in ("notebook", "ntk")}


def test_the_notebooks_setting_is_flagged_before_training_and_catapults(runs):
    found = runs["notebook"]
    assert found.verdict[0] == "edge of stability or catapult expected" and (found.margin[:, 0] > 1).all()
    descent, predicted = found.loss[:, 0], found.predicted[:, 0]
    assert (descent[:, 1] > descent[:, 0]).all()  # the first step throws the loss up,
    assert (descent[:, -1] < 0.5 * descent[:, 0]).all() and (predicted[:, -1] > 100 * descent[:, -1]).all()  # and it comes back


def test_the_clean_setting_follows_its_kernel(runs):
    found = runs["ntk"]
    assert found.verdict == ["kernel regime"] * 2 and (found.margin < 0.3).all()
    assert np.abs(found.loss - found.predicted).max() < 0.05 * found.loss[0, 0, 0]
    assert (found.loss[:, 1, -1] < found.loss[:, 0, -1]).all()  # faster with momentum, as in the notebook's first figure


def test_figures_of_the_runs(runs, tmp_path):
    for record in runs.values():
        assert OptimizerRuns.load(record.save(tmp_path / "r.safetensors")).same_numbers(record)
        assert len(plot_runs(record).axes) == 2


def test_the_step_size_in_the_notebooks_setting_must_shrink_with_the_width():
    sizes = [Size(width, 24, 0, 1) for width in (1000, 2000)]
    margins = [stability_limit(spectrum(notebook(size, isthmus.Seed(0))), TorchSgd(lr=1e-4)).margin for size in sizes]
    assert margins[1] / margins[0] == pytest.approx(2, rel=0.3)  # no NTK parametrization
