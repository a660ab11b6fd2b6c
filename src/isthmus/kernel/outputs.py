"""Reductions of a kernel over the network's outputs; kernels of different reductions must never be mixed."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus.linops.random import gaussian
from isthmus.model.network import Network


@dataclass(frozen=True)
class OutputIndex:
    """The kernel of one output alone: ``K[n, index, m, index]``."""

    index: int


@dataclass(frozen=True)
class RandomOutputs:
    """``sum_j (r_j f) (r_j f)' / count`` over Gaussian combinations of outputs: the trace kernel in expectation.

    Its entries scatter around the trace by about ``sqrt(2 / count)`` of the block's norm; the cost is that of `count`
    outputs instead of all.
    """

    count: int
    seed: Seed | int = 0


Outputs = Literal["full", "trace", "sum"] | OutputIndex | RandomOutputs


@dataclass(frozen=True)
class Reduction:
    """A network whose full or trace kernel is the kernel asked for, and what to call it."""

    network: Network
    kind: Literal["full", "trace"]
    label: str
    error: str | None = None
    seed: str = ""


def reduced(outputs: Outputs, network: Network, inputs: Tensor) -> Reduction:
    """Turn a reduction over outputs into a network with combined outputs.

    Raises:
        InputError: the reduction is unknown, or names an output that does not exist.
    """
    if outputs == "full":
        return Reduction(network, "full", "full")
    if outputs == "trace":
        return Reduction(network, "trace", "trace")
    count = network(inputs[:1]).shape[1]
    if outputs == "sum":
        return Reduction(network.projected(torch.ones(1, count)), "trace", "sum")
    if isinstance(outputs, OutputIndex):
        if not 0 <= outputs.index < count:
            raise InputError(f"OutputIndex({outputs.index}): the network has {count} outputs, numbered from 0.")
        return Reduction(network.projected(torch.eye(count)[[outputs.index]]), "trace", f"index {outputs.index}")
    if isinstance(outputs, RandomOutputs):
        if outputs.count < 1:
            raise InputError(f"RandomOutputs needs at least one combination, found {outputs.count}.")
        seed = as_seed(outputs.seed).child("outputs")
        matrix = gaussian((outputs.count, count), seed, torch.float64) / outputs.count**0.5
        error = f"entries scatter by about sqrt(2 / {outputs.count}) of each block's norm"
        label = f"random projection ({outputs.count} combinations, seed {seed})"
        return Reduction(network.projected(matrix), "trace", label, error, str(seed))
    raise InputError(
        f"outputs={outputs!r} is unknown; write 'full', 'trace', 'sum', OutputIndex(k) or RandomOutputs(count, seed)."
    )
