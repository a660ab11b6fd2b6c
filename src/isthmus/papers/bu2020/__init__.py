"""Bu, Xu and Chen 2020, on optimization algorithms as dynamical systems in function space.

The abstract and the authors' notebook were read; the paper's theorems and constants were not, and no claim quotes them.
"""

from isthmus.papers.bu2020.claims import CLAIMS
from isthmus.papers.paper import Paper

PAPER = Paper("bu2020", claims=CLAIMS)
