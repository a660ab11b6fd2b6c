"""Families of small networks on one-dimensional signals: parents from several seeds, and children that leave them.

The task is made like MNIST-1D (ten patterns, each shifted, scaled, sheared and buried in smooth noise), from the seed. At desk
scale it is MNIST-1D itself.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from isthmus._core.seeds import Seed
from isthmus.claims.claim import ScaleName
from isthmus.model.data import DataSet, digits, mnist1d
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.zoo import mlp
from isthmus.training.families import Families, train_families

CLASSES, LENGTH = 10, 40
_KNOTS, _NOISE, _SMOOTH = 12, 0.2, 3.0

def signals(samples: int, tests: int, seed: Seed) -> DataSet:
    """Ten random patterns of 12 knots; each sample is one of them, stretched, shifted around, scaled, tilted, with noise.

    Args:
        samples: training samples.
        tests: test samples.
        seed: names patterns and samples.
    """
    patterns = gaussian_filter1d(seed.child("patterns").numpy().standard_normal((CLASSES, _KNOTS)), 1.0, axis=1)
    patterns = patterns / patterns.std(axis=1, keepdims=True)
    generator, count = seed.child("samples").numpy(), samples + tests
    labels = np.arange(count) % CLASSES
    grid, knots = np.arange(LENGTH), np.arange(_KNOTS)
    spans = generator.uniform(14, 22, count)
    places = generator.uniform(0, LENGTH / 2, count)
    made = np.empty((count, LENGTH))
    for row, (label, span, place) in enumerate(zip(labels, spans, places, strict=True)):
        where = (grid - place) % LENGTH * (_KNOTS - 1) / span
        made[row] = np.interp(where, knots, patterns[label], right=0.0)
    tilt = generator.uniform(-0.75, 0.75, (count, 1)) * np.linspace(-1, 1, LENGTH)
    noise = gaussian_filter1d(generator.standard_normal((count, LENGTH)), _SMOOTH / 2, axis=1)
    made = made * (1 + generator.uniform(-0.4, 0.4, (count, 1))) + tilt + _NOISE * noise / noise.std()
    order = generator.permutation(count)
    x, y = torch.from_numpy(made[order]).float(), torch.from_numpy(labels[order])
    return DataSet(x[:samples], y[:samples], x[samples:], y[samples:])
