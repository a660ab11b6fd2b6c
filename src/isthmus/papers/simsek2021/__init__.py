"""Simsek et al. 2021, on what the permutation symmetry of hidden units does to the loss landscape."""

from isthmus.papers.paper import Paper
from isthmus.papers.simsek2021 import counting, geometry

PAPER = Paper(key="simsek2021", claims=(*geometry.CLAIMS, *counting.CLAIMS))
