"""Critical points of narrow networks inside wide ones: grow, shrink, predict, escape."""

from isthmus.embedding.census import census
from isthmus.embedding.compatible import Compatible
from isthmus.embedding.depth import lift_depth, prune_layer
from isthmus.embedding.directions import condensation
from isthmus.embedding.escape import escape
from isthmus.embedding.grow import grow
from isthmus.embedding.growth import Growth
from isthmus.embedding.plant import plant
from isthmus.embedding.plateau import identify_plateau
from isthmus.embedding.prediction import predict_inertia
from isthmus.embedding.rank import model_rank
from isthmus.embedding.regime import initialization_regime, measured_regime
from isthmus.embedding.shrink import shrink
from isthmus.embedding.unit_curvature import unit_curvature

__all__ = [
    "Compatible",
    "Growth",
    "census",
    "condensation",
    "escape",
    "grow",
    "identify_plateau",
    "initialization_regime",
    "lift_depth",
    "measured_regime",
    "model_rank",
    "plant",
    "predict_inertia",
    "prune_layer",
    "shrink",
    "unit_curvature",
]
