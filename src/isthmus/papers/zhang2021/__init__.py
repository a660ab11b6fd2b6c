"""Zhang et al. 2021, on critical points of narrow networks inside wide ones."""

from isthmus.papers.paper import Paper
from isthmus.papers.zhang2021 import claims, inertia, training

PAPER = Paper(key="zhang2021", claims=(*claims.CLAIMS, *inertia.CLAIMS, *training.CLAIMS))
