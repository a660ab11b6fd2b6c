"""Checks about the transient: the basin is fixed, the kernel is fast and then steady, and the measures move together."""

import numpy as np
import torch
from scipy import stats

from isthmus._core.intervals import mean_interval
from isthmus._core.seeds import Seed
from isthmus.claims import Evidence
from isthmus.claims.claim import ScaleName
from isthmus.linops.random import gaussian
from isthmus.model.problem import Problem
from isthmus.papers.fort2020.curves import Motion, children, motion
from isthmus.papers.fort2020.instances import RECIPES, SEEDS, TRANSIENT_EPOCHS, Kind, family, problem
from isthmus.training.families import train_families

_BARRIER = 0.02
_BELOW_ONE = float(np.nextafter(1.0, 0.0))


def _basin_evidence(kind: Kind, scale: ScaleName, seed: Seed) -> Evidence:
    found = children(kind, scale, seed.root)
    times = np.array([_half_time(found.epoch, row, found.length) for row in found.barrier])
    return Evidence.over_seeds(
        times,
        quantity="epoch after which the error barrier between two children stays below half of its largest value (the length of "
        "the run when it never reaches 0.02)",
        predicted="at most 3 epochs, the abstract's 2 to 3",
        threshold=TRANSIENT_EPOCHS,
        reason="the statement's own number; 0.02 of training error is the field's line for a linearly connected pair",
        axis=found.epoch,
        axis_name="spawn time (epochs)",
        measured=found.barrier,
        measured_name="barrier between children (training error)",
    )


def _half_time(epoch: np.ndarray, barrier: np.ndarray, length: float) -> float:
    """Linear interpolation after the last time at which the barrier exceeds half of its largest value."""
    top = float(barrier.max())
    if top < _BARRIER:
        return length
    last = int(np.flatnonzero(barrier >= top / 2)[-1])
    if last + 1 == len(epoch):
        return length
    share = (barrier[last] - top / 2) / (barrier[last] - barrier[last + 1])
    return float(epoch[last] + share * (epoch[last + 1] - epoch[last]))


