"""Speed of the game solvers: traffic equilibria and certificates of ReLU networks (process CPU seconds, one thread).

A user's copy of a TNTP instance is timed too when ISTHMUS_TNTP names a folder with ``*_net.tntp`` and ``*_trips.tntp``.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isthmus.games.traffic import ConjugateFrankWolfe, RoadNetwork, braess, generated_grid, read_tntp, user_equilibrium


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work returned, and its CPU seconds."""
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def traffic(name: str, network: RoadNetwork, tolerance: float, solver: Any = None) -> None:
    found, took = timed(lambda: user_equilibrium(network, tolerance=tolerance, solver=solver))
    print(
        f"{name}: {network.links} links, {len(network.demand)} pairs: {took:.2f} s CPU, {found.method}, relative gap "
        f"{found.relative_gap:.1e}, Beckmann {found.potential:.11g}, {found.used_paths} paths",
        flush=True,
    )


def main() -> None:
    user_equilibrium(braess())  # compile
    for seed in range(3):
        traffic(f"grid 16x16, seed {seed}", generated_grid(16, 16, zones=32, seed=seed), 1e-10)
    small = generated_grid(16, 16, zones=32)
    for memory in (0, 1, 2):
        traffic("grid 16x16", small, 1e-4, ConjugateFrankWolfe(memory=memory))
    folder = os.environ.get("ISTHMUS_TNTP")
    if folder:
        for net in sorted(Path(folder).glob("*_net.tntp")):
            traffic(net.stem, read_tntp(net, str(net).replace("_net", "_trips")), 1e-10)
    if "large" in sys.argv[1:]:
        traffic("grid 40x40", generated_grid(40, 40, zones=301), 1e-4)


if __name__ == "__main__":
    main()
