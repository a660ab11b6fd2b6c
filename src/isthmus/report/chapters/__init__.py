"""The chapters of the atlas, in the order of its questions."""

from isthmus.report.chapter import Chapter
from isthmus.report.chapters.claims import CLAIMS
from isthmus.report.chapters.dynamics import DYNAMICS
from isthmus.report.chapters.embedding import EMBEDDING
from isthmus.report.chapters.games import GAMES
from isthmus.report.chapters.kernel import KERNEL
from isthmus.report.chapters.learning import LEARNING
from isthmus.report.chapters.symmetry import SYMMETRY
from isthmus.report.chapters.training import TRAINING

CHAPTERS: tuple[Chapter, ...] = (TRAINING, KERNEL, SYMMETRY, EMBEDDING, DYNAMICS, LEARNING, GAMES, CLAIMS)
