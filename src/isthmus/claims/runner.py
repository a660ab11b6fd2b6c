"""Checking a claim, together with its negative control."""

import time

import numpy as np

from isthmus._core.errors import IsthmusError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.claims.claim import Check, Claim, ScaleName
from isthmus.claims.evidence import Evidence, Verdict
from isthmus.model.problem import Problem, provenance
from isthmus.results.claims import ClaimResult
from isthmus.results.provenance import Cost


def check_claim(claim: Claim, problem: Problem, *, paper: str, scale: ScaleName = "smoke", seed: Seed | int = 0) -> ClaimResult:
    """Check a claim on a problem, then the same check on an instance that must break it.

    The control counts only when its verdict is `fails`. A check or a control that raises an error of isthmus is recorded
    as `inconclusive` with the error's words; any other exception is a fault and passes through.

    Args:
        claim: the statement.
        problem: the subject, in evaluation mode.
        paper: key of the paper that binds the claim.
        scale: how much to measure.
        seed: names all draws.

    Returns:
        Verdicts and measurements of both.
    """
    started, seed = time.perf_counter(), as_seed(seed).child(paper, claim.id)
    unmet = next((h.name for h in claim.hypotheses if not h.test(problem)), "")
    evidence, words = (None, "") if unmet else _run(claim.check, "check", problem, scale, seed)
    control, control_words = (None, "") if unmet else _run(claim.control, "control", problem, scale, seed.child("control"))
    missing = Verdict.INAPPLICABLE if unmet else Verdict.INCONCLUSIVE
    return ClaimResult(
        scale_axis=evidence.axis if evidence else np.empty(0),
        measured=evidence.measured if evidence else np.empty((0, 0)),
        control_axis=control.axis if control else np.empty(0),
        control_measured=control.measured if control else np.empty((0, 0)),
        axis_name=evidence.axis_name if evidence else "",
        measured_name=evidence.measured_name if evidence else "",
        claim=claim.id,
        paper=paper,
        statement=claim.statement,
        source=claim.source,
        kind=claim.kind,
        verdict=(evidence.verdict if evidence else missing).value,
        control_verdict="" if unmet else (control.verdict if control else missing).value,
        evidence=words,
        control_evidence=control_words,
        unmet=unmet,
        scale=scale,
        status=Status.EXACT if claim.kind == "exact" else Status.ESTIMATED,
        method=f"{claim.kind} check with negative control",
        error="95 % Student interval over seeds" if claim.kind != "exact" else None,
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem, seed),
    )


def _run(part: Check, name: str, problem: Problem, scale: ScaleName, seed: Seed) -> tuple[Evidence | None, str]:
    try:
        evidence = part(problem, scale, seed)
    except IsthmusError as fault:
        return None, f"The {name} could not run: {fault}"
    return evidence, evidence.words
