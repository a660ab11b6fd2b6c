"""The tangent kernel along the run, on several disjoint probe sets."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.kernel import effective_rank, empirical_ntk, kernel_distance, label_alignment
from isthmus.kernel.ntk import Outputs
from isthmus.model.problem import provenance
from isthmus.results.kernel import KernelDistance, KernelTimeline, Ntk
from isthmus.results.provenance import Cost
from isthmus.studies.stage import spread
from isthmus.training.schedule import SCAN_EPOCHS
from isthmus.training.trajectory import Trajectory

_FULL_ROWS = 1500


@dataclass(frozen=True)
class _ProbeSet:
    """What one probe set saw: curves over checkpoints, velocities over pairs and scans, and the distance map."""

    curves: dict[str, np.ndarray]
    velocity: np.ndarray
    angular_velocity: np.ndarray
    scan: np.ndarray
    pairwise: np.ndarray


def kernel_timeline(
    trajectory: Trajectory,
    *,
    probe_sets: int = 4,
    probe_samples: int = 64,
    points: int = 24,
    seed: Seed | int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> KernelTimeline:
    """Distance from initialization, velocity, alignment and effective rank of the tangent kernel over a run.

    Distances are ``S(K, K') = 1 - <K, K'> / (|K| |K'|)`` on the full kernel ``(n, c, n, c)``, or on its sum over
    outputs when n c exceeds 1500; velocities are ``S(K_t, K_{t+dt}) / dt`` with dt in epochs over the trajectory's
    pairs, angular velocities ``arccos(1 - S) / dt``. S is about half of the angle's square, so a velocity that grows with dt
    belongs to a kernel that turns smoothly, one that does not to a direction that diffuses, and one that falls like 1/dt to
    motion to and fro within a cone: the scan over dt says which.
    Alignment and effective rank belong to the sum over outputs.

    Args:
        trajectory: the run.
        probe_sets: disjoint sets of training inputs; their spread is the error bar.
        probe_samples: examples in each set, fewer when the data are few.
        points: checkpoints measured, spread evenly over those there are.
        seed: names the draw of the probe sets.
        tell: told (done, total) as work goes on.

    Returns:
        The timeline, in float64.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    steps = spread(trajectory.steps, points)
    pairs = spread_pairs(trajectory.pairs, points)
    sets = _draw(trajectory.problem.samples, probe_sets, probe_samples, seed)
    outputs: Outputs = "full" if len(sets[0]) * trajectory.problem.outputs <= _FULL_ROWS else "trace"
    seen = []
    for index, rows in enumerate(sets):

        def progress(done: int, index: int = index) -> None:
            if tell is not None:
                tell(index * (len(steps) + 2 * len(pairs)) + done, len(sets) * (len(steps) + 2 * len(pairs)))

        seen.append(_measure(trajectory, rows, steps, pairs, outputs, progress))
    interval = np.array([(b - a) / trajectory.steps_per_epoch for a, b in pairs])
    starts = np.array([a for a, _ in pairs], dtype=np.int64)
    velocity = np.stack([one.velocity for one in seen])
    distance = np.stack([one.curves["distance"] for one in seen])
    return KernelTimeline(
        step=np.array(steps),
        epoch=np.array(steps) / trajectory.steps_per_epoch,
        **{name: np.stack([one.curves[name] for one in seen]) for name in seen[0].curves},
        velocity_step=starts,
        velocity_epoch=starts / trajectory.steps_per_epoch,
        velocity_interval=interval,
        velocity=velocity,
        angular_velocity=np.stack([one.angular_velocity for one in seen]),
        scan_epoch=np.array([steps[0] for steps in trajectory.scans]) / trajectory.steps_per_epoch,
        scan_interval=_scan_lengths(trajectory),
        scan_velocity=np.stack([one.scan for one in seen]),
        pairwise=np.mean([one.pairwise for one in seen], axis=0),
        samples=len(sets[0]),
        outputs=outputs,
        early_velocity=_with_error(velocity[:, 0]) if pairs else (np.nan, np.nan),
        late_velocity=_late(velocity, starts, steps[-1]),
        final_distance=_with_error(distance[:, -1]),
        status=Status.EXACT,
        method=f"empirical tangent kernel on {len(sets)} disjoint sets of {len(sets[0])} training inputs, outputs={outputs}",
        error=f"standard error over the {len(sets)} probe sets",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(trajectory.problem_at(steps[-1]), seed),
    )


def spread_pairs(pairs: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """At most `count` of the velocity pairs, evenly by position."""
    chosen = set(spread([a for a, _ in pairs], count))
    return [pair for pair in pairs if pair[0] in chosen]


def _draw(samples: int, sets: int, size: int, seed: Seed) -> list[Tensor]:
    sets = max(1, min(sets, samples // 2))
    size = min(size, samples // sets)
    order = torch.from_numpy(seed.child("probes").numpy().permutation(samples))
    return [order[i * size : (i + 1) * size] for i in range(sets)]


def _measure(
    trajectory: Trajectory,
    rows: Tensor,
    steps: list[int],
    pairs: list[tuple[int, int]],
    outputs: Outputs,
    progress: Callable[[int], None],
) -> _ProbeSet:
    def kernel_at(step: int) -> Ntk:
        problem = trajectory.problem_at(step).to(torch.float64)
        return empirical_ntk(problem.network, problem.inputs[rows], outputs=outputs)

    kernels = []
    for index, step in enumerate(steps):
        progress(index)
        kernels.append(kernel_at(step))
    known = dict(zip(steps, kernels, strict=True))

    def turn(first: int, second: int) -> KernelDistance:
        return kernel_distance(*(known[step] if step in known else kernel_at(step) for step in (first, second)))

    turns = []
    for index, (first, second) in enumerate(pairs):
        progress(len(steps) + 2 * index)
        turns.append(turn(first, second))
    rate = np.array([trajectory.steps_per_epoch / (second - first) for first, second in pairs])
    scan = [[turn(start, end).cosine_distance for end in ends] for start, *ends in trajectory.scans]
    moved = [kernel_distance(kernels[0], kernel) for kernel in kernels]
    targets = trajectory.problem.targets[rows]
    curves = {
        "distance": [d.cosine_distance for d in moved],
        "angle": [d.angle for d in moved],
        "scale": [d.scale for d in moved],
        "relative_change": [d.relative_change for d in moved],
        "label_alignment": [label_alignment(kernel, targets) for kernel in kernels],
        "effective_rank": [effective_rank(kernel) for kernel in kernels],
    }
    arrays = {name: np.array(values, dtype=np.float64) for name, values in curves.items()}
    return _ProbeSet(
        arrays,
        velocity=np.array([d.cosine_distance for d in turns]) * rate,
        angular_velocity=np.array([d.angle for d in turns]) * rate,
        scan=np.array(scan).reshape(-1, len(SCAN_EPOCHS)).T / _scan_lengths(trajectory)[:, None],
        pairwise=_map(kernels),
    )


def _scan_lengths(trajectory: Trajectory) -> np.ndarray:
    """The lengths of the scan's intervals, in epochs."""
    return np.array([max(1, round(dt * trajectory.steps_per_epoch)) for dt in SCAN_EPOCHS]) / trajectory.steps_per_epoch


def _map(kernels: list[Ntk]) -> np.ndarray:
    """All pairwise cosine distances by one product of the normalized, flattened kernels.

    ``S = |K/|K| - K'/|K'||^2 / 2`` without cancellation: rows are differenced before they are squared.
    """
    rows = np.stack([kernel.kernel.reshape(-1) / np.linalg.norm(kernel.kernel) for kernel in kernels])
    result = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        gap = rows[i + 1 :] - row
        result[i, i + 1 :] = result[i + 1 :, i] = 0.5 * np.einsum("tj,tj->t", gap, gap)
    return result


def _with_error(values: np.ndarray) -> tuple[float, float]:
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return float(values.mean()), error


def _late(velocity: np.ndarray, starts: np.ndarray, last: int) -> tuple[float, float]:
    late = starts >= last / 2
    return _with_error(np.median(velocity[:, late], axis=1)) if late.any() else (float("nan"), float("nan"))
