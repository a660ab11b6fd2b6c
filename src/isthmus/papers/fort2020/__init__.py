"""Fort et al. 2020, on how the tangent kernel moves in training."""

from isthmus.papers.fort2020.claims import CLAIMS
from isthmus.papers.paper import Paper

PAPER = Paper(
    key="fort2020",
    title="Deep learning versus kernel learning: an empirical study of loss landscape geometry and the time evolution of "
    "the Neural Tangent Kernel",
    authors="S. Fort, G. K. Dziugaite, M. Paul, S. Kharaghani, D. M. Roy, S. Ganguli",
    year=2020,
    arxiv="2010.15110",
    claims=CLAIMS,
)
