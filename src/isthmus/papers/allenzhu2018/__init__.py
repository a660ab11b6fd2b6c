"""Allen-Zhu, Li, Liang 2018, on learning beyond the kernel regime with two- and three-layer networks."""

from isthmus.papers.allenzhu2018.claims import CLAIMS
from isthmus.papers.paper import Paper

PAPER = Paper(key="allenzhu2018", claims=CLAIMS)
