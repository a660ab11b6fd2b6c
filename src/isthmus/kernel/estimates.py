"""Kernel distances, norms and traces without kernels: random probes and random sketches, with standard errors."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, ShapeError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.linops.operator import SymmetricOperator
from isthmus.linops.random import gaussian, rademacher
from isthmus.model.derivatives import output_jvp
from isthmus.model.network import Network
from isthmus.model.problem import Problem, provenance
from isthmus.results.kernel import KernelDistanceEstimate, NtkSketch
from isthmus.results.provenance import Cost, Provenance

Pair = tuple[float, float]


def estimate_kernel_distance(
    first: SymmetricOperator, second: SymmetricOperator, *, probes: int = 32, seed: Seed | int = 0
) -> KernelDistanceEstimate:
    """`kernel_distance`, norms and traces of two kernels that are known by their products alone.

    With random signs z, shared by both kernels, ``E (K z).(K' z) = <K, K'>``, ``E |K z|^2 = |K|^2``, ``E z.K z =
    trace K``. Sharing makes S precise: ``S = |K z/|K| - K' z/|K'||^2 / 2`` on average, which vanishes for equal kernels
    probe by probe. Standard errors are the jackknife's over probes.

    Args:
        first: K, e.g. `ntk_operator` at one checkpoint.
        second: K' on the same samples.
        probes: draws, at least 2; each costs one product with either kernel.
        seed: names the draws.

    Returns:
        Every number with its standard error.

    Raises:
        ShapeError: the kernels have different sizes.
        InputError: fewer than two probes.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    if first.shape != second.shape:
        raise ShapeError(f"The kernels have shapes {first.shape} and {second.shape}; compare kernels on the same samples.")
    if probes < 2:
        raise InputError(f"A standard error needs at least two probes, found {probes}.")
    signs = rademacher((first.shape[0], probes), seed.child("probes"), first.dtype, first.device)
    one, other, signs = (first @ signs).double(), (second @ signs).double(), signs.double()
    moments = torch.stack([one * other, one * one, other * other, signs * one, signs * other]).sum(1)
    return _distances(
        moments.T.cpu().numpy(),
        probes=probes,
        method=f"{probes} random sign probes, shared by both kernels",
        cost=Cost(matvecs=2 * probes, seconds=time.perf_counter() - started),
        provenance=Provenance(dtype=str(first.dtype).removeprefix("torch."), seed=str(seed)),
    )


def sketch_ntk(
    network: nn.Module | Network | Problem, inputs: Tensor, *, size: int = 64, repeats: int = 4, seed: Seed | int = 0
) -> NtkSketch:
    """``u = J R`` for Gaussian R with variance ``1/size``: a small stand-in for the kernel ``J J^T ~ u u^T``.

    The same seed gives the same R at every checkpoint, so that stored sketches of a run can be compared long after its
    weights are gone. Inner products of raw sketches are biased; `sketched_distance` removes the bias.

    Args:
        network: module, network or problem; outputs must be per-example functions.
        inputs: ``(n, ...)``.
        size: k, columns of R; one forward-mode pass each.
        repeats: independent sketches, at least 2, from which the standard error of what is computed later follows.
        seed: names R.

    Returns:
        The sketches, ``(repeat, n c, k)``.

    Raises:
        InputError: size or repeats out of range.
        BatchCoupled: one example's output depends on the others.
    """
    started, seed, network = time.perf_counter(), as_seed(seed), Network.of(network)
    if size < 2 or repeats < 2:
        raise InputError(f"A sketch needs size >= 2 and repeats >= 2, found {size} and {repeats}.")
    network.require_per_example(inputs)
    drawn = []
    for repeat in range(repeats):
        columns = []
        for k in range(size):
            direction = gaussian((network.size,), seed.child("sketch", repeat, k), network.dtype, network.device)
            columns.append(output_jvp(network, inputs, direction / size**0.5).reshape(-1))
        drawn.append(torch.stack(columns, dim=1))
    return NtkSketch(
        sketch=torch.stack(drawn).cpu().numpy(),
        status=Status.ESTIMATED,
        method=f"{repeats} Gaussian sketches of the Jacobian with {size} columns",
        error="inner products of sketches are biased by order 1/size; sketched_distance corrects them",
        cost=Cost(matvecs=size * repeats, seconds=time.perf_counter() - started),
        provenance=provenance(network, seed),
    )


def sketched_distance(first: NtkSketch, second: NtkSketch) -> KernelDistanceEstimate:
    """`kernel_distance` from two sketches with the same R, free of the sketch's bias in every inner product.

    With ``G = v^T u``, ``E |G|_F^2 = <K, K'> + (tr(M)^2 + tr(M M)) / k`` for ``M = J'^T J``. The three numbers
    ``|G|_F^2, tr(G)^2, tr(G G)`` mix ``<K, K'>, tr(M)^2, tr(M M)`` by one 3 x 3 matrix with 1 on and 1/k off the
    diagonal; its inverse gives unbiased estimates. Standard errors are the jackknife's over independent sketches.

    Args:
        first: of K.
        second: of K', drawn with the same seed, size and repeats.

    Returns:
        Every number with its standard error.

    Raises:
        InputError: the sketches were drawn with different seeds or sizes.
    """
    started = time.perf_counter()
    u, v = first.sketch.astype(np.float64), second.sketch.astype(np.float64)
    if u.shape != v.shape or first.provenance.seed != second.provenance.seed:
        raise InputError(
            f"The sketches have shapes {u.shape} and {v.shape} and seeds {first.provenance.seed!r} and "
            f"{second.provenance.seed!r}; only sketches of the same samples with the same random matrix can be compared."
        )
    rows = [
        [*(_unbiased(b.T @ a) for a, b in ((one, other), (one, one), (other, other))), np.sum(one**2), np.sum(other**2)]
        for one, other in zip(u, v, strict=True)
    ]
    return _distances(
        np.array(rows),
        probes=len(u),
        method=f"{len(u)} Gaussian sketches with {u.shape[2]} columns, bias removed",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=first.provenance,
    )


def _unbiased(product: np.ndarray) -> float:
    """The estimate of ``<K, K'>`` from ``G = v^T u``."""
    share = 1 / len(product)
    mixing = np.full((3, 3), share) + (1 - share) * np.eye(3)
    seen = [np.sum(product**2), np.trace(product) ** 2, np.sum(product * product.T)]
    return float(np.linalg.solve(mixing, seen)[0])


def _distances(moments: np.ndarray, *, probes: int, method: str, cost: Cost, provenance: Provenance) -> KernelDistanceEstimate:
    """From ``(draw, 5)``: ``<K, K'>, |K|^2, |K'|^2, trace K, trace K'`` of each draw."""
    functions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "cosine_distance": lambda m: 1 - m[0] / np.sqrt(m[1] * m[2]),
        "scale": lambda m: np.sqrt(m[2] / m[1]),
        "relative_change": lambda m: np.sqrt(np.maximum(m[1] + m[2] - 2 * m[0], 0) / m[1]),
        "norms": lambda m: np.sqrt(m[1]),
        "other_norm": lambda m: np.sqrt(m[2]),
        "trace": lambda m: m[3],
        "other_trace": lambda m: m[4],
    }
    estimates = {name: _jackknife(moments, function) for name, function in functions.items()}
    return KernelDistanceEstimate(
        cosine_distance=estimates["cosine_distance"],
        scale=estimates["scale"],
        relative_change=estimates["relative_change"],
        norms=(estimates["norms"], estimates["other_norm"]),
        traces=(estimates["trace"], estimates["other_trace"]),
        probes=probes,
        status=Status.ESTIMATED,
        method=method,
        error=f"standard errors by the jackknife over {probes} independent draws",
        cost=cost,
        provenance=provenance,
    )


def _jackknife(moments: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> Pair:
    """A smooth function of mean moments, and its standard error from leaving out one draw at a time."""
    count = len(moments)
    without = (moments.sum(0) - moments) / (count - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        values, center = function(without.T), float(function(moments.mean(0)))
    return center, float(np.sqrt((count - 1) / count * np.sum((values - values.mean()) ** 2)))
