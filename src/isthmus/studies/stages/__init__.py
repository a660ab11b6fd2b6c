"""The survey's stages, in the order in which they run."""

from isthmus.studies.stage import Stage
from isthmus.studies.stages.curvature import DENSITY, SHARPNESS
from isthmus.studies.stages.embedding import CENSUS, PLATEAU, UNITS
from isthmus.studies.stages.games import GAMES
from isthmus.studies.stages.kernel import KERNEL
from isthmus.studies.stages.learning import CURVES, ORDERS
from isthmus.studies.stages.training import HISTORY
from isthmus.studies.stages.twins import TWINS

STAGES: tuple[Stage, ...] = (HISTORY, KERNEL, SHARPNESS, DENSITY, TWINS, UNITS, PLATEAU, CENSUS, ORDERS, CURVES, GAMES)
