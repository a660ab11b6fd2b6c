"""Central flow: the path of the time average of an optimizer that oscillates at the edge of stability.

Around its average w the iterate is ``w + delta`` with ``E delta delta^T = Sigma``, so that the average gradient is
``grad L(w) + grad_w <H(w), Sigma> / 2`` to second order: oscillation along a direction pushes its curvature down. A step
``w -= P^{-1} g`` oscillates with period two along the eigenvectors of ``P^{-1/2} H P^{-1/2}`` at 2, and Sigma, supported
there, is what keeps these eigenvalues from passing 2:

    w'  = -P^{-1} [grad L + grad_w <H, Sigma> / 2]
    nu' = (1 - alpha) / alpha [grad L^2 + diag(H Sigma H) - nu]        (RMSprop, P = (sqrt nu + eps) / lr)
    Sigma >= 0,  2 - M >= 0 on its range,  <Sigma, d(2 - M)/dt> = 0,   M = P^{-1/2} H P^{-1/2}

in units of optimizer steps. ``(1 - alpha) / alpha`` is the rate of ``nu_k = alpha nu_{k-1} + (1 - alpha) g_k^2`` read forward in
time. After Cohen, Damian, Talwalkar, Kolter and Lee 2024 (arXiv 2410.24206); the equations are derived here.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.dynamics.complementarity import solve_complementarity
from isthmus.dynamics.methods import TorchSgd
from isthmus.dynamics.optimizers import OptimizerLike, Understood, understand_optimizer
from isthmus.dynamics.sharpness import EffectiveHessian
from isthmus.dynamics.stability import optimizer_over
from isthmus.linops.eigen import top_eigenpairs
from isthmus.model.derivatives import curvature_gradient, loss_gradient, loss_value
from isthmus.model.problem import Problem, provenance
from isthmus.results.flows import CentralFlow
from isthmus.results.provenance import Cost

_WINDOW = 0.2
_FAR = 1.6
_REFRESH = 5


def central_flow(
    problem: Problem,
    optimizer: OptimizerLike,
    steps: int,
    *,
    directions: int = 4,
    substeps: int = 2,
    points: int = 60,
    seed: Seed | int = 0,
) -> CentralFlow:
    """The averaged path of full-batch gradient descent or RMSprop, through the edge of stability and along it.

    Below the edge this is gradient flow (preconditioned for RMSprop); at the edge the top eigenvalues of the effective
    curvature are held at 2 by the oscillation they cause, whose size is part of the prediction: the equations are at the
    head of this module. In every Euler step of ``1 / substeps`` optimizer steps Sigma solves a small semidefinite
    complementarity problem over the directions whose curvature is near 2.

    For small smooth networks: each substep at the edge costs the top eigenpairs and ``k (k + 1) / 2`` third derivatives.

    Args:
        problem: network, data and loss; evaluated in evaluation mode, in float64.
        optimizer: `torch.optim.SGD` without momentum and decay (or such a `TorchSgd`), or plain `torch.optim.RMSprop`. The second
            moments of RMSprop are its own if it has a state, else those after its first step from here.
        steps: optimizer steps covered.
        directions: eigenvectors followed; raise it when `unstable` reaches it.
        substeps: Euler steps for one optimizer step.
        points: steps at which the flow is kept.
        seed: names Lanczos' start vectors.

    Returns:
        The flow. `overshoot` says how well the discretization held the curvature at 2.

    Raises:
        InputError: another optimizer, or counts below 1.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    if min(steps, directions, substeps) < 1 or points < 2:
        raise InputError(
            f"Steps, directions and substeps are at least 1 and points 2; found {steps}, {directions}, {substeps}, {points}."
        )
    problem = problem.eval().to(torch.float64)
    known = understand_optimizer(optimizer, problem.network)
    rule, state = _rule(problem, known)
    kept = set(np.unique(np.linspace(0, steps, points).round().astype(int)).tolist())
    view = _View(problem, rule, min(directions, problem.network.size), seed)
    rows, overshoot = [], 0.0
    for count in range(steps * substeps + 1):
        point = view.look(state, count / substeps)
        motion = _motion(point, rule, 1 / substeps)
        step, part = divmod(count, substeps)
        overshoot = max(overshoot, float(point.values[0]) - 2 if step else 0.0)
        if part == 0 and step in kept:
            rows.append(_row(step, point, motion))
        state = _State(state.weights + motion.weights / substeps, (state.moments + motion.moments / substeps).clamp_min(0.0))
        if not bool(torch.isfinite(state.weights).all()):
            break
    return _record(problem, known, rows, substeps, overshoot, view.matvecs, seed, started)


