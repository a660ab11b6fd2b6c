"""Evidence that is kept with a paper: it speaks about the claims that stand today, at desk scale, and its controls failed."""

from pathlib import Path

import pytest

import isthmus.papers
from isthmus.papers import PAPERS
from isthmus.results.catalog import load_record
from isthmus.results.claims import ClaimResult

KEPT = sorted(Path(isthmus.papers.__file__).parent.glob("*/evidence/*.safetensors"))
CLAIMS = {(paper.key, claim.id): claim for paper in PAPERS for claim in paper.claims}


@pytest.mark.parametrize("path", KEPT, ids=[f"{path.parts[-3]}-{path.stem}" for path in KEPT])
def test_kept_record(path: Path) -> None:
    record = load_record(path)
    assert path.stat().st_size < 200_000
    if isinstance(record, ClaimResult):
        claim = CLAIMS[record.paper, record.claim]
        assert (record.statement, record.kind) == (claim.statement, claim.kind), "the claim has changed since: measure again"
        assert record.scale == "desk" and len(record.provenance.versions["commit"]) == 40
        assert record.unmet or record.control_verdict == "fails"
