"""Barriers between the run and runs from other initializations, before and after their units are aligned."""

import time
from pathlib import Path

import numpy as np

from isthmus._core.errors import ModelError
from isthmus._core.status import Status
from isthmus.model.problem import Problem, provenance
from isthmus.model.units import exchangeable_units
from isthmus.results.provenance import Cost
from isthmus.results.symmetry_alignment import AlignedBarriers, NetworkAlignment
from isthmus.studies.stage import Context, Stage
from isthmus.symmetry.alignment import align
from isthmus.symmetry.matching_methods import ActivationMatching, WeightMatching
from isthmus.training import Trajectory, open_trajectory

_POINTS = 21
_METHODS = (("weights", WeightMatching()), ("activations", ActivationMatching()))


def _stores(context: Context) -> list[Path]:
    """Where the twins stage left its runs from other initializations."""
    folders = (context.run.path / "checkpoints" / f"control-{i}" for i in range(context.scale.controls))
    return [folder for folder in folders if folder.is_dir()]


def _applies(context: Context) -> bool:
    """There are runs from other initializations, and units to exchange."""
    if not _stores(context):
        return False
    try:
        return bool(exchangeable_units(context.trajectory.problem))
    except ModelError:
        return False


def _run(context: Context) -> None:
    started = time.perf_counter()
    end = context.trajectory.problem_at(context.trajectory.steps[-1])
    found: list[list[NetworkAlignment]] = [[] for _ in _METHODS]
    stores = _stores(context)
    for index, store in enumerate(stores):
        context.progress("alignment", "runs from another initialization", index, len(stores))
        other = _end(open_trajectory(store, context.trajectory.problem))
        for records, (_, method) in zip(found, _METHODS, strict=True):
            records.append(align(end, other, method=method, barrier=_POINTS, seed=context.seed.child("alignment", index)).record)
    context.run.save("symmetry/aligned_barriers", _gathered(found, end, context, started))


def _end(trajectory: Trajectory) -> Problem:
    return trajectory.problem_at(trajectory.steps[-1])


def _gathered(found: list[list[NetworkAlignment]], end: Problem, context: Context, started: float) -> AlignedBarriers:
    pairs = found[0]
    before = np.stack([record.chord_before for record in pairs])
    after = np.stack([[record.chord_after for record in records] for records in found])
    row = pairs[0].quantities.index("train_loss")
    return AlignedBarriers(
        alpha=pairs[0].alpha,
        before=np.stack([record.before for record in pairs]),
        after=np.stack([[record.after for record in records] for records in found]),
        chord_before=before,
        chord_after=after,
        distance=np.array([record.distance[0] for record in pairs]),
        distance_after=np.array([[record.distance[1] for record in records] for records in found]),
        quantities=pairs[0].quantities,
        methods=[name for name, _ in _METHODS],
        units=(int(pairs[0].sizes.sum()), len(pairs[0].sizes)),
        headline=(float(before[:, row].mean()), float(after[0, :, row].mean())),
        status=Status.EXACT,
        method=f"{_POINTS} points on the line; {'; '.join(records[0].method for records in found)}",
        error="each barrier is a lower bound on the maximum over its line; the alignment is a local optimum",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(end, context.seed),
    )


ALIGNMENT = Stage("alignment", ("symmetry/aligned_barriers",), _applies, _run)
