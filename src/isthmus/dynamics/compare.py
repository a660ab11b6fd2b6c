"""A run against its prediction: how far apart, since when, and why."""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.dynamics.activations import rectifier_signs
from isthmus.dynamics.ladder import CAUSES, Rung, closed_rungs, factory_of, linearized_run, run_rung
from isthmus.dynamics.methods import Method, TorchSgd
from isthmus.dynamics.optimizers import OptimizerLike, Understood, understand_optimizer
from isthmus.dynamics.scaling import ScaledLoss, scaled_loss
from isthmus.dynamics.spectrum import spectrum
from isthmus.kernel import empirical_ntk
from isthmus.model.problem import Problem, provenance
from isthmus.results.dynamics import Comparison, Spectrum
from isthmus.results.provenance import Cost
from isthmus.training import Trajectory

_ALL_MODES = 2000
_BANDS = 10


def compare(
    run: Trajectory,
    optimizer: OptimizerLike,
    *,
    batch: int | None = None,
    batch_seed: Seed | int | None = None,
    tolerance: float = 0.1,
    samples: int = 100,
    points: int = 24,
    last: int | None = None,
    seed: Seed | int = 0,
    tell: Callable[[str, int, int], None] | None = None,
) -> Comparison:
    """Where a run departs from what its initial kernel predicts, and the cause.

    The linearized network is trained with the same optimizer on the same batches; when the data are few (n c at most 2000)
    and the optimizer has a closed form, the rungs below it are computed too (see `Comparison`). The departure is the first
    compared step with ``|u_run - u_predicted| > tolerance |u_0|``; its cause the widest gap of the ladder there. A gap between
    the linearized network and the network is ``edge of stability`` when lr x largest eigenvalue had passed the optimizer's
    limit by then, else ``feature learning``. When only the limiting equation disagrees, the cause is the ``step size``.

    Args:
        run: checkpoints of `train` or `Recorder`; the first one is the start.
        optimizer: the one that trained it, as in `predict_training`.
        batch: samples of its mini-batches; read from the checkpoints of `train`, full batch otherwise.
        batch_seed: seed of its batch order; read from the checkpoints of `train`.
        tolerance: relative discrepancy that counts as a departure.
        samples: training samples on which the two are compared; all of them when the whole ladder is computed.
        points: checkpoints compared, at most.
        last: no step beyond this one.
        seed: names the draw of the probe set.
        tell: told (what, done, total) as work goes on.

    Returns:
        The comparison.

    Raises:
        InputError: fewer than two checkpoints, or an optimizer that torch cannot run.
    """
    started, seed, tell = time.perf_counter(), as_seed(seed), tell or _silent
    steps = _steps(run, points, last)
    start = run.problem_at(steps[0])
    epoch_steps = run.steps_per_epoch
    known = understand_optimizer(optimizer, start.network, steps=steps[-1], steps_per_epoch=epoch_steps)
    size, order = _batches(run, steps[0], batch, batch_seed)
    whole = start.samples * start.outputs <= _ALL_MODES
    probe = (start if whole else start.subset(_rows(start.samples, samples, seed))).to(torch.float64)
    scaled, modes = scaled_loss(probe), spectrum(probe, verify=False)
    rungs = closed_rungs(probe, modes, known.method, steps) if whole and known.method is not None else []
    if not rungs or size < start.samples or known.method is None:
        tell("the linearized network", 0, 2)
        twin = linearized_run(start, factory_of(known), steps[-1], batch=size, seed=order, checkpoints=steps)
        rungs.append(run_rung("linearized", twin, probe, scaled, steps))
    tell("the network against it", 1, 2)
    rungs.append(run_rung("network", run, probe, scaled, steps))
    seen = _along(run, probe, scaled, steps, known)
    return _record(run, probe, modes, rungs, seen, steps, size, tolerance, seed, started)


@dataclass(frozen=True)
class _Along:
    """Kernel change, flipped rectifiers and stability margin at the compared steps."""

    change: np.ndarray
    flipped: np.ndarray
    margin: np.ndarray


