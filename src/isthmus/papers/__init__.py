"""The papers, each as a folder that binds claims to measurements."""

from isthmus.claims import Claim
from isthmus.papers.allenzhu2018 import PAPER as ALLENZHU2018
from isthmus.papers.bu2020 import PAPER as BU2020
from isthmus.papers.fort2020 import PAPER as FORT2020
from isthmus.papers.paper import Paper
from isthmus.papers.simsek2021 import PAPER as SIMSEK2021
from isthmus.papers.vesseron2020 import PAPER as VESSERON2020
from isthmus.papers.zhang2021 import PAPER as ZHANG2021

PAPERS: tuple[Paper, ...] = (SIMSEK2021, ZHANG2021, ALLENZHU2018, VESSERON2020, BU2020, FORT2020)

__all__ = ["PAPERS", "Paper", "all_claims"]


def all_claims() -> dict[str, tuple[Paper, Claim]]:
    """``paper.claim`` to the paper and the claim, in order."""
    return {f"{paper.key}.{claim.id}": (paper, claim) for paper in PAPERS for claim in paper.claims}
