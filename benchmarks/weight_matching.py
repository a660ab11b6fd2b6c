"""Speed of weight matching on 784-512-512-10 with planted permutations (process CPU seconds, one thread).

Prints the time to trace and pair the networks, the time to match them, and, where `rebasin` is installed beside isthmus
(in an environment of its own), the same for it.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from isthmus import Problem, Seed, WeightMatching, random_equivalent
from isthmus.symmetry.alignment import compare

SEEDS = range(7)


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work returned, and its CPU seconds."""
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def planted(seed: int) -> tuple[Problem, nn.Sequential]:
    """A network and a copy whose hidden units are in another order."""
    problem = Problem(network(seed), torch.randn(64, 784), torch.randint(0, 10, (64,)), nn.CrossEntropyLoss())
    copy = network(seed)
    copy.load_state_dict(random_equivalent(problem, seed=seed, symmetries="permutations").parameters)
    return problem, copy


def ours(seed: int) -> tuple[float, float]:
    """Seconds to trace and pair, and to match."""
    problem, copy = planted(seed)
    compared, pairing = timed(lambda: compare(problem, copy, "permutations"))
    (found, _), matching = timed(lambda: WeightMatching().match(compared.task, Seed(seed)))
    assert found.objective > 1 - 1e-6, "the planted permutation was not found"
    return pairing, matching


def theirs(seed: int) -> tuple[float, float]:
    """The same by rebasin."""
    rebasin = importlib.import_module("rebasin")
    problem, copy = planted(seed)
    stays = network(seed)
    descent, pairing = timed(lambda: rebasin.PermutationCoordinateDescent(stays, copy, problem.inputs[:2]))
    _, matching = timed(descent.rebasin)
    assert torch.allclose(copy[0].weight, stays[0].weight), "the planted permutation was not found"
    return pairing, matching


def main() -> None:
    torch.set_num_threads(1)
    tools = {"isthmus": ours} | ({"rebasin": theirs} if importlib.util.find_spec("rebasin") else {})
    for tool, run in tools.items():
        run(0)  # first calls load code
        pairing, matching = (statistics.median(part) for part in zip(*map(run, SEEDS), strict=True))
        print(f"{tool}: {pairing:.4f} s to trace and pair, {matching:.4f} s to match 2 x 512 planted units", flush=True)


if __name__ == "__main__":
    main()
