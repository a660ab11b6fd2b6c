"""Families of small networks on one-dimensional signals: parents from several seeds, and the children that leave them.

The task is made like MNIST-1D (ten patterns; each sample is one of them, stretched, shifted, scaled, tilted and buried in
smooth noise), from the seed and without any package; at desk scale it is MNIST-1D itself. The perceptrons' learning rate is hot
(0.09 to 0.1 with momentum 0.9): at half of it no barrier between children of these small networks is left to fall.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import nn

from isthmus._core.seeds import Seed
from isthmus.claims.claim import ScaleName
from isthmus.model.data import DataSet, digits, mnist1d
from isthmus.model.initialization import reinitialized
from isthmus.model.problem import Problem
from isthmus.model.zoo import mlp
from isthmus.training.families import Families, train_families

Kind = Literal["signals", "digits", "linear", "annealed", "convolutional"]
CLASSES, LENGTH, PAIR = 10, 40, 0.4
TRANSIENT_EPOCHS = 3.0
_KNOTS, _NOISE, _TESTS = 12, 0.15, 400
_LATE = {"smoke": 5, "desk": 8, "paper": 16}


@dataclass(frozen=True)
class Recipe:
    """How one kind of family is trained at one scale.

    Attributes:
        samples: training samples.
        width: units of the two hidden layers, or channels of the three convolutions.
        batch: samples of a step.
        epochs: length of a run.
        rate: learning rate; momentum is 0.9.
        spawn: epochs at which two children leave.
    """

    samples: int
    width: int
    batch: int
    epochs: int
    rate: float
    spawn: tuple[float, ...] = ()


_SPAWN = {"smoke": (0.0, 0.5, 1.0, 2.0, 4.0, 8.0), "desk": (0.0, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)}
_DESK: dict[Kind, Recipe] = {
    "signals": Recipe(4000, 100, 50, 30, 0.1, _SPAWN["desk"]),
    "digits": Recipe(1297, 64, 50, 20, 0.05, (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)),
    "linear": Recipe(4000, 0, 50, 10, 0.1, (0.0, 1.0, 4.0)),
    "annealed": Recipe(4000, 100, 50, 30, 0.1),
    "convolutional": Recipe(4000, 25, 50, 40, 0.05),
}
RECIPES: dict[ScaleName, dict[Kind, Recipe]] = {
    "smoke": {
        "signals": Recipe(1000, 64, 25, 12, 0.09, _SPAWN["smoke"]),
        "digits": Recipe(1297, 64, 50, 8, 0.05, (0.0, 1.0, 4.0)),
        "linear": Recipe(1000, 0, 25, 6, 0.09, (0.0, 1.0, 4.0)),
        "annealed": Recipe(1000, 64, 25, 12, 0.09),
        "convolutional": Recipe(1500, 16, 25, 8, 0.05),
    },
    "desk": _DESK,
    "paper": {kind: Recipe(r.samples, r.width, r.batch, 200, r.rate, r.spawn) for kind, r in _DESK.items()},
}
SEEDS: dict[ScaleName, int] = {"smoke": 5, "desk": 5, "paper": 10}


def signals(samples: int, tests: int, seed: Seed) -> DataSet:
    """Ten fixed random patterns of 12 knots; each sample is one of them, stretched, shifted, scaled, tilted, with noise.

    Args:
        samples: training samples.
        tests: test samples.
        seed: names the samples.
    """
    patterns = gaussian_filter1d(Seed(0).child("patterns").numpy().standard_normal((CLASSES, _KNOTS)), 1.0, axis=1)
    patterns = patterns / patterns.std(axis=1, keepdims=True)
    generator, count = seed.child("samples").numpy(), samples + tests
    labels, grid, knots = np.arange(count) % CLASSES, np.arange(LENGTH), np.arange(_KNOTS)
    spans, places = generator.uniform(14, 22, count), generator.uniform(0, LENGTH, count)
    made = np.stack(
        [
            np.interp((grid - place) % LENGTH * (_KNOTS - 1) / span, knots, patterns[label], right=0.0)
            for label, span, place in zip(labels, spans, places, strict=True)
        ]
    )
    tilt = generator.uniform(-0.75, 0.75, (count, 1)) * np.linspace(-1, 1, LENGTH)
    noise = gaussian_filter1d(generator.standard_normal((count, LENGTH)), 1.5, axis=1)
    made = made * (1 + generator.uniform(-0.4, 0.4, (count, 1))) + tilt + _NOISE * noise / noise.std()
    order = generator.permutation(count)
    x, y = torch.from_numpy(made[order]).float(), torch.from_numpy(labels[order])
    return DataSet(x[:samples], y[:samples], x[samples:], y[samples:])


def convolutional(channels: int) -> nn.Sequential:
    """Three strided convolutions and a linear layer on signals of length 40; 5,210 parameters at 25 channels."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, LENGTH)), nn.Conv1d(1, channels, 5, 2, 1), nn.ReLU()]
    for _ in range(2):
        layers += [nn.Conv1d(channels, channels, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(5 * channels, CLASSES))


def problem(kind: Kind, scale: ScaleName, seed: Seed) -> Problem:
    """Data and architecture of a kind of family."""
    recipe = RECIPES[scale][kind]
    made = digits(seed) if kind == "digits" else None
    data = made or (signals(recipe.samples, _TESTS, seed) if scale == "smoke" else mnist1d())
    inputs = data.train_inputs.shape[1]
    if kind == "linear":
        module: nn.Module = mlp([inputs, CLASSES], seed=seed)
    else:
        dense = [inputs, recipe.width, recipe.width, CLASSES]
        module = convolutional(recipe.width) if kind == "convolutional" else mlp(dense, seed=seed)
    test = data.test_inputs, data.test_targets
    return Problem(module, data.train_inputs, data.train_targets, nn.CrossEntropyLoss(), test=test).eval()


@lru_cache(maxsize=8)
def family(kind: Kind, scale: ScaleName, root: int) -> Families:
    """The runs of one kind, shared by all claims that look at them: they depend on the root of the seed alone.

    Parents' points are kept at the ends of `velocity_steps` and at `share` s of training as the checks need them.
    """
    seed, recipe = Seed(root).child("fort2020", kind), RECIPES[scale][kind]
    made = problem(kind, scale, seed)
    per_epoch = -(-made.samples // recipe.batch)
    steps = recipe.epochs * per_epoch
    streams = [seed.child("seed", index) for index in range(SEEDS[scale])]
    starts = torch.stack([reinitialized(made.network, stream.child("init")).flat for stream in streams])
    late = TRANSIENT_EPOCHS * per_epoch
    pairs = [end for start in velocity_steps(scale, recipe, per_epoch) for end in (start, start + pair_length(per_epoch))]
    return train_families(
        made,
        starts,
        streams,
        steps=steps,
        batch=recipe.batch,
        rate=(lambda step: recipe.rate * min(1.0, late / max(step, 1)) ** 2) if kind == "annealed" else recipe.rate,
        spawn_steps=[round(epoch * per_epoch) for epoch in recipe.spawn],
        keep=sorted({*pairs, *kernel_steps(scale, steps, per_epoch)}),
    )


def pair_length(per_epoch: int) -> int:
    """Steps of 0.4 epochs."""
    return max(1, round(PAIR * per_epoch))


def velocity_steps(scale: ScaleName, recipe: Recipe, per_epoch: int) -> list[int]:
    """Where velocities start: five times in the first three epochs, then several up to the end, evenly in log time."""
    last = recipe.epochs - PAIR
    late = np.geomspace(TRANSIENT_EPOCHS, last, _LATE[scale]) if last > TRANSIENT_EPOCHS else ()
    return sorted({math.floor(epoch * per_epoch) for epoch in (0.0, 0.4, 0.8, 1.6, 2.4, *late)})


def kernel_steps(scale: ScaleName, steps: int, per_epoch: int) -> dict[int, float]:
    """Steps at which kernels are solved, with their share of training: the start and 45 %, and on the way 2 and 4 epochs and 15 %.

    At smoke scale, start and 45 % (within 4 epochs) alone.
    """
    chosen = {0, round(0.45 * steps)}
    if scale != "smoke":
        chosen |= {2 * per_epoch, 4 * per_epoch, round(0.15 * steps)}
    return {step: step / steps for step in sorted(chosen)}
