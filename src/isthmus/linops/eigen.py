"""Extreme eigenpairs of a symmetric operator by thick-restart Lanczos that stops by residuals."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.numerics import machine_epsilon
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.linops.krylov import KrylovSpace
from isthmus.linops.operator import Operator, SymmetricOperator, as_symmetric
from isthmus.linops.random import rademacher

_STRIDE = 2
_CONFIRM = 8
_LOOSEST = 1e-3
_SURE = 1e-4
_PATIENCE = 16
_CHANCE = 0.01
_FLOOR = 32.0
Which = Literal["LA", "SA", "LM"]
Target = Literal["pairs", "values"]


@dataclass(frozen=True)
class EigenResult:
    """Extreme eigenpairs.

    Attributes:
        values: the k eigenvalues asked for, best first, float64.
        vectors: unit columns, ``(p, k)``.
        residuals: ``|A v - lambda v|`` up to rounding of A, checked by a product with the operator at the end.
        errors: bound on the error of each value: the residual r, or ``r^2 / gap`` where that is less; neither is told below the
            rounding of a product, ``eps |A|``.
        converged: residual (error, for ``target="values"``) within tolerance, per pair.
        matvecs: products spent.
        status: CONVERGED or MAX_STEPS.
    """

    values: np.ndarray
    vectors: Tensor
    residuals: np.ndarray
    errors: np.ndarray
    converged: np.ndarray
    matvecs: int
    status: Status


def top_eigenpairs(
    operator: Operator,
    k: int,
    *,
    rtol: float = 1e-3,
    target: Target = "pairs",
    max_steps: int | None = None,
    seed: Seed,
    which: Which = "LA",
) -> EigenResult:
    """The k algebraically largest (LA), smallest (SA) or largest-magnitude (LM) eigenpairs.

    Thick-restart Lanczos: the space grows to a few times k, is compressed to the best Ritz vectors, and grows again,
    until every wanted pair has ``r = |A v - lambda v| <= rtol * max |Ritz value|``; with ``target="values"`` until
    ``min(r, r^2 / gap)`` is (Kato and Temple), where the gap is the distance to the nearest end of any other
    ``[Ritz value - its r, Ritz value + its r]``: a bound if no eigenvalue hides in a gap that the space has not seen.

    Two precautions against eigenvalues that are missed. A start that hardly sees an eigenvector shows it late, so the
    search always goes to 1e-3, and on until a random start would hide an eigenvalue that is better than a wanted one (by
    rtol or 1e-3, relative) with a probability of at most 1 % (`KrylovSpace.chance_of_blindness`), until the residuals are
    at 1e-4, or for some sixteen steps. Then a fresh random direction grows the space: a Krylov space of one vector holds
    one vector of each eigenspace, and only a second start shows that an eigenvalue is repeated. It takes eight steps,
    fewer where these would hardly hide a copy. If the wanted values move, the search goes on.

    Args:
        operator: symmetric, ``(p, p)``: ours, or anything with ``shape``, ``dtype`` and ``@`` on torch or numpy vectors.
        k: how many pairs, at most p.
        rtol: tolerance relative to the largest magnitude; below 32 units of rounding it is taken as these.
        target: what must be within the tolerance, the pair (by its residual) or the value alone.
        max_steps: products allowed; ``20 k + 300`` (and always p when p is small) by default.
        seed: names the start vectors.
        which: which end of the spectrum.

    Returns:
        The pairs; those that did not converge are flagged, never dropped. Cost: products, and beside each some ``10 p``
        to ``4 s p`` flops for a space of dimension s; memory ``max(4 k + 40, 100) p`` numbers.

    Raises:
        InputError: k is not in 1..p, or rtol is not positive.
        NumericalError: a product was not finite.
    """
    operator = as_symmetric(operator)
    size = operator.shape[0]
    if not 1 <= k <= size:
        raise InputError(f"k = {k} eigenvalues were asked of a matrix of size {size}; k must lie in 1..{size}.")
    if rtol <= 0:
        raise InputError(f"rtol must be positive, found {rtol}.")
    limit = max_steps if max_steps is not None else max(20 * k + 300, min(size + k, 1000))
    search = _Search(operator, k, max(rtol, _FLOOR * machine_epsilon(operator.dtype)), target, which, limit, seed)
    return search.run()


@dataclass(frozen=True)
class _State:
    """Ritz pairs of a space, best first."""

    values: np.ndarray
    weights: np.ndarray
    residuals: np.ndarray
    errors: np.ndarray


class _Search:
    def __init__(
        self, operator: SymmetricOperator, k: int, rtol: float, target: Target, which: Which, limit: int, seed: Seed
    ) -> None:
        self.operator, self.k, self.rtol, self.target, self.which = operator, k, rtol, target, which
        self.size, self.before, self.limit, self.seed = operator.shape[0], operator.matvecs, limit, seed
        self.space, self.patience = KrylovSpace(operator, min(self.size, max(4 * k + 40, 100)), seed), _PATIENCE

    def run(self) -> EigenResult:
        """Grow, restart, confirm."""
        space, before, along = self.space, None, -1
        self._grow(self.k, along, fresh=True)
        while True:
            state = self._state()
            goal = self._goal(state)
            settled = before is not None and np.abs(state.values[: self.k] - before.values[: self.k]).max() <= 2 * goal
            if before is not None and settled:
                state = self._with_earlier_bounds(state, before)
            done = self._done(state, goal)
            if (done and settled) or space.filled == self.size or self._left() <= 0:
                return self._finish(state, goal)
            before = state if done else None
            if space.filled + (_CONFIRM if done else _STRIDE) > space.capacity and space.capacity < self.size:
                kept = min(2 * self.k + 10, len(state.values))
                space.compress(state.values[:kept], state.weights[:, :kept])
                state = self._state()
            if not (done or space.exhausted):
                worst = int(state.residuals[: self.k + 1].argmax())
                along = space.leading_tail(state.weights[:, worst])
            if done:
                self._look_afresh(state, goal)
            else:
                self._grow(_STRIDE, along, fresh=False)

    def _with_earlier_bounds(self, state: _State, before: _State) -> _State:
        """A fresh start moved no wanted value, and what it saw blurredly takes nothing from the bounds found before it."""
        k = self.k
        return replace(state, errors=np.r_[np.minimum(state.errors[:k], before.errors[:k]), state.errors[k:]])

    def _grow(self, steps: int, along: int, *, fresh: bool) -> None:
        """Some steps along a tail, or from a fresh start (also when no direction leads out of the space)."""
        space = self.space
        for step in range(min(steps, space.capacity - space.filled, self._left())):
            if space.exhausted or (fresh and step == 0):
                space.start_at_random()
            else:
                space.extend(along if step == 0 and not fresh else -1)

    def _look_afresh(self, state: _State, goal: float) -> None:
        """Steps from a fresh start: all of them, or until it would hardly hide a copy of a value that has a place to lose."""
        margin, values = self._margin(goal), state.values[: self.k]
        copies = values[np.abs(values - values[-1]) > margin]
        self._grow(1, -1, fresh=True)
        for _ in range(_CONFIRM - 1):
            if len(copies) and not self.space.exhausted and self.space.chance_of_blindness(copies) <= _CHANCE:
                return
            self._grow(1, -1, fresh=False)

    def _seen_enough(self, values: np.ndarray, goal: float) -> bool:
        """Whether the one start so far would hardly hide an eigenvalue that is better than a wanted one by the margin."""
        if self.space.newest != 0:
            return False
        margin = self._margin(goal)
        places = {
            "LA": values + margin,
            "SA": values - margin,
            "LM": np.r_[np.abs(values) + margin, -np.abs(values) - margin],
        }[self.which]
        apart = np.abs(places[:, None] - values).min(axis=1) >= 0.99 * margin
        return self.space.chance_of_blindness(places[apart]) <= _CHANCE

    def _margin(self, goal: float) -> float:
        """What counts as another value: further than the tolerance, or than 1e-3 where that is more."""
        return goal * max(1.0, _LOOSEST / self.rtol)

    def _left(self) -> int:
        return self.limit - (self.operator.matvecs - self.before)

    def _state(self) -> _State:
        values, weights = self.space.ritz()
        rank = {"LA": -values, "SA": values, "LM": -np.abs(values)}[self.which]
        order = np.argsort(rank, kind="stable")
        values, weights = values[order], weights[:, order]
        residuals = self.space.residuals(weights)
        return _State(values, weights, residuals, _value_errors(values, residuals))

    def _goal(self, state: _State) -> float:
        return self.rtol * max(float(np.abs(state.values).max(initial=0.0)), 1e-300)

    def _done(self, state: _State, goal: float) -> bool:
        """Within the tolerance (1e-3 at least), and sure, or out of patience."""
        k, values = self.k, state.values
        judged = state.residuals if self.target == "pairs" else state.errors
        if len(values) < k or not (judged[:k] <= min(1.0, _LOOSEST / self.rtol) * goal).all():
            return False
        sure = len(values) == k or self.space.exhausted or (state.residuals[:k] <= goal * _SURE / self.rtol).all()
        if not sure and self.patience > 0:
            self.patience = 0 if self._seen_enough(values[:k], goal) else self.patience - _STRIDE
            return self.patience == 0
        return True

    def _finish(self, state: _State, goal: float) -> EigenResult:
        """Check one random combination of the pairs with the operator itself; if it is off, every pair."""
        found = min(self.k, len(state.values))
        values, weights = state.values[:found], state.weights[:, :found]
        residuals, errors = state.residuals, state.errors
        vectors = self.space.vectors(weights)
        signs = rademacher((found,), self.seed.child("check"), torch.float64).numpy()
        mixed = vectors @ torch.from_numpy(signs).to(vectors)
        expected = vectors @ torch.from_numpy(values * signs).to(vectors) + self.space.remainder(weights @ signs)
        image = self.operator @ mixed
        slack = 8 * _FLOOR * machine_epsilon(self.operator.dtype) * self.space.scale + residuals[:found].max(initial=0.0) / 20
        if float((image - expected).double().norm()) > slack:
            true = self.operator @ vectors - vectors * torch.from_numpy(values).to(vectors)
            residuals = np.r_[true.double().norm(dim=0).cpu().numpy(), state.residuals[found:]]
            errors = _value_errors(state.values, residuals)
        return self._result(values, vectors / vectors.norm(dim=0), residuals[:found], errors[:found], goal)

    def _result(self, values: np.ndarray, vectors: Tensor, residuals: np.ndarray, errors: np.ndarray, goal: float) -> EigenResult:
        missing = np.full(self.k - len(values), np.nan)
        converged = np.r_[(residuals if self.target == "pairs" else errors) <= goal, missing == missing]
        rounding = machine_epsilon(self.operator.dtype) * max(self.space.scale, float(np.abs(values).max(initial=0.0)))
        return EigenResult(
            values=np.r_[values, missing],
            vectors=vectors,
            residuals=np.r_[np.maximum(residuals, rounding), missing],
            errors=np.r_[np.maximum(errors, rounding), missing],
            converged=converged,
            matvecs=self.operator.matvecs - self.before,
            status=Status.CONVERGED if converged.all() else Status.MAX_STEPS,
        )


def _value_errors(values: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """``min(r, r^2 / gap)``, the gap reaching to the nearest ``[value - r, value + r]`` of another Ritz pair."""
    gaps = np.abs(values[:, None] - values[None, :]) - residuals[None, :]
    np.fill_diagonal(gaps, np.inf)
    gap = np.maximum(gaps.min(axis=1, initial=np.inf), residuals)
    return np.where(residuals > 0, residuals * (residuals / np.maximum(gap, 1e-300)), 0.0)
