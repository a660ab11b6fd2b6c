"""Games: the public names that are given a module, and those that never see one."""

import isthmus
from tests.architecture.user import problem_of

CASES = {
    "PathGame": lambda module, _: (
        isthmus.PathGame(problem_of(module)).certificate(prices="exact"),
        isthmus.PathGame(problem_of(module)).flows(),
        isthmus.PathGame(problem_of(module)).braess_scan(on="heldout"),
    ),
    "to_networkx": lambda module, _: isthmus.to_networkx(isthmus.PathGame(problem_of(module))),
    "wardrop_equilibrium": lambda module, _: isthmus.wardrop_equilibrium(
        isthmus.PathGame(problem_of(module)).strategies(), tolerance=0.1
    ),
}
WITHOUT = {"CongestionGame", "RoadNetwork", "read_tntp", "social_optimum", "system_optimum", "user_equilibrium"}
