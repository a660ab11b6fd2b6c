"""Vesseron, Redko and Laclau 2020, on deep networks as congestion games.

Only the abstract is at hand; the game that makes its claim precise is a reconstruction, and every claim says so.
"""

from isthmus.papers.paper import Paper
from isthmus.papers.vesseron2020.claims import CLAIMS
from isthmus.papers.vesseron2020.open_questions import OPEN_QUESTIONS

PAPER = Paper("vesseron2020", claims=(*CLAIMS, *OPEN_QUESTIONS))