def _steps(run: Trajectory, points: int, last: int | None) -> list[int]:
    steps = [step for step in run.steps if last is None or step <= last]
    if len(steps) < 2:
        raise InputError(f"A comparison needs at least two checkpoints, found {len(steps)} (up to step {last}).")
    if steps[0] != 0:
        raise InputError(
            f"The first checkpoint is of step {steps[0]}; the prediction starts at step 0. Keep the start of the run."
        )
    picks = sorted({round(i * (len(steps) - 1) / max(points - 1, 1)) for i in range(points)})
    return [steps[i] for i in picks]


def _batches(run: Trajectory, step: int, batch: int | None, batch_seed: Seed | int | None) -> tuple[int, Seed]:
    """Size and seed of the run's batches."""
    sampler = run.checkpoint(step).sampler
    size = batch or int(sampler.get("batch", run.problem.samples))
    if batch_seed is not None:
        return size, as_seed(batch_seed)
    root, *path = str(sampler.get("seed", "0")).split("/")
    return size, Seed(int(root), tuple(path))


def _rows(count: int, samples: int, seed: Seed) -> torch.Tensor:
    return torch.from_numpy(np.sort(seed.child("probe").numpy().permutation(count)[:samples]))


def _along(run: Trajectory, probe: Problem, scaled: ScaledLoss, steps: list[int], known: Understood) -> _Along:
    change, flipped, margin = [], [], []
    first, signs = None, None
    for step in steps:
        there = probe.with_network(run.problem_at(step).to(torch.float64).network)
        kernel = empirical_ntk(there.network, there.inputs, verify=False).matrix
        here = scaled.scale(scaled.scale(kernel).T)
        now = rectifier_signs(there.network, there.inputs)
        first, signs = (here, now) if first is None or signs is None else (first, signs)
        change.append(float(np.linalg.norm(here - first) / np.linalg.norm(first)))
        flipped.append(float((now != signs).double().mean()) if now.numel() else math.nan)
        margin.append(_margin(there, kernel, _in_force(run, step, known)))
    return _Along(np.array(change), np.array(flipped), np.array(margin))


def _margin(there: Problem, kernel: np.ndarray, method: Method | None) -> float:
    """``lr * lambda_max / limit`` of the probe set's kernel, scaled by the loss's curvature at that point."""
    if method is None:
        return math.nan
    scaled = scaled_loss(there)
    top = np.linalg.eigvalsh(scaled.scale(scaled.scale(kernel).T))[-1]
    return float(method.lr * (top + method.decay) / method.limit())


def _in_force(run: Trajectory, step: int, known: Understood) -> Method | None:
    """The closed form with the step size and momentum that the checkpoint holds."""
    method, groups = known.method, run.checkpoint(step).param_groups
    if not isinstance(method, TorchSgd) or not groups:
        return method
    rate = float(groups[0].get("lr", method.lr))
    return replace(method, lr=rate or method.lr, momentum=float(groups[0].get("momentum", method.momentum)), schedule=None)


