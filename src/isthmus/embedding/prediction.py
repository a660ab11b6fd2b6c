"""The inertia of a grown critical point, from the small network alone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from isthmus._core.errors import InputError
from isthmus._core.status import Status
from isthmus.curvature.spectrum import CUTOFF, InertiaCount, count_inertia, dense_hessian
from isthmus.embedding.blocks import null_inertia, split_blocks, split_inertia, split_verdict
from isthmus.embedding.growth import Growth, composed
from isthmus.model.derivatives import loss_gradient
from isthmus.model.problem import Problem, provenance
from isthmus.model.resizing import resized, unit_group
from isthmus.model.unit_derivatives import FrozenErrors
from isthmus.model.units import UnitGroup
from isthmus.results.critical import Inertia
from isthmus.results.embedding import GrowthPrediction
from isthmus.results.provenance import Cost


@dataclass(frozen=True)
class _Part:
    """What one grown unit adds, in words and numbers."""

    name: str
    count: InertiaCount
    label: str
    shares: str


def predict_inertia(
    problem: Problem, growth: Growth | Sequence[Growth], *, cutoff: float = CUTOFF, tolerance: float = 1e-10
) -> GrowthPrediction:
    """Negative, zero and positive Hessian eigenvalues of a network after growth, without forming the wide Hessian.

    ``In(H_wide) = In(H_narrow) + sum over grown units of In(block)``, the blocks made of (S, D) of the small network; the
    identity is a congruence, exact at every parameter point and for every smooth loss. Two grown layers of which one
    reads the other add ``K_1 K_2`` zeros more. One relative cut-off serves all matrices.

    Args:
        problem: the small network (dense Hessian), data and loss; taken to float64.
        growth: one `Growth` or several; of one layer, each in the numbering that the one before it left.
        cutoff: relative to the largest eigenvalue of the narrow Hessian.
        tolerance: gradient norm up to which the point counts as critical; the counts hold anyway.

    Returns:
        Counts for each grown unit, their sum, and the verdict; `unresolved` when a count has no gap.

    Raises:
        InputError: a unit that does not exist or that only an earlier step added as a null unit is split.
        BudgetError: the network is too large for a dense Hessian.
    """
    started, problem = time.perf_counter(), problem.eval().to(torch.float64)
    growths = [growth] if isinstance(growth, Growth) else list(growth)
    values = torch.linalg.eigvalsh(dense_hessian(problem)).cpu().numpy()
    scale = float(np.abs(values).max())
    narrow = count_inertia(values, cutoff=cutoff)
    groups = {g.layer: unit_group(problem, g.layer) for g in growths}
    growths = [composed([g for g in growths if g.layer == name], group) for name, group in groups.items()]
    parts = [p for g in growths for p in _parts(problem, groups[g.layer], g, narrow.inertia, scale, cutoff)]
    parts += _between(growths, groups)
    wide = sum((part.count.inertia for part in parts), narrow.inertia)
    resolved = narrow.resolved and all(part.count.resolved for part in parts)
    slope = float(loss_gradient(problem).norm())
    label, reason = _verdict(slope, tolerance, resolved, narrow.inertia, wide, [p for p in parts if p.shares])
    return GrowthPrediction(
        added=np.array([[c.negative, c.zero, c.positive] for c in (p.count.inertia for p in parts)]).reshape(-1, 3),
        units=[part.name for part in parts],
        narrow=narrow.inertia,
        wide=wide,
        cutoff=narrow.cutoff,
        label=label,
        reason=reason,
        shares=[part.shares for part in parts if part.shares],
        gradient_norm=slope,
        resolved=resolved,
        status=Status.EXACT if resolved and label not in ("undecided", "unresolved") else Status.UNRESOLVED,
        method=f"inertia law on (S, D) of {problem.loss.name} over {problem.samples} samples, float64; zero up to {cutoff:g} x largest",
        error=None,
        cost=Cost(matvecs=len(values), seconds=time.perf_counter() - started),
        provenance=provenance(problem),
    )


def _parts(problem: Problem, group: UnitGroup, growth: Growth, base: Inertia, scale: float, cutoff: float) -> list[_Part]:
    found = []
    if growth.splits:
        units = sorted(growth.splits)
        blocks = split_blocks(FrozenErrors(problem, group), units)
        for unit, s, d in zip(units, blocks.stiffness.cpu().numpy(), blocks.coupling.cpu().numpy(), strict=True):
            weights = growth.splits[unit]
            count = split_inertia(s, d, weights, scale=scale, cutoff=cutoff)
            label, shares = split_verdict(s, d, base=base, scale=scale, cutoff=cutoff)
            name = f"{group.name}: unit {unit} split {', '.join(f'{w:.3g}' for w in weights)}"
            found.append(_Part(name, count, label, f"unit {unit} of {group.name}: {label} for {shares}"))
    for bias in growth.nulls:
        alone = Growth(group.name, nulls=(bias,))
        wider = problem._with(network=resized(problem.network, group, alone.recipe(group), inputs=problem.inputs))
        again = unit_group(wider, group.name)
        blocks = split_blocks(FrozenErrors(wider, again), [again.size - 1])
        count = null_inertia(blocks.coupling[0].cpu().numpy(), scale=scale, cutoff=cutoff)
        label = "strict saddle" if count.inertia.negative else "undecided"
        found.append(_Part(f"{group.name}: null unit with bias {bias:g}", count, label, f"null unit of {group.name}: {label}"))
    return found


def _between(growths: Sequence[Growth], groups: dict[str, UnitGroup]) -> list[_Part]:
    """Zeros from weights between two layers that both grow: one for each pair of new units."""
    found = []
    for index, first in enumerate(growths):
        for second in growths[index + 1 :]:
            one, other = groups[first.layer], groups[second.layer]
            joint = {s.tensor for s in one.outgoing} & {s.tensor for s in other.incoming}
            joint |= {s.tensor for s in other.outgoing} & {s.tensor for s in one.incoming}
            if joint:
                size = _entries_of_a_pair(one, other, joint)
                count = InertiaCount(Inertia(0, first.added * second.added * size, 0), 0.0, np.inf, True)
                found.append(_Part(f"weights between new units of {one.name} and {other.name}", count, "", ""))
    return found


def _entries_of_a_pair(one: UnitGroup, other: UnitGroup, joint: set[str]) -> int:
    """How many weights join one unit of each group; more than one in convolutions and blocks."""
    slots = {s.tensor: s for g in (one, other) for s in (*g.incoming, *g.outgoing) if s.tensor in joint}
    if any(s.outer * s.inner > 1 for s in slots.values()) or "conv channel" in (one.kind, other.kind):
        raise InputError(
            f"{one.name} and {other.name} read each other through blocks of weights; predict one after the other: grow the first, "
            "then predict the second."
        )
    return 1


def _verdict(
    slope: float, tolerance: float, resolved: bool, narrow: Inertia, wide: Inertia, parts: Sequence[_Part]
) -> tuple[str, str]:
    if not resolved:
        return "unresolved", "an eigenvalue or the rank of a D lies too near the cut-off to be told from zero"
    if slope > tolerance:
        return (
            "undecided",
            f"the gradient norm {slope:.3g} says that the narrow point is not critical; the counts hold all the same",
        )
    if wide.negative:
        return "strict saddle", f"{wide.negative} negative eigenvalues ({narrow.negative} in the narrow network)"
    if narrow.zero == 0 and all(part.label == "minimum with flat directions" for part in parts) and wide.zero == len(parts):
        return "minimum with flat directions", "the zero eigenvalues are the lines of shares, along which nothing changes"
    return "undecided", f"{wide.zero} zero eigenvalues ({narrow.zero} in the narrow network) that second order does not decide"