@dataclass(frozen=True)
class _Rule:
    """``w -= P^{-1} g``: gradient descent has ``P = 1 / lr``, RMSprop ``(sqrt nu + eps) / lr``.

    Attributes:
        lr: step size.
        speed: ``(1 - alpha) / alpha``; 0 for gradient descent.
        eps: of RMSprop.
    """

    lr: float
    speed: float = 0.0
    eps: float = 0.0

    def weights(self, moments: Tensor) -> Tensor:
        """P, ``(p,)``."""
        return (moments.sqrt() + self.eps) / self.lr if self.speed else torch.full_like(moments, 1 / self.lr)

    def change(self, moments: Tensor, rate: Tensor) -> Tensor:
        """dP/dt for ``dnu/dt = rate``."""
        return rate / (2 * self.lr * moments.sqrt().clamp_min(1e-150)) if self.speed else torch.zeros_like(moments)


@dataclass(frozen=True)
class _State:
    """Averaged weights and second moments, ``(p,)`` each; the latter stay 0 for gradient descent."""

    weights: Tensor
    moments: Tensor


@dataclass(frozen=True)
class _Point:
    """What is known at a state: gradient, P, and eigenpairs of the effective curvature, largest first.

    Far from the edge the eigenpairs may be those of up to an optimizer step before.
    """

    problem: Problem
    state: _State
    slope: Tensor
    weights: Tensor
    values: np.ndarray
    vectors: Tensor


@dataclass(frozen=True)
class _Motion:
    """Velocity of the state per optimizer step, and the oscillation: X over the columns of `directions`."""

    weights: Tensor
    moments: Tensor
    oscillation: np.ndarray
    directions: Tensor


def _rule(problem: Problem, known: Understood) -> tuple[_Rule, _State]:
    """How the optimizer steps, and the state to start from.

    Raises:
        InputError: it is neither plain gradient descent nor plain RMSprop.
    """
    start, method = problem.network.flat, known.method
    if isinstance(method, TorchSgd) and not method.momentum and not method.decay and method.schedule is None:
        return _Rule(method.lr), _State(start, torch.zeros_like(start))
    if known.make is not None and method is None:
        optimizer, parameters = optimizer_over(problem, known)
        group = optimizer.param_groups[0]
        fancy = any(group.get(name) for name in ("momentum", "weight_decay", "centered", "maximize"))
        if type(optimizer) is torch.optim.RMSprop and len(optimizer.param_groups) == 1 and not fancy:
            fresh = (1 - group["alpha"]) * loss_gradient(problem).square()
            found = [optimizer.state.get(parameter, {}).get("square_avg") for parameter in parameters]
            known_moments = [value.reshape(-1).to(start) for value in found if value is not None]
            moments = torch.cat(known_moments) if len(known_moments) == len(parameters) else fresh
            return _Rule(float(group["lr"]), (1 - group["alpha"]) / group["alpha"], float(group["eps"])), _State(start, moments)
    raise InputError(
        f"A central flow is known for gradient descent (torch.optim.SGD without momentum, decay or schedule) and for plain "
        f"torch.optim.RMSprop in one parameter group, not for {known.words}. edge_of_stability measures any optimizer's run."
    )


class _View:
    """Looks at states: the gradient always; eigenpairs by Lanczos now and then, refined from the last ones in between."""

    def __init__(self, problem: Problem, rule: _Rule, directions: int, seed: Seed) -> None:
        self.problem, self.rule, self.directions, self.seed = problem, rule, directions, seed
        self.matvecs, self._values = 0, np.full(directions, np.inf)
        self._vectors = torch.zeros(problem.network.size, 0, dtype=problem.network.dtype)

    def look(self, state: _State, step: float) -> _Point:
        """The point, `step` optimizer steps after the start; far from the edge eigenvalues are looked at once a step."""
        there, weights = self.problem.at(state.weights), self.rule.weights(state.moments)
        if step % _REFRESH == 0:
            self._lanczos(EffectiveHessian(there, weights))
        elif self._values[0] > _FAR or step % 1 == 0:
            self._refine(EffectiveHessian(there, weights))
        return _Point(there, state, loss_gradient(there, chunk=there.samples), weights, self._values, self._vectors)

    def _lanczos(self, operator: EffectiveHessian) -> None:
        pairs = top_eigenpairs(operator, self.directions, rtol=1e-4, seed=self.seed.child("central"))
        self._values, self._vectors, self.matvecs = pairs.values, pairs.vectors, self.matvecs + pairs.matvecs

    def _refine(self, operator: EffectiveHessian) -> None:
        """Rayleigh and Ritz on the span of the last vectors and their images."""
        basis, _ = torch.linalg.qr(torch.cat([self._vectors, operator @ self._vectors], dim=1))
        inner = basis.T @ (operator @ basis)
        values, turns = torch.linalg.eigh((inner + inner.T) / 2)
        self._values = values.flip(0)[: self.directions].numpy().copy()
        self._vectors = basis @ turns.flip(1)[:, : self.directions]
        self.matvecs += operator.matvecs


