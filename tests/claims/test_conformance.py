"""Every claim of every paper has an id, an honest source, a subject, and a negative control that fails."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from isthmus.claims import Verdict
from isthmus.papers import PAPERS, all_claims
from isthmus.results.claims import ClaimResult
from tests.conformance.claims import result_of

each_claim = pytest.mark.parametrize("name", all_claims())


def test_ids_and_keys_are_unique() -> None:
    assert max(Counter(paper.key for paper in PAPERS).values()) == 1
    for paper in PAPERS:
        assert max(Counter(claim.id for claim in paper.claims).values()) == 1, paper.key
    assert len(all_claims()) == sum(len(paper.claims) for paper in PAPERS)


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.key)
def test_a_paper_says_which_it_is_and_binds_claims(paper) -> None:
    assert paper.reference.key == paper.key, "it is among the references"
    assert paper.claims


@each_claim
def test_a_claim_is_named_stated_and_sourced(name: str) -> None:
    _, claim = all_claims()[name]
    assert re.fullmatch(r"[a-z][a-z0-9_]*", claim.id)
    assert claim.kind in ("exact", "statistical", "asymptotic")
    assert claim.statement[0].isupper()
    assert claim.statement.endswith(".")
    assert re.search(r"\b(paper|abstract|text|notes|derived)", claim.source), "whose statement it is"
    assert not re.search(r"[Tt]heorem \d|[Ll]emma \d|[Pp]roposition \d", claim.statement + claim.source), "no numbered theorem"
    assert all(hypothesis.name for hypothesis in claim.hypotheses)
    assert claim.check is not claim.control


@each_claim
def test_the_negative_control_fails(name: str) -> None:
    result = result_of(name)
    assert result.control_verdict == Verdict.FAILS.value, result.control_evidence


@each_claim
def test_the_check_decides_something_at_smoke_scale(name: str) -> None:
    result = result_of(name)
    assert result.verdict not in (Verdict.INAPPLICABLE.value, ""), result.unmet
    if result.verdict != Verdict.INCONCLUSIVE.value:
        assert np.isfinite(result.measured).all()
    assert result.evidence


@each_claim
def test_rates_are_fitted_over_four_sizes_and_spread_over_seeds(name: str) -> None:
    result = result_of(name)
    assert result.measured.shape[1] == len(result.scale_axis)
    assert result.control_measured.shape[1] == len(result.control_axis)
    if result.kind == "asymptotic":
        assert len(np.unique(result.scale_axis)) >= 4
    if result.kind != "exact":
        assert len(result.measured) >= 2
        assert result.verdict != Verdict.HOLDS.value, "statistics can only be consistent"


@each_claim
def test_its_record_round_trips(name: str, tmp_path: Path) -> None:
    result = result_of(name)
    assert ClaimResult.load(result.save(tmp_path / "claim.safetensors")).same_numbers(result)
