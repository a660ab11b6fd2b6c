"""What the runner makes of claims that hold, break, do not apply, or cannot run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import BudgetError, NumericalError
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.claims import Claim, Evidence, Hypothesis, check_claim
from isthmus.model.problem import Problem
from isthmus.results.claims import ClaimResult


def problem() -> Problem:
    return Problem(nn.Linear(2, 1), torch.randn(4, 2), torch.randn(4, 1), nn.MSELoss())


def gives(value: float, *, exact: bool = True):
    def check(problem: Problem, scale: str, seed: Seed) -> Evidence:
        return Evidence(
            quantity="gap", predicted="0", estimate=value, interval=(value, value), threshold=1.0, reason="why",
            exact=exact, axis=np.array([1.0, 2.0]), measured=np.full((3, 2), value),
        )  # fmt: skip

    return check


def raises(fault: Exception):
    def check(problem: Problem, scale: str, seed: Seed) -> Evidence:
        raise fault

    return check


def claim(check=None, control=None, hypotheses: tuple = (), kind: str = "exact") -> Claim:
    return Claim("it", kind, "It holds.", "derived here", hypotheses, check or gives(0.0), control or gives(2.0))


def checked(made: Claim, **options) -> ClaimResult:
    return check_claim(made, problem(), paper="paper", **options)


@pytest.mark.parametrize(
    ("check", "verdict"), [(gives(0.0), "holds"), (gives(0.0, exact=False), "consistent"), (gives(2.0), "fails")]
)
def test_verdict_and_control_verdict_are_those_of_their_evidence(check, verdict: str) -> None:
    found = checked(claim(check))
    assert (found.verdict, found.control_verdict) == (verdict, "fails")
    assert "gap" in found.evidence
    assert "gap" in found.control_evidence
    assert found.measured.shape == (3, 2)
    assert (found.claim, found.paper, found.scale) == ("it", "paper", "smoke")


@pytest.mark.parametrize(("control", "verdict"), [(gives(0.0), "holds"), (gives(0.0, exact=False), "consistent")])
def test_a_control_that_passes_is_recorded_as_passing(control, verdict: str) -> None:
    assert checked(claim(control=control)).control_verdict == verdict


@pytest.mark.parametrize("fault", [BudgetError("too big"), NumericalError(Status.MAX_STEPS, "no end")])
@pytest.mark.parametrize("part", ["check", "control"])
def test_what_cannot_run_is_inconclusive_with_its_reason(part: str, fault: Exception) -> None:
    found = checked(claim(**{part: raises(fault)}))
    verdicts = {"check": found.verdict, "control": found.control_verdict}
    words = {"check": found.evidence, "control": found.control_evidence}
    other = "control" if part == "check" else "check"
    assert verdicts[part] == "inconclusive"
    assert words[part] == f"The {part} could not run: {fault}"
    assert verdicts[other] == {"check": "holds", "control": "fails"}[other], "the other half still counts"


@pytest.mark.parametrize("part", ["check", "control"])
def test_a_fault_of_the_code_is_not_hidden(part: str) -> None:
    with pytest.raises(ZeroDivisionError):
        checked(claim(**{part: raises(ZeroDivisionError())}))


def test_an_unmet_hypothesis_makes_it_inapplicable_and_nothing_runs() -> None:
    asked = []

    def hypothesis(name: str, answer: bool) -> Hypothesis:
        return Hypothesis(name, lambda problem: (asked.append(name), answer)[1])

    never = raises(AssertionError("must not run"))
    found = checked(claim(never, never, (hypothesis("a", True), hypothesis("b", False), hypothesis("c", False))))
    assert (found.verdict, found.control_verdict, found.unmet) == ("inapplicable", "", "b")
    assert found.measured.shape == (0, 0)
    assert asked == ["a", "b"]


def test_check_and_control_draw_from_different_named_seeds() -> None:
    seen: list[Seed] = []

    def note(problem: Problem, scale: str, seed: Seed) -> Evidence:
        seen.append(seed)
        return gives(0.0)(problem, scale, seed)

    checked(claim(note, note), seed=5)
    assert [str(seed) for seed in seen] == ["5/paper/it", "5/paper/it/control"]


@pytest.mark.parametrize(("kind", "error"), [("exact", None), ("statistical", "95 %"), ("asymptotic", "95 %")])
def test_the_record_names_its_error_and_round_trips(kind: str, error: str | None, tmp_path: Path) -> None:
    found = checked(claim(kind=kind))
    assert found.error is None if error is None else error in found.error
    assert ClaimResult.load(found.save(tmp_path / "claim.safetensors")).same_numbers(found)