def _motion(point: _Point, rule: _Rule, substep: float) -> _Motion:
    """The velocity, with the oscillation that keeps the effective curvature from passing 2 within the substep."""
    state, weights = point.state, point.weights
    drift = _Motion(
        -point.slope / weights, rule.speed * (point.slope.square() - state.moments), np.zeros((0, 0)), point.vectors[:, :0]
    )
    near = int((point.values > 2 - _WINDOW).sum())
    if not near:
        return drift
    basis, values = point.vectors[:, :near], point.values[:near]
    sides = basis / weights.sqrt()[:, None]
    pairs = [(a, b) for a in range(near) for b in range(a, near)]
    whole = point.problem.samples
    bends = {(a, b): curvature_gradient(point.problem, sides[:, a], sides[:, b], chunk=whole) for a, b in pairs}

    def rise(move: Tensor, rate: Tensor) -> np.ndarray:
        """How the effective curvature on the basis changes per optimizer step under this velocity."""
        stretch = (basis.T * (rule.change(state.moments, rate) / weights)) @ basis
        found = -(values[:, None] + values) / 2 * stretch.numpy()
        for (a, b), bend in bends.items():
            found[a, b] += float(bend @ move)
            found[b, a] = found[a, b]
        return found

    pushes = {
        (a, b): (-bend / weights / 2, rule.speed * values[a] * values[b] * weights.square() * sides[:, a] * sides[:, b])
        for (a, b), bend in bends.items()
    }
    response = np.zeros((near, near, near, near))
    for (a, b), push in pushes.items():
        response[a, b] = response[b, a] = -substep * rise(*push)
    found = solve_complementarity(np.diag(2 - values) - substep * rise(drift.weights, drift.moments), response)
    shares = {(a, b): float(found[a, b]) * (1 if a == b else 2) for a, b in pairs}
    return _Motion(
        drift.weights + sum(share * pushes[pair][0] for pair, share in shares.items()),
        drift.moments + sum(share * pushes[pair][1] for pair, share in shares.items()),
        found,
        sides,
    )


@dataclass(frozen=True)
class _Row:
    step: int
    loss: float
    mean_loss: float
    effective: np.ndarray
    variance: float
    unstable: int
    weights: np.ndarray


def _row(step: int, point: _Point, motion: _Motion) -> _Row:
    loss, shape = loss_value(point.problem), motion.oscillation
    variance = float((motion.directions.T @ motion.directions * torch.from_numpy(shape)).sum()) if shape.size else 0.0
    extra = 0.5 * float(np.diag(shape) @ point.values[: len(shape)])
    unstable = int((np.linalg.eigvalsh(shape) > 1e-9 * max(np.abs(shape).max(), 1e-300)).sum()) if shape.any() else 0
    return _Row(step, loss, loss + extra, point.values.copy(), variance, unstable, point.state.weights.numpy().copy())


def _record(
    problem: Problem,
    known: Understood,
    rows: list[_Row],
    substeps: int,
    overshoot: float,
    matvecs: int,
    seed: Seed,
    started: float,
) -> CentralFlow:
    columns: dict[str, Any] = {name: np.array([getattr(row, name) for row in rows]) for name in _Row.__dataclass_fields__}
    edge = np.flatnonzero(columns["unstable"] > 0)
    finite = bool(np.isfinite(columns["loss"]).all())
    return CentralFlow(
        **columns,
        edge_step=int(rows[edge[0]].step) if edge.size else -1,
        optimizer=known.words,
        substeps=substeps,
        overshoot=overshoot,
        status=Status.CONVERGED if finite else Status.NOT_FINITE,
        method=f"central flow of {known.words} by Euler steps of 1/{substeps}, {problem.loss.name} over {problem.samples} samples",
        error="second order in the oscillation and in the substep; overshoot measures the latter",
        cost=Cost(matvecs=matvecs, seconds=time.perf_counter() - started),
        provenance=provenance(problem, seed),
    )
