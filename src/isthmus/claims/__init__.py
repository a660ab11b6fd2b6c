"""The machinery of refutable statements: claim, hypothesis, evidence, verdict, negative control."""

from isthmus.claims.claim import Claim, Hypothesis
from isthmus.claims.evidence import Evidence, Verdict
from isthmus.claims.rates import Rate, fit_rate
from isthmus.claims.runner import check_claim

__all__ = ["Claim", "Evidence", "Hypothesis", "Rate", "Verdict", "check_claim", "fit_rate"]
