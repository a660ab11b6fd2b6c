"""What the families' runs say over time: barriers between children, kernel velocity, alignment, solved kernels."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from isthmus.claims.claim import ScaleName
from isthmus.curvature import error_barrier
from isthmus.kernel import empirical_ntk, kernel_distance, label_alignment
from isthmus.model.comparison import hamming_distance, weight_distance
from isthmus.papers.fort2020.instances import Kind, family, pair_length
from isthmus.results.kernel import Ntk
from isthmus.studies.after_kernel import after_kernel
from isthmus.training.families import Families

_POINTS = 11
_PROBES = 32
_SOLVED = {"smoke": 300, "desk": 2000, "paper": 4000}


@dataclass(frozen=True)
class Children:
    """Measures between the two children of each spawn time, ``(seed, s)``.

    Attributes:
        epoch: spawn times, ``(s,)``.
        length: of the runs, epochs.
        barrier: training error over the chord.
        hamming: share of rectifiers that differ on the training inputs; NaN without rectifiers.
        weights: relative distance of the weights.
    """

    epoch: np.ndarray
    length: float
    barrier: np.ndarray
    hamming: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Motion:
    """The parents' kernels on 32 training inputs, all outputs, ``(seed, v)``.

    Attributes:
        epoch: starts of the intervals of 0.4 epochs, ``(v,)``.
        velocity: S over the interval per epoch.
        alignment: centered alignment with the labels at the start of each interval.
    """

    epoch: np.ndarray
    velocity: np.ndarray
    alignment: np.ndarray


@lru_cache(maxsize=8)
def children(kind: Kind, scale: ScaleName, root: int) -> Children:
    """Barrier, pattern distance and weight distance of every pair of children."""
    made = family(kind, scale, root)
    found = np.array([[_pair(made, s, parent) for s in range(len(made.spawn_steps))] for parent in range(made.children.shape[1])])
    epochs = np.array(made.spawn_steps) / made.steps_per_epoch
    return Children(epochs, max(made.parents) / made.steps_per_epoch, *np.moveaxis(found, 2, 0))


def _pair(made: Families, spawn: int, parent: int) -> tuple[float, float, float]:
    first, second = (made.problem.at(point) for point in made.children[spawn, parent])
    barrier = error_barrier(made.problem, first, second, points=_POINTS, refine=False)
    chord = float(barrier.chord[barrier.quantities.index("train_error")])
    hamming = hamming_distance(first.network, second.network, made.problem.inputs)[0]
    return chord, hamming, weight_distance(first.network, second.network)


@lru_cache(maxsize=8)
def motion(kind: Kind, scale: ScaleName, root: int) -> Motion:
    """Velocity and alignment along every parent's run."""
    made = family(kind, scale, root)
    length = pair_length(made.steps_per_epoch)
    starts = [step for step in sorted(made.parents) if step + length in made.parents]
    rows = slice(0, _PROBES)
    velocity, alignment = [], []
    for parent in range(len(made.parents[0])):
        kernels = {step: _kernel(made, step, parent) for start in starts for step in (start, start + length)}
        gaps = [kernel_distance(kernels[a], kernels[a + length]).cosine_distance for a in starts]
        velocity.append(np.array(gaps) * made.steps_per_epoch / length)
        alignment.append([label_alignment(kernels[a], made.problem.targets[rows]) for a in starts])
    return Motion(np.array(starts) / made.steps_per_epoch, np.stack(velocity), np.array(alignment))


def _kernel(made: Families, step: int, parent: int) -> Ntk:
    place = made.problem.at(made.parents[step][parent]).to(torch.float64)
    return empirical_ntk(place.network, place.inputs[:_PROBES], verify=False)


@lru_cache(maxsize=8)
def solved(kind: Kind, scale: ScaleName, root: int, steps: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Test errors of the kernels of some steps, ``(seed, t)``, and of the networks at the end, ``(seed,)``."""
    made = family(kind, scale, root)
    records = [
        after_kernel(made.trajectory(parent), steps=steps, samples=_SOLVED[scale]) for parent in range(len(made.parents[0]))
    ]
    return np.stack([record.solved_error for record in records]), np.array([record.final_error for record in records])
