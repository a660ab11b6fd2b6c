"""The sentence about claims: how many, at which scale, and which ones fail."""

from dataclasses import replace

from isthmus.report.chapters.claims import CLAIMS
from tests.plots.test_claims import result


def test_what_fails_is_named() -> None:
    held = replace(result([1.0, 2.0], [[1.0, 2.0]]), verdict="holds", control_verdict="fails", claim="one")
    failed = replace(held, verdict="fails", claim="three")
    open_ = replace(held, verdict="inconclusive", control_verdict="inconclusive", claim="four")
    records = {f"claims/{r.claim}": r for r in (held, replace(held, claim="two"), failed, open_)}
    assert CLAIMS.sentence(records) == (
        "Of 4 statements checked at smoke scale: 2 hold, 1 fails (p.three), 1 inconclusive; 3 of 3 negative controls failed as they must."
    )