def check_basin(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Two-layer perceptrons on the signals, two children of every spawn time."""
    return _basin_evidence("signals", scale, seed)


def control_basin(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The digits, on which children end in one basin whenever they leave: no transient."""
    return _basin_evidence("digits", scale, seed)


def _early_late(found: Motion) -> tuple[np.ndarray, np.ndarray]:
    early = found.epoch < TRANSIENT_EPOCHS
    return found.velocity[:, early].mean(1), found.velocity[:, ~early].mean(1)


def _fast_evidence(kind: Kind, scale: ScaleName, seed: Seed) -> Evidence:
    found = motion(kind, scale, seed.root)
    early, late = _early_late(found)
    slower = np.divide(late, early, out=np.ones_like(late), where=early > 0)
    after = int(np.flatnonzero(found.epoch >= TRANSIENT_EPOCHS)[0])
    return Evidence.over_seeds(
        np.maximum(slower, found.alignment[:, 0] / found.alignment[:, after]),
        quantity="larger of two ratios: kernel velocity after 3 epochs over that before (means), and the kernel's alignment with the "
        "labels at the start over that after 3 epochs",
        predicted="below 1: in the transient the kernel turns faster than later, and towards the labels",
        threshold=_BELOW_ONE,
        reason="1 is a kernel that turns no faster early, or aligns no better; the abstract's 3 epochs",
        axis=found.epoch,
        axis_name="epoch",
        measured=found.velocity,
        measured_name="kernel velocity S / dt (per epoch)",
    )


def check_fast(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Kernels of the perceptrons' runs on the signals."""
    return _fast_evidence("signals", scale, seed)


def control_fast(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A model that is linear in its parameters: its kernel never moves."""
    return _fast_evidence("linear", scale, seed)


def _constant_evidence(kind: Kind, scale: ScaleName, seed: Seed) -> Evidence:
    found = motion(kind, scale, seed.root)
    late = found.epoch >= TRANSIENT_EPOCHS
    slopes = np.polyfit(np.log(found.epoch[late]), np.log(found.velocity[:, late]).T, 1)[0]
    mean, low, high = mean_interval(slopes)
    near = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return Evidence(
        quantity="distance from 0 of the exponent of the kernel velocity in time, after 3 epochs",
        predicted="0: constant velocity",
        estimate=abs(float(mean)),
        interval=(float(near), float(max(abs(low), abs(high)))),
        threshold=0.5,
        reason="halfway between constant velocity (0) and one that falls like 1/t or grows like t (1)",
        exact=False,
        axis=found.epoch[late],
        axis_name="epoch",
        measured=found.velocity[:, late],
        measured_name="kernel velocity S / dt (per epoch)",
    )


def check_constant(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Kernels of the perceptrons' runs on the signals, at a constant learning rate."""
    return _constant_evidence("signals", scale, seed)


def control_constant(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The same runs with a learning rate that falls like 1/t^2 after 3 epochs: the kernel comes to rest."""
    return _constant_evidence("annealed", scale, seed)


def _correlation_evidence(kind: Kind, scale: ScaleName, seed: Seed) -> Evidence:
    pairs, kernels = children(kind, scale, seed.root), motion(kind, scale, seed.root)
    clock = np.log1p(pairs.epoch)
    found = []
    for row in range(len(pairs.barrier)):
        follow = [np.interp(clock, np.log1p(kernels.epoch), curve[row]) for curve in (kernels.velocity, -kernels.alignment)]
        lands = [curve[row] for curve in (pairs.barrier, pairs.hamming, pairs.weights) if not np.isnan(curve[row]).any()]
        found.append(np.mean([_rank_correlation(a, b) for a in lands for b in follow]))
    gaps = 1 - np.array(found)
    return Evidence.over_seeds(
        gaps,
        quantity="1 - mean rank correlation over spawn times between landscape measures (barrier, activation patterns, weights of "
        "children) and kernel measures (velocity, missing alignment)",
        predicted="close to 0: highly correlated",
        threshold=0.5,
        reason="halfway between perfect correlation (0) and none (1); a measure that does not move correlates with nothing",
        axis=np.array([1.0]),
    )


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1])


def check_correlation(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Children and kernels of the perceptrons' runs on the signals."""
    return _correlation_evidence("signals", scale, seed)


def control_correlation(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A model that is linear in its parameters: children come closer the later they leave, and the kernel stands still."""
    return _correlation_evidence("linear", scale, seed)


_TWINS = (1e-4, 1e-3)
_TWIN_EPOCHS = 3


def _twin_evidence(kind: Kind, scale: ScaleName, seed: Seed) -> Evidence:
    """Runs from ``w`` and ``w + eps |w| u`` under the same batches, for two sizes eps."""
    recipe, count = RECIPES[scale][kind], SEEDS[scale]
    made = problem(kind, scale, seed)
    per_epoch = -(-made.samples // recipe.batch)
    steps = _TWIN_EPOCHS * per_epoch
    keep = sorted({round(x) for x in np.geomspace(1, steps, 12)})
    starts = family(kind, scale, seed.root).parents[0].double()
    exact = made.to(torch.float64)
    drawn = gaussian(starts.shape, seed.child("directions"), torch.float64)
    moves = drawn / drawn.norm(dim=1, keepdim=True) * starts.norm(dim=1, keepdim=True)
    every = torch.cat([starts, *(starts + size * moves for size in _TWINS)])
    streams = [seed.child("seed", index) for index in range(count)] * (1 + len(_TWINS))
    runs = train_families(exact, every, streams, steps=steps, batch=recipe.batch, rate=recipe.rate, keep=keep)
    gaps = np.stack([(p[count:].reshape(len(_TWINS), count, -1) - p[:count]).norm(dim=2).numpy() for p in runs.parents.values()])
    times = np.array(list(runs.parents)) / per_epoch
    rates = np.array([[_growth(times, gaps[:, size, index]) for size in range(len(_TWINS))] for index in range(count)])
    return Evidence.over_seeds(
        -rates.min(axis=1),
        quantity="minus the rate at which perturbed twins separate in the first 3 epochs (e-folds per epoch; the slower of two sizes)",
        predicted="below 0: they separate exponentially until they are apart",
        threshold=0.0,
        reason="0 is a perturbation that neither grows nor shrinks",
        axis=np.array(_TWINS),
        axis_name="relative size of the perturbation",
        measured=rates,
        measured_name="rate of separation (e-folds per epoch)",
    )


def _growth(times: np.ndarray, distance: np.ndarray) -> float:
    """Slope of log distance in time up to three tenths of the largest distance, or over all times when that comes too soon."""
    early = np.flatnonzero(distance >= 0.3 * distance.max())
    kept = slice(0, max(int(early[0]) + 1, 4)) if distance.argmax() > 3 else slice(None)
    return float(np.polyfit(times[kept], np.log(distance[kept]), 1)[0])


def check_twins(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Perceptrons on the signals, from their initializations."""
    return _twin_evidence("signals", scale, seed)


def control_twins(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A model that is linear in its parameters has a convex loss, under which twins come closer."""
    return _twin_evidence("linear", scale, seed)
