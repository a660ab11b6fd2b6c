"""Zhang et al. 2021, on critical points of narrow networks inside wide ones."""

from isthmus.papers.paper import Paper
from isthmus.papers.zhang2021.claims import CLAIMS

PAPER = Paper(key="zhang2021", claims=CLAIMS)
