"""Every claim of the paper holds where it should, and its control fails."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from isthmus._core.seeds import Seed
from isthmus.claims import check_claim
from isthmus.model.problem import Problem
from isthmus.papers import zhang2021
from isthmus.papers.zhang2021 import PAPER
from isthmus.papers.zhang2021.figures import embedded_spectra
from isthmus.plots.embedding import plot_census, plot_plateau
from isthmus.plots.regimes import plot_condensation, plot_reduction, plot_spectra
from isthmus.results.catalog import load_record
from tests.embedding.fixtures import WIDTH_1_LOSS, WIDTH_2_LOSS
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


def _kept(name: str) -> object:
    return load_record(Path(zhang2021.__file__).parent / "evidence" / f"{name}.safetensors")


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("plateaus", plot_plateau),
        ("condensation", plot_condensation),
        ("spectra", plot_spectra),
        ("census", plot_census),
        ("digits", plot_reduction),
    ],
)
def test_kept_figures_draw(name: str, draw: object) -> None:
    assert isinstance(draw(_kept(name)), Figure)


def test_kept_figures_hold_the_known_numbers() -> None:
    """The run passes the width-1 plateau and leaves it; the census meets the reference minima; digits condense."""
    plateaus, census, digits = (_kept(name) for name in ("plateaus", "census", "digits"))
    assert abs(plateaus.level[plateaus.nearest] - WIDTH_1_LOSS) < 1e-12 and plateaus.near[8] and not plateaus.near[-1]
    for width, loss in ((1, WIDTH_1_LOSS), (2, WIDTH_2_LOSS), (3, 0.05837443955572)):
        assert (np.abs(census.loss[census.width == width] - loss) < 1e-11).any()
    assert digits.directions.min() < digits.width / 10 and digits.agreement[0] > 0.98


@pytest.mark.parametrize(
    "measure", [lambda: _kept("spectra"), pytest.param(lambda: embedded_spectra(Seed(0)), marks=pytest.mark.slow)]
)
def test_spectra_are_predicted_from_the_narrow_network(measure: object) -> None:
    found = measure()
    assert abs(found.loss - WIDTH_2_LOSS) < 1e-12 and (found.gradient < 1e-13).all()
    assert np.array_equal(found.inertia, found.predicted) and found.inertia.tolist() == [[0, 0, 6], [1, 1, 7], [2, 2, 8]]
