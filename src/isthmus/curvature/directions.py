"""Directions that span a line or a plane through a point in parameter space."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError, ShapeError
from isthmus._core.seeds import Seed, as_seed
from isthmus.curvature.operators import hessian_operator
from isthmus.curvature.points import Point, placed
from isthmus.linops.eigen import Which, top_eigenpairs
from isthmus.linops.random import gaussian
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.training.trajectory import Trajectory

Normalize = Literal["filter", "layer", "none"]
_MARGIN = 0.25
_UNIT = (-1.0, 1.0)
_PARALLEL = 1e-6


@dataclass(frozen=True)
class Directions:
    """The points ``w = w_0 + sum_k c_k d_k``.

    Attributes:
        network: at ``w_0``; its buffers belong to it.
        vectors: the ``d_k``, ``(k, p)``.
        names: what each is, for axes of figures.
        spans: for each, the interval of c worth seeing.
        method: how they were chosen, in words.
        landmarks: coordinates of named points of the line or plane, ``(m, k)``.
        landmark_names: their names.
        path: coordinates of points projected onto the line or plane, in order, ``(q, k)``.
        off: distance of each from the line or plane, ``(q,)``.
    """

    network: Network
    vectors: Tensor
    names: tuple[str, ...]
    spans: tuple[tuple[float, float], ...]
    method: str
    landmarks: np.ndarray
    landmark_names: tuple[str, ...]
    path: np.ndarray
    off: np.ndarray


def given_directions(problem: Problem, vectors: Tensor, *, names: Sequence[str] | None = None) -> Directions:
    """Directions of your own, taken as they are, through the point where the network stands.

    Args:
        problem: whose network gives the point.
        vectors: ``(k, p)``.
        names: what each is.

    Raises:
        ShapeError: the vectors belong to another network.
        InputError: a vector is zero or not finite, or they are linearly dependent.
    """
    network = problem.network
    if vectors.ndim != 2 or vectors.shape[1] != network.size or not len(vectors):
        raise ShapeError(f"Directions of shape (k, {network.size}) are needed, found {tuple(vectors.shape)}.")
    named = tuple(names or (f"direction {i + 1}" for i in range(len(vectors))))
    return _through_origin(network, vectors, named, "directions given")


def random_directions(problem: Problem, count: int = 2, *, normalize: Normalize = "filter", seed: Seed | int = 0) -> Directions:
    """Gaussian directions through the point where the network stands.

    ``"filter"`` (Li et al. 2018): each filter, a slice ``d[i]`` of a parameter along its first axis (the weights into one
    neuron or channel), gets the norm of ``w[i]``; parameters of fewer than two axes (biases, scales and shifts of
    normalization layers) stay where they are, as in that paper. ``"layer"``: each parameter as a whole, biases included, gets
    the norm of w. ``"none"``: no scaling. Where w has norm zero, so has d: nothing is divided by it.

    Args:
        problem: whose network gives the point.
        count: how many directions.
        normalize: which norms are matched.
        seed: names the draw.

    Returns:
        The directions; c = 1 moves a filter (layer) by its own norm. Directions are not made orthogonal: in p dimensions
        their angle is off a right one by about ``1/sqrt(p)``.

    Raises:
        InputError: an unknown normalization, no direction asked for, or one that is zero.
    """
    if normalize not in ("filter", "layer", "none"):
        raise InputError(f"normalize={normalize!r} is unknown; write 'filter', 'layer' or 'none'.")
    if count < 1:
        raise InputError(f"At least one direction is needed, found count={count}.")
    network, seed = problem.network, as_seed(seed)
    rows = []
    for index in range(count):
        raw = gaussian((network.size,), seed.child("direction", index), network.dtype, network.device)
        if normalize != "none":
            drawn = network.layout.unflatten(raw)
            raw = network.layout.flatten({name: _like(drawn[name], w, normalize) for name, w in network.parameters.items()})
        rows.append(raw)
    names = tuple(f"random direction {i + 1}" for i in range(count))
    words = {"filter": "normalized per filter, biases and norm parameters kept", "layer": "normalized per parameter"}
    return _through_origin(network, torch.stack(rows), names, f"Gaussian directions, {words.get(normalize, 'not normalized')}")


def hessian_directions(
    problem: Problem, count: int = 2, *, which: Which = "LA", rtol: float = 1e-3, seed: Seed | int = 0
) -> Directions:
    """Unit eigenvectors of the loss's Hessian where the network stands, with the interval over which the loss should rise by 1.

    Args:
        problem: network, data and loss.
        count: how many.
        which: algebraically largest (LA), smallest (SA) or largest magnitude (LM).
        rtol: residual tolerance of the eigensolver.
        seed: names its start.

    Returns:
        The directions; ``c = sqrt(2 / |lambda|)`` changes the quadratic approximation of the loss by 1, and the interval is
        twice that to each side.

    Raises:
        InputError: count out of range.
        BatchCoupled: BatchNorm with batch statistics.
    """
    problem = problem.eval()
    found = top_eigenpairs(hessian_operator(problem), count, rtol=rtol, seed=as_seed(seed), which=which)
    vectors = found.vectors.T
    vectors = vectors * torch.sign(vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True)))
    reach = 2 * np.sqrt(2 / np.maximum(np.abs(found.values), 1e-12))
    sure = "" if found.converged.all() else f" ({int((~found.converged).sum())} not converged)"
    names = tuple(f"Hessian eigenvector {i + 1} (λ = {value:.3g})" for i, value in enumerate(found.values))
    method = f"unit Hessian eigenvectors ({which}) to {rtol:g}{sure}"
    return _through_origin(problem.network, vectors, names, method, tuple((-float(r), float(r)) for r in reach))


def trajectory_directions(trajectory: Trajectory, count: int = 2) -> Directions:
    """Principal directions of a run's checkpoints, through its last one, with the run projected onto them.

    Principal component analysis of the checkpoints' parameters, each checkpoint counting once (Li et al. 2018). The share of
    variance that a direction explains is in its name. Mind that even a random walk in many dimensions has most of its variance
    in two principal directions (Antognini and Sohl-Dickstein 2018); the distances of the checkpoints from the plane are kept.

    Args:
        trajectory: at least ``count + 1`` distinct checkpoints.
        count: how many directions.

    Returns:
        Unit directions; the interval of each holds the projected run with a margin of a quarter. Cost: memory of all
        checkpoints' parameters.

    Raises:
        InputError: too few checkpoints, or they span fewer dimensions.
    """
    steps = trajectory.steps
    if len(steps) < count + 1:
        raise InputError(f"{count} principal directions need at least {count + 1} checkpoints, found {len(steps)}.")
    network = trajectory.problem_at(steps[-1]).network
    points = torch.stack([trajectory.problem_at(step).network.flat for step in steps])
    moves = points - points[-1]
    centered = (moves - moves.mean(dim=0)).double()
    squares, mixing = torch.linalg.eigh(centered @ centered.T)
    squares, mixing = squares.flip(0)[:count], mixing.flip(1)[:, :count]
    total = float(centered.square().sum())
    if not float(squares[-1]) > 1e-12 * total:
        raise InputError(f"The {len(steps)} checkpoints span fewer than {count} dimensions: the run did not move that way.")
    vectors = torch.linalg.qr(centered.T @ mixing)[0].T
    vectors = vectors * torch.where((vectors @ moves[0].double()) < 0, -1.0, 1.0)[:, None]
    path, off = _projected(moves.double(), vectors)
    shares = (squares / total).tolist()
    return Directions(
        network=network,
        vectors=vectors.to(network.dtype),
        names=tuple(f"principal direction {i + 1} ({share:.0%} of variance)" for i, share in enumerate(shares)),
        spans=_around(path),
        method=f"principal directions of {len(steps)} checkpoints, "
        f"which explain {' and '.join(f'{share:.1%}' for share in shares)} of their variance",
        landmarks=path[[0, -1]],
        landmark_names=("start", "end"),
        path=path,
        off=off,
    )


def directions_through(problem: Problem, *points: Point, names: Sequence[str] | None = None) -> Directions:
    """The line through two networks, or the plane through three (Garipov et al. 2018), with orthonormal directions.

    Args:
        problem: its network gives the architecture.
        points: parameters: flat vector, dict (may hold buffers), module, network or problem. The first is the origin.
        names: what to call them.

    Returns:
        ``d_1`` points to the second, ``d_2`` to the third less its part along ``d_1``; distances in the plane are
        distances in parameter space.

    Raises:
        InputError: fewer than two points, or points on one line.
        ShapeError: a point belongs to another network.
    """
    if len(points) < 2:
        raise InputError(f"A line needs two points and a plane three, found {len(points)}.")
    networks = [placed(problem, point).network for point in points]
    moves = torch.stack([network.flat - networks[0].flat for network in networks[1:]]).double()
    basis, triangle = torch.linalg.qr(moves.T)
    sizes = triangle.diagonal()
    if not bool((sizes.abs() > _PARALLEL * moves.norm(dim=1).max()).all()):
        raise InputError(
            f"The {len(points)} points span fewer than {len(moves)} dimensions (two are equal, or all lie on a line). "
            "Choose points that differ."
        )
    coordinates = np.vstack([np.zeros(len(moves)), (triangle * sizes.sign()[:, None]).T.cpu().numpy()])
    labels = tuple(names or (f"network {i + 1}" for i in range(len(points))))
    return Directions(
        network=networks[0],
        vectors=(basis * sizes.sign()).T.to(networks[0].dtype),
        names=tuple(f"distance in parameter space, {'along' if i == 0 else 'across'}" for i in range(len(moves))),
        spans=_around(coordinates),
        method=f"orthonormal directions through {len(points)} networks",
        landmarks=coordinates,
        landmark_names=labels,
        path=np.empty((0, len(moves))),
        off=np.empty(0),
    )


def with_path(directions: Directions, points: Tensor) -> Directions:
    """The same directions with other points ``(q, p)`` projected as the path."""
    moves = (points.to(directions.network.flat) - directions.network.flat).double()
    path, off = _projected(moves, directions.vectors.double())
    return Directions(**{**vars(directions), "path": path, "off": off})


def _like(drawn: Tensor, weights: Tensor, normalize: str) -> Tensor:
    if normalize == "filter" and weights.ndim < 2:
        return torch.zeros_like(drawn)
    rows = 1 if normalize == "layer" else len(weights)
    flat = drawn.reshape(rows, -1)
    lengths = weights.reshape(rows, -1).norm(dim=1, keepdim=True) / flat.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return (flat * lengths).reshape(weights.shape)


def _through_origin(
    network: Network,
    vectors: Tensor,
    names: tuple[str, ...],
    method: str,
    spans: tuple[tuple[float, float], ...] | None = None,
) -> Directions:
    sizes = vectors.double().norm(dim=1)
    if not bool((torch.isfinite(sizes) & (sizes > 0)).all()):
        raise InputError(
            f"A direction has length {sizes.tolist()}: nothing would be seen along it. Directions normalized per filter are zero "
            "where all weights are (or where the network has no parameter of two axes); use normalize='layer' or 'none'."
        )
    k = len(vectors)
    unit = vectors.double() / sizes[:, None]
    if k > 1 and not float(torch.linalg.eigvalsh(unit @ unit.T)[0]) > _PARALLEL**2:
        raise InputError(f"The {k} directions point the same way or lie in fewer than {k} dimensions; choose others.")
    return Directions(
        network=network,
        vectors=vectors.to(network.device, network.dtype),
        names=names,
        spans=spans or (_UNIT,) * k,
        method=method,
        landmarks=np.zeros((1, k)),
        landmark_names=("network",),
        path=np.empty((0, k)),
        off=np.empty(0),
    )


def _projected(moves: Tensor, vectors: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares coordinates of ``moves (q, p)``, ``(q, k)``, and the distances that remain, ``(q,)``."""
    coordinates = torch.linalg.solve(vectors @ vectors.T, vectors @ moves.T).T
    return coordinates.cpu().numpy(), (moves - coordinates @ vectors).norm(dim=1).cpu().numpy()


def _around(coordinates: np.ndarray) -> tuple[tuple[float, float], ...]:
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    room = _MARGIN * (high - low)
    return tuple((float(a), float(b)) for a, b in zip(low - room, high + room, strict=True))
