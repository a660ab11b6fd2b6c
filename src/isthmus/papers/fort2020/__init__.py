"""Fort et al. 2020, on how the tangent kernel moves in training."""

from isthmus.papers.fort2020.claims import CLAIMS
from isthmus.papers.paper import Paper

PAPER = Paper(key="fort2020", claims=CLAIMS)
