"""Traffic assignment on road networks: equilibria, optima and tolls by path and link methods."""

from isthmus.games.traffic.assignment import system_optimum, traffic_anarchy, traffic_tolls, user_equilibrium
from isthmus.games.traffic.instances import braess, generated_grid, pigou, wheatstone
from isthmus.games.traffic.links import ConjugateFrankWolfe
from isthmus.games.traffic.network import RoadNetwork
from isthmus.games.traffic.paths import GradientProjection
from isthmus.games.traffic.tntp import read_tntp, read_tntp_flows

__all__ = [
    "ConjugateFrankWolfe", "GradientProjection", "RoadNetwork", "braess", "generated_grid", "pigou", "read_tntp",
    "read_tntp_flows", "system_optimum", "traffic_anarchy", "traffic_tolls", "user_equilibrium", "wheatstone",
]  # fmt: skip
