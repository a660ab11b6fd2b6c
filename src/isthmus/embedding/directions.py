"""Condensation: how many directions the input weights of each layer follow, along a run."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError, UnsupportedLayer
from isthmus._core.status import Status
from isthmus.embedding.condensation import joined
from isthmus.embedding.vectors import is_odd, unit_vectors
from isthmus.model.problem import Problem, provenance
from isthmus.model.resizing import unit_groups
from isthmus.model.units import UnitGroup
from isthmus.results.provenance import Cost
from isthmus.results.regimes import Condensation
from isthmus.training.trajectory import Trajectory


def condensation(run: Trajectory | Problem, *, steps: Sequence[int] | None = None, cosine: float = 0.9) -> Condensation:
    """Effective number of directions of own parameters ``(w, b)``, layer by layer, along a run.

    With shares of strength ``p_i = |p_i| |u_i| / sum`` and unit directions ``d_i``, the effective number is
    ``1 / sum_ij p_i p_j k(d_i, d_j)``, ``k = cos^2`` for odd activations (opposite directions are one) and ``max(cos, 0)^2``
    for others: m equal units of one direction give 1, m orthogonal ones m, and nothing is cut off. The count joins units
    greedily at `cosine`, as `identify_plateau` does.

    Args:
        run: a trajectory, or a problem at one point.
        steps: checkpoints to look at; all by default.
        cosine: from which on two directions are one, for the count.

    Returns:
        One row per checkpoint. Cost: ``m^2`` cosines per layer and checkpoint; no pass through the network but the trace.

    Raises:
        InputError: no step, or a step without checkpoint.
        UnsupportedLayer: the network has no layer of exchangeable dense units.
    """
    started = time.perf_counter()
    chosen = [0] if isinstance(run, Problem) else list(run.steps if steps is None else steps)
    if not chosen:
        raise InputError("No checkpoint to look at: the list of steps is empty.")
    first = run if isinstance(run, Problem) else run.problem
    groups = [g for g in unit_groups(first) if g.obstacle is None and g.kind == "dense neuron"]
    if not groups:
        raise UnsupportedLayer("Condensation is about layers of exchangeable dense units, and this network has none.")
    rows = [_row(run if isinstance(run, Problem) else run.problem_at(step), groups, cosine) for step in chosen]
    effective, counted, alignment, strength = (np.array([row[k] for row in rows]) for k in range(4))
    return Condensation(
        step=np.array(chosen),
        effective=effective,
        counted=counted.astype(np.int64),
        alignment=alignment,
        strength=strength,
        layer=np.repeat(np.arange(len(groups)), [g.size for g in groups]),
        layers=[g.name for g in groups],
        widths=[g.size for g in groups],
        cosine=cosine,
        status=Status.EXACT,
        method=f"cosines of own parameters (w, b), weighted by |p||u|; joined at {cosine:g} for the count",
        error=None,
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(first),
    )


def _row(problem: Problem, groups: Sequence[UnitGroup], cosine: float) -> tuple[list, list, np.ndarray, np.ndarray]:
    effective, counted, alignment, strength = [], [], [], []
    for group in groups:
        own, out = unit_vectors(problem, group)
        weight = own.norm(dim=1) * out.norm(dim=1)
        share = weight / weight.sum().clamp_min(1e-300)
        direction = own / own.norm(dim=1, keepdim=True).clamp_min(1e-300)
        cosines = direction @ direction.T
        seen = cosines if is_odd(group) else cosines.clamp_min(0)
        effective.append(float(1 / (share @ seen.square() @ share).clamp_min(1e-300)))
        counted.append(joined(group, own, out, cosine=cosine).count)
        lead = cosines[int((seen.square() @ share).argmax())]
        alignment.append(_np(lead.abs() if is_odd(group) else lead))
        strength.append(_np(share))
    return effective, counted, np.concatenate(alignment), np.concatenate(strength)


def _np(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float64).cpu().numpy()
