"""The split matrices (S, D) of every unit of a network, from one Hessian product for all units of a layer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError, UnsupportedLayer
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature.spectrum import CUTOFF
from isthmus.embedding.blocks import SplitBlocks, split_blocks, split_verdict
from isthmus.linops.batched_lanczos import Extremes, batched_extremes
from isthmus.linops.random import gaussian
from isthmus.model.derivatives import loss_gradient, loss_value
from isthmus.model.problem import Problem, provenance
from isthmus.model.resizing import unit_groups
from isthmus.model.unit_derivatives import FrozenErrors
from isthmus.model.units import UnitGroup
from isthmus.results.critical import Inertia
from isthmus.results.embedding import UnitCurvature
from isthmus.results.provenance import Cost

_DENSE = 256
_DENSE_BYTES = 2**28
_STEPS, _ESCAPE_STEPS, _COUPLING_STEPS = 40, 20, 6
_CRITICAL = 1e-10


def unit_curvature(
    problem: Problem, *, layers: Sequence[str] | None = None, batches: int = 8, steps: int = _STEPS, seed: Seed | int = 0
) -> UnitCurvature:
    """What splitting each unit would do to the loss: extreme eigenvalues of S, norm of D, lowest new curvature.

    With ``e = dL/dh`` at the outputs h that the units enter additively, ``h = sum_k U_k phi(p_k; x)``:
    ``S_j = sum_x <e, u_j> d^2 phi(p_j)`` and ``D_j = sum_x e (x) d phi(p_j)``. An equal split adds the eigenvalues of a
    block congruent to ``[[S/4, D^T], [D, 0]]`` to the Hessian, at every parameter point and for every smooth loss.
    Neither matrix couples two units, so one product of the frozen-error functional serves a whole layer.

    Args:
        problem: network, data and loss, of any size; its mode is evaluation.
        layers: groups of units, by name; by default all that can be treated.
        batches: parts of the data whose scatter gives standard errors (1: none).
        steps: Lanczos steps for S where it is too large to form.
        seed: names the start vectors.

    Returns:
        One row per unit. Matrices are formed where ``d_p <= 256`` and memory allows, else Lanczos with residuals.

    Raises:
        InputError: fewer than one batch or step.
        UnsupportedLayer: no layer has units that can be treated, with the reason of each.
    """
    if batches < 1 or steps < 2:
        raise InputError(f"At least one batch and two Lanczos steps are needed, found batches={batches}, steps={steps}.")
    started, seed = time.perf_counter(), as_seed(seed)
    problem = _shuffled(problem.eval(), seed) if batches > 1 else problem.eval()
    parts = [_layer(problem, group, batches, steps, seed.child(group.name)) for group in splittable(problem, layers)]
    slope = float(loss_gradient(problem).norm())
    rows = {key: np.concatenate([getattr(part, key) for part in parts]) for key in _LayerCurvature.ROWS}
    sizes = [part.size for part in parts]
    return UnitCurvature(
        **rows,
        layer=np.repeat(np.arange(len(parts)), sizes),
        unit=np.concatenate([np.arange(size) for size in sizes]),
        missing=np.array([part.missing for part in parts]),
        layers=[part.name for part in parts],
        own=[part.own for part in parts],
        outgoing=[part.outgoing for part in parts],
        verdicts=[v for part in parts for v in (part.verdicts if slope <= _CRITICAL else [""] * part.size)],
        gradient_norm=slope,
        exact=[part.exact for part in parts],
        batches=batches,
        products=sum(part.products for part in parts),
        loss=loss_value(problem),
        loss_name=problem.loss.name,
        status=Status.EXACT if all(part.exact for part in parts) else Status.ESTIMATED,
        method=f"frozen-error Hessian products over {problem.samples} samples in {batches} parts; "
        + ", ".join(f"{part.name}: {'matrices' if part.exact else 'Lanczos'}" for part in parts),
        error=f"standard error over {batches} parts of the data, plus Lanczos residual" if batches > 1 else "Lanczos residual",
        cost=Cost(matvecs=sum(part.products for part in parts), seconds=time.perf_counter() - started),
        provenance=provenance(problem, seed),
    )


def splittable(problem: Problem, layers: Sequence[str] | None = None) -> list[UnitGroup]:
    """The groups whose units can be split one by one and read through Linear or convolution modules.

    Raises:
        UnsupportedLayer: a named layer is not among them, or there are none, with the reasons.
    """
    found, reasons = [], {}
    for group in unit_groups(problem):
        reason = group.obstacle
        if reason is None:
            try:
                FrozenErrors.require(problem, group)
                found.append(group)
            except UnsupportedLayer as fault:
                reason = str(fault)
        if reason is not None:
            reasons[group.name] = reason
    chosen = found if layers is None else [group for group in found if group.name in layers]
    missing = [name for name in layers or () if name not in {group.name for group in found}]
    if missing or not chosen:
        known = "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) or "no exchangeable units at all"
        raise UnsupportedLayer(
            f"No unit of {', '.join(missing) or 'this network'} can be split one by one ({known}). Layers that can: "
            f"{', '.join(group.name for group in found) or 'none'}."
        )
    return chosen


def _shuffled(problem: Problem, seed: Seed) -> Problem:
    """The samples in a random order, so that parts of the data are alike."""
    return problem.subset(torch.from_numpy(seed.child("parts").numpy().permutation(problem.samples)))


@dataclass(frozen=True)
class _LayerCurvature:
    ROWS = ("lowest", "highest", "lowest_error", "highest_error", "coupling", "escape", "escape_error")

    name: str
    size: int
    own: int
    outgoing: int
    lowest: np.ndarray
    highest: np.ndarray
    lowest_error: np.ndarray
    highest_error: np.ndarray
    coupling: np.ndarray
    escape: np.ndarray
    escape_error: np.ndarray
    missing: float
    verdicts: list[str]
    exact: bool
    products: int


def _layer(problem: Problem, group: UnitGroup, batches: int, steps: int, seed: Seed) -> _LayerCurvature:
    frozen = FrozenErrors(problem, group, batches=batches)
    own, out = frozen.blocks.sizes
    exact = own <= _DENSE and group.size * (own + out) ** 2 * 8 * 3 <= _DENSE_BYTES
    if exact:
        blocks = split_blocks(frozen)
        ends, escape = _dense_extremes(blocks.stiffness), _dense_extremes(_equal_split(blocks), low_only=True)
        coupling = torch.linalg.matrix_norm(blocks.coupling, ord=2)
        verdicts = _verdicts(blocks)
    else:
        ends, escape, coupling = _by_lanczos(frozen, steps, seed)
        verdicts = [""] * group.size
    low, high = _scatter(frozen, ends.low_vectors, None), _scatter(frozen, ends.high_vectors, None)
    leaving = _scatter(frozen, escape.low_vectors[:, :own], escape.low_vectors[:, own:])
    links = frozen.missing_links()
    return _LayerCurvature(
        name=group.name,
        size=group.size,
        own=own,
        outgoing=out,
        lowest=_np(ends.low),
        highest=_np(ends.high),
        lowest_error=_np(ends.low_residuals) + low,
        highest_error=_np(ends.high_residuals) + high,
        coupling=_np(coupling),
        escape=_np(escape.low),
        escape_error=_np(escape.low_residuals) + leaving,
        missing=float("nan") if links is None else float(links.norm()),
        verdicts=verdicts,
        exact=exact,
        products=frozen.products,
    )


def _equal_split(blocks: SplitBlocks) -> Tensor:
    """``[[S/2, D^T], [D, 0]]``: the block of an equal split in orthonormal coordinates of the wide parameters."""
    s, d = blocks.stiffness / 2, blocks.coupling
    corner = d.new_zeros(len(d), d.shape[1], d.shape[1])
    return torch.cat([torch.cat([s, d.mT], dim=2), torch.cat([d, corner], dim=2)], dim=1)


def _dense_extremes(matrices: Tensor, *, low_only: bool = False) -> Extremes:
    values, vectors = torch.linalg.eigh(matrices)
    nothing = torch.zeros_like(values[:, 0])
    end = 0 if low_only else -1
    return Extremes(values[:, 0], values[:, end], vectors[:, :, 0], vectors[:, :, end], nothing, nothing, 0)


def _by_lanczos(frozen: FrozenErrors, steps: int, seed: Seed) -> tuple[Extremes, Extremes, Tensor]:
    (own, out), rows = frozen.blocks.sizes, frozen.group.size
    network = frozen.problem.network
    nothing = torch.zeros(rows, out, dtype=network.dtype, device=network.device)
    zero = torch.zeros(rows, own, dtype=network.dtype, device=network.device)

    def equal(both: Tensor) -> Tensor:
        first, second = frozen(both[:, :own], 2 * both[:, own:])
        return torch.cat([first / 2, second], dim=1)

    def start(size: int, name: str) -> Tensor:
        return gaussian((rows, size), seed.child(name), network.dtype, network.device)

    ends = batched_extremes(lambda v: frozen(v, nothing)[0], start(own, "S"), steps)
    escape = batched_extremes(equal, start(own + out, "split"), _ESCAPE_STEPS)
    square = batched_extremes(lambda c: frozen(frozen(zero, c)[0], nothing)[1], start(out, "D"), _COUPLING_STEPS)
    return ends, escape, square.high.clamp_min(0).sqrt()


def _scatter(frozen: FrozenErrors, own: Tensor, out: Tensor | None) -> np.ndarray:
    """Standard error over parts of the data of each unit's quadratic form, S or the equal split's block."""
    if len(frozen.weights) < 2:
        return np.zeros(len(own))
    nothing = own.new_zeros(len(own), frozen.blocks.sizes[1])
    values = []
    for (curved, pulled), share in zip(frozen.by_batch(own, nothing), frozen.weights, strict=True):
        form = (own * curved).sum(1)
        if out is not None:
            form = form / 2 + 2 * (out * pulled).sum(1)
        values.append(_np(form) / share)
    return np.std(values, axis=0, ddof=1) / np.sqrt(len(values))


def _verdicts(blocks: SplitBlocks) -> list[str]:
    """Label and shares for each unit, taking the narrow point for a strict minimum."""
    scale = float(torch.maximum(blocks.stiffness.abs().amax(), blocks.coupling.abs().amax()))
    pairs = zip(_np(blocks.stiffness), _np(blocks.coupling), strict=True)
    return ["; ".join(split_verdict(s, d, base=Inertia(0, 0, 1), scale=scale, cutoff=CUTOFF)) for s, d in pairs]


def _np(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()