def _record(
    run: Trajectory,
    probe: Problem,
    modes: Spectrum,
    rungs: list[Rung],
    seen: _Along,
    steps: list[int],
    size: int,
    tolerance: float,
    seed: Seed,
    started: float,
) -> Comparison:
    scale = max(float(np.linalg.norm(modes.scaled_error)), 1e-300)
    gaps = np.stack([_norms(b.errors - a.errors) / scale for a, b in itertools.pairwise(rungs)])
    pairs = [(a.name, b.name) for a, b in itertools.pairwise(rungs)]
    base = next(rung for rung in rungs if rung.name != "ode")
    total = _norms(rungs[-1].errors - base.errors) / scale
    departure, cause, why = diagnose(pairs, gaps, total, seen.margin, tolerance)
    edges = _bands(len(modes.values))
    return Comparison(
        step=np.array(steps),
        epoch=np.array(steps) / run.steps_per_epoch,
        loss=rungs[-1].loss,
        predicted_loss=base.loss,
        discrepancy=total,
        gap=gaps,
        kernel_change=seen.change,
        flipped=seen.flipped,
        margin=seen.margin,
        band_edge=np.array(edges),
        band_value=np.array([modes.values[a:b].mean() for a, b in itertools.pairwise(edges)]),
        band_gap=_band_norms((rungs[-1].errors - base.errors) @ modes.vectors, edges) / scale,
        band_run=_band_amplitudes(rungs[-1].errors @ modes.vectors, edges),
        band_predicted=_band_amplitudes(base.errors @ modes.vectors, edges),
        pairs=[f"{a}-{b}" for a, b in pairs],
        predictor=base.name,
        tolerance=tolerance,
        departure_step=steps[departure] if departure >= 0 else -1,
        departure_epoch=steps[departure] / run.steps_per_epoch if departure >= 0 else math.nan,
        cause=cause,
        explanation=why,
        batch=size,
        samples=probe.samples,
        status=Status.EXACT,
        method=f"ladder {' < '.join(rung.name for rung in rungs)} on {probe.samples} training samples, {probe.loss.name}",
        error="exact on the probe set; the departure lies between the compared step and the one before",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(probe, seed),
    )


def diagnose(
    pairs: list[tuple[str, str]], gaps: np.ndarray, total: np.ndarray, margin: np.ndarray, tolerance: float
) -> tuple[int, str, str]:
    """Index of the first departure (-1: none), its cause, and how it was told.

    Args:
        pairs: neighboring rungs.
        gaps: relative distance of each pair, ``(pair, t)``.
        total: of the run from the prediction, ``(t,)``.
        margin: lr x largest eigenvalue over the limit, ``(t,)``; NaN where unknown.
        tolerance: what counts as a departure.
    """
    away = np.flatnonzero(~(total <= tolerance))
    coarse = [row for row, pair in enumerate(pairs) if CAUSES[pair] == "step size"]
    if not away.size:
        if coarse and np.nanmax(gaps[coarse[0]]) > tolerance:
            worst = float(np.nanmax(gaps[coarse[0]]))
            return -1, "step size", f"only the limiting equation disagrees, by up to {worst:.2g}: the step is too large for it"
        return -1, "none", f"the run stays within {tolerance:g} of its prediction"
    at = int(away[0])
    rows = [row for row in range(len(pairs)) if row not in coarse]
    widest = max(rows, key=lambda row: gaps[row, at] if np.isfinite(gaps[row, at]) else math.inf)
    lower, upper = pairs[widest]
    cause, size = CAUSES[pairs[widest]], float(gaps[widest, at])
    words = f"the widest gap there is between {lower} and {upper}: {size:.2g} of the initial error"
    if cause != "nonlinearity":
        return at, cause, words
    reached = margin[: at + 1]
    if np.isfinite(reached).any() and np.nanmax(reached) > 1:
        return at, "edge of stability", f"{words}; lr x largest eigenvalue had reached {np.nanmax(reached):.3g} times the limit"
    return at, "feature learning", f"{words}, while the step was stable"


def _norms(rows: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.linalg.norm(rows, axis=1)


def _bands(modes: int) -> list[int]:
    """Edges of at most ten bands of modes, each about twice as wide as the one before."""
    edges = [0, *(2**k for k in range(_BANDS - 1) if 2**k < modes), modes]
    return sorted(set(edges))


def _band_norms(amplitudes: np.ndarray, edges: list[int]) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.stack([np.linalg.norm(amplitudes[:, a:b], axis=1) for a, b in itertools.pairwise(edges)], axis=1)


def _band_amplitudes(amplitudes: np.ndarray, edges: list[int]) -> np.ndarray:
    """Root mean square of each band relative to the first row; NaN where a band starts without error."""
    bands = _band_norms(amplitudes, edges)
    tiny = 1e-12 * bands[0].max()
    return np.divide(bands, bands[0], out=np.full_like(bands, np.nan), where=bands[0] > tiny)


def _silent(doing: str, done: int, total: int) -> None:
    """No display."""
