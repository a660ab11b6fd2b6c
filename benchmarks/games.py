"""Speed of the game solvers: traffic equilibria and certificates of ReLU networks (process CPU seconds, one thread).

``large`` adds the 40x40 grid, ``exact`` the exact certificate. A user's copies of TNTP instances are timed too when
ISTHMUS_TNTP names a folder with ``*_net.tntp`` and ``*_trips.tntp``.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isthmus import Problem
from isthmus.games.pathgame import PathGame
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


def certificate(exact: bool) -> None:
    """A 784-512-512-10 ReLU network at its start on 1024 sparse inputs, like images of digits."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(1024, 784, generator=generator) * (torch.rand(1024, 784, generator=generator) < 0.3)
    labels = torch.randint(0, 10, (1024,), generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    game = PathGame(Problem(net, inputs, labels, nn.CrossEntropyLoss()))
    found, took = timed(game.certificate)
    print(
        f"certificate 784-512-512-10, N=1024, {found.kind}: {took:.2f} s CPU, gap {found.gap:.4g} (paths show {found.gap_lower:.4g})",
        flush=True,
    )
    flows, took = timed(game.flows)
    print(f"  flows, counts, strongest paths: {took:.2f} s CPU, Kirchhoff residual {flows.kirchhoff_residual:.1e}", flush=True)
    plan, took = timed(game.plan)
    print(f"  exact, stated first in {took:.2f} s CPU: at worst {plan}", flush=True)
    if exact:
        found, took = timed(lambda: game.certificate(prices="exact", limit=plan.flops))
        print(f"  {found.kind}: {took:.2f} s CPU, gap {found.gap:.4g}", flush=True)


def main() -> None:
    certificate("exact" in sys.argv[1:])
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
