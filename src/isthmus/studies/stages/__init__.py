"""The survey's stages, in the order in which they run."""

from isthmus.studies.stage import Stage
from isthmus.studies.stages.alignment import ALIGNMENT
from isthmus.studies.stages.curvature import DENSITY, SHARPNESS
from isthmus.studies.stages.dynamics import DYNAMICS, EDGE
from isthmus.studies.stages.embedding import CENSUS, CONDENSATION, PLATEAU, UNITS
from isthmus.studies.stages.evolution import AFTER_KERNEL, EVOLUTION, LINEARIZED, SPAWNING
from isthmus.studies.stages.games import GAMES
from isthmus.studies.stages.kernel import KERNEL
from isthmus.studies.stages.learning import CURVES, ORDERS
from isthmus.studies.stages.surface import CURVE, PLANE
from isthmus.studies.stages.symmetry import SYMMETRY
from isthmus.studies.stages.training import HISTORY
from isthmus.studies.stages.twins import TWINS

STAGES: tuple[Stage, ...] = (
    HISTORY,
    KERNEL,
    SHARPNESS,
    DENSITY,
    TWINS,
    PLANE,
    CURVE,
    SPAWNING,
    AFTER_KERNEL,
    EVOLUTION,
    SYMMETRY,
    ALIGNMENT,
    UNITS,
    PLATEAU,
    CONDENSATION,
    CENSUS,
    DYNAMICS,
    EDGE,
    ORDERS,
    CURVES,
    GAMES,
)

#: what `isthmus evolve` measures: the evolution of the kernel alone, with linearized children besides
EVOLUTION_STAGES: tuple[Stage, ...] = (HISTORY, KERNEL, SPAWNING, AFTER_KERNEL, LINEARIZED, EVOLUTION)
