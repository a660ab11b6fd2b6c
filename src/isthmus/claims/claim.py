"""A claim and its hypotheses: plain data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from isthmus._core.seeds import Seed
from isthmus.claims.evidence import Evidence
from isthmus.model.problem import Problem

ScaleName = Literal["smoke", "desk", "paper"]
Check = Callable[[Problem, ScaleName, Seed], Evidence]


@dataclass(frozen=True)
class Hypothesis:
    """A condition under which a claim speaks; ``test(problem)`` says whether it holds."""

    name: str
    test: Callable[[Problem], bool]


@dataclass(frozen=True)
class Claim:
    """A refutable statement.

    Attributes:
        id: unique within its paper.
        kind: ``exact`` (to floating point), ``statistical``, or ``asymptotic`` (a fitted rate over at least four sizes).
        statement: in words.
        source: whose statement it is: the paper's (abstract, text, notes at second hand) or derived here.
        hypotheses: when one fails, the verdict is `inapplicable`.
        check: measures it on a problem.
        control: the same check on an instance built to break it.
    """

    id: str
    kind: Literal["exact", "statistical", "asymptotic"]
    statement: str
    source: str
    hypotheses: tuple[Hypothesis, ...]
    check: Check
    control: Check
