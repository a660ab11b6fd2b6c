"""What the linear expansion misses of ordinary training."""

import math

import numpy as np
from torch import nn

from isthmus._core.errors import UnsupportedLayer
from isthmus._core.seeds import Seed
from isthmus.claims import Evidence
from isthmus.claims.claim import ScaleName
from isthmus.linops.random import forked_rng
from isthmus.model.data import Sgd
from isthmus.model.initialization import reinitialized
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.taylor import taylor_model
from isthmus.training import train
from isthmus.training.trajectory import Trajectory

_SIZES = {"smoke": (300, 4, 5), "desk": (2000, 20, 5), "paper": (50000, 200, 5)}
_BATCH = 25
_STANDARD = Sgd(lr=0.05, momentum=0.9)


def can_start_again(problem: Problem) -> bool:
    """Whether fresh parameters can be drawn, and there are enough samples and few enough parameters."""
    try:
        reinitialized(problem.network, Seed(0))
    except UnsupportedLayer:
        return False
    return problem.samples >= 50 and problem.network.size <= 200_000


def same_in_training(problem: Problem) -> bool:
    """Whether no layer behaves otherwise in training than in evaluation."""
    mixing = nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd
    return not any(isinstance(sub, mixing) for sub in problem.network.module.modules())


def _linear_model(problem: Problem) -> Problem:
    """The same data under a model that is linear in its parameters, which is its own expansion."""
    outputs = problem.network.forward(problem.network.parameters, problem.inputs[:1]).shape[1:]
    with forked_rng(Seed(0)):
        layer = nn.Linear(math.prod(problem.inputs.shape[1:]), problem.outputs)
    model = nn.Sequential(nn.Flatten(), layer, nn.Unflatten(1, outputs))
    return problem.with_network(Network(model, dtype=problem.network.dtype, device=problem.network.device))


def _runs(problem: Problem, scale: ScaleName, seed: Seed) -> list[Trajectory]:
    """Ordinary training from fresh initializations on some of the samples, one run a seed."""
    samples, epochs, seeds = _SIZES[scale]
    few = problem.subset(slice(0, samples))
    runs = []
    for index in range(seeds):
        own = seed.child("seed", index)
        fresh = reinitialized(few.network, own.child("init"))
        start = few.at(fresh.parameters, fresh.buffers)
        runs.append(train(start, _STANDARD, epochs=epochs, batch=_BATCH, seed=own, checkpoints=()))
    return runs


def check_diverges(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Network and linear expansion, trained alike from the same start: how much of the travel the expansion explains."""
    found = []
    for index, run in enumerate(_runs(problem, scale, seed)):
        start = run.problem_at(0)
        straight = start.with_network(Network(taylor_model(start.network, 1)))
        there = run.problem_at(run.steps[-1])
        line = train(straight, _STANDARD, steps=run.steps[-1], batch=_BATCH, seed=seed.child("seed", index), checkpoints=())
        f0, f1, g1 = (
            net(start.inputs).double() for net in (start.network, there.network, line.problem_at(run.steps[-1]).network)
        )
        found.append(1 - float((f1 - g1).norm() / (f1 - f0).norm()))
    return Evidence.over_seeds(
        np.array(found),
        quantity="1 - |network - linear expansion| / |travel of the outputs| after ordinary training",
        predicted="clearly below 1",
        threshold=0.75,
        reason="the expansion misses at least a quarter of what training did",
    )


def control_diverges(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The same for a model that is linear in its parameters, which is its own expansion."""
    return check_diverges(_linear_model(problem), scale, seed)
