"""What every claim must be. Suites are parametrized over `papers.all_claims()`, so a claim that a paper adds inherits them."""

from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from isthmus._core.errors import IsthmusError
from isthmus.claims import Claim, check_claim
from isthmus.model.problem import Problem
from isthmus.model.zoo import mlp
from isthmus.papers import all_claims
from isthmus.results.claims import ClaimResult


def _classes() -> Problem:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(80, 6, generator=generator)
    labels = (inputs[:, :3] + 0.1 * torch.randn(80, 3, generator=generator)).argmax(1)
    return Problem(mlp([6, 10, 8, 3], seed=0), inputs, labels, nn.CrossEntropyLoss()).eval()


def _regression() -> Problem:
    inputs = torch.randn(60, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    targets = torch.tanh(inputs[:, :1] - inputs[:, 1:2])
    return Problem(mlp([5, 8, 1], "tanh", seed=1).double(), inputs, targets, nn.MSELoss()).eval()


#: problems that a claim can speak about; the first that meets all its hypotheses is its subject
SUBJECTS: dict[str, Callable[[], Problem]] = {"two hidden layers, classes": _classes, "one hidden layer, regression": _regression}


def subject_of(claim: Claim) -> Problem | None:
    """The first subject that meets the claim's hypotheses."""
    return next((p for p in map(_made, SUBJECTS) if all(h.test(p) for h in claim.hypotheses)), None)


@cache
def result_of(name: str) -> ClaimResult:
    """The claim and its control at smoke scale, checked once for the whole session."""
    paper, claim = all_claims()[name]
    subject = subject_of(claim)
    if subject is None:
        raise IsthmusError(f"No subject meets the hypotheses of {name}. Add one to tests/conformance/claims.py, or widen them.")
    return check_claim(claim, subject, paper=paper.key, scale="smoke", seed=0)


@cache
def _made(name: str) -> Problem:
    return SUBJECTS[name]()
