"""Extreme eigenpairs of a symmetric operator by thick-restart Lanczos that stops by the true residual."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError, NumericalError
from isthmus._core.numerics import machine_epsilon
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.linops.lanczos import orthogonalize
from isthmus.linops.operator import SymmetricOperator
from isthmus.linops.random import gaussian

_GROWTH = 10
_CONFIRM = 12
Which = Literal["LA", "SA", "LM"]


@dataclass(frozen=True)
class EigenResult:
    """Extreme eigenpairs.

    Attributes:
        values: the k eigenvalues asked for, best first, float64.
        vectors: unit columns, ``(p, k)``.
        residuals: ``|A v - lambda v|``, recomputed with the operator at the end.
        converged: residual within tolerance, per pair.
        matvecs: products spent.
        status: CONVERGED or MAX_STEPS.
    """

    values: np.ndarray
    vectors: Tensor
    residuals: np.ndarray
    converged: np.ndarray
    matvecs: int
    status: Status


def top_eigenpairs(
    operator: SymmetricOperator,
    k: int,
    *,
    rtol: float = 1e-3,
    max_steps: int | None = None,
    seed: Seed,
    which: Which = "LA",
) -> EigenResult:
    """The k algebraically largest (LA), smallest (SA) or largest-magnitude (LM) eigenpairs.

    Thick-restart Lanczos: the space grows to a few times k, is compressed to the best Ritz vectors, and grows again,
    until every wanted pair has ``|A v - lambda v| <= rtol * max |Ritz value|``. Then a fresh random direction grows the
    space by a dozen steps more: a Krylov space of one vector holds one vector of each eigenspace, and only a second
    start shows that an eigenvalue is repeated or was missed. If the wanted values move, the search goes on.

    Args:
        operator: symmetric, ``(p, p)``.
        k: how many pairs, at most p.
        rtol: tolerance on the residual, relative to the largest magnitude.
        max_steps: products allowed; ``20 k + 300`` (and always p when p is small) by default.
        seed: names the start vector.
        which: which end of the spectrum.

    Returns:
        The pairs; those that did not converge are flagged, never dropped.

    Raises:
        InputError: k is not in 1..p, or rtol is not positive.
        NumericalError: a product was not finite.
    """
    size = operator.shape[0]
    if not 1 <= k <= size:
        raise InputError(f"k = {k} eigenvalues were asked of a matrix of size {size}; k must lie in 1..{size}.")
    if rtol <= 0:
        raise InputError(f"rtol must be positive, found {rtol}.")
    before = operator.matvecs
    space = _Space(operator, min(size, max(4 * k + 40, 100)), seed)
    limit = max_steps if max_steps is not None else max(20 * k + 300, min(size + k, 1000))
    confirmed: np.ndarray | None = None
    while True:
        growth = _GROWTH if confirmed is None else _CONFIRM
        room = min(growth, space.capacity - space.filled, limit - (operator.matvecs - before))
        for _ in range(room):
            space.extend()
        order, values, weights = space.ritz(which)
        wanted = order[:k]
        floor = 4 * machine_epsilon(operator.dtype) * np.sqrt(size)
        goal = max(rtol, floor) * max(np.abs(values).max(initial=0.0), 1e-300)
        rest, residuals = space.remainders(wanted, values, weights)
        done = len(wanted) == k and bool((residuals <= goal).all())
        stable = done and confirmed is not None and bool(np.abs(values[wanted] - confirmed).max() <= 2 * goal)
        if stable or space.filled == size or operator.matvecs - before >= limit:
            return _finish(operator, space.vectors(wanted, weights), goal, k, before)
        confirmed = values[wanted] if done else None
        exhausted = space.next is None
        if space.filled + _GROWTH > space.capacity and space.capacity < size:
            space.compress(order[: 2 * k + 10], values, weights)
        if done:
            space.next = None
        elif not exhausted:
            space.aim(rest[int(residuals.argmax())])


class _Space:
    """An orthonormal basis Q (rows) with its images under A and ``Q A Q^T``, so that Rayleigh-Ritz is exact."""

    def __init__(self, operator: SymmetricOperator, capacity: int, seed: Seed) -> None:
        self.operator, self.capacity, self.seed = operator, capacity, seed
        shape = (capacity, operator.shape[0])
        self.basis = torch.empty(shape, dtype=operator.dtype, device=operator.device)
        self.images = torch.empty_like(self.basis)
        self.projected = torch.zeros(capacity, capacity, dtype=torch.float64)
        self.filled, self.draws = 0, 0
        self.next: Tensor | None = None

    def extend(self) -> None:
        """Add one direction, multiply it, and prepare the following one."""
        direction = self.next if self.next is not None else self._fresh()
        image = self.operator @ direction
        if not bool(torch.isfinite(image).all()):
            raise NumericalError(Status.NOT_FINITE, "an operator product in the eigensolver")
        self.basis[self.filled], self.images[self.filled] = direction, image
        self.filled += 1
        products = self.basis[: self.filled] @ image
        row = products.double().cpu()
        self.projected[self.filled - 1, : self.filled] = self.projected[: self.filled, self.filled - 1] = row
        self.next = self._remainder(image, products)

    def ritz(self, which: Which) -> tuple[np.ndarray, np.ndarray, Tensor]:
        """Order (best first), Ritz values and their coefficients (columns)."""
        values, weights = torch.linalg.eigh(self.projected[: self.filled, : self.filled])
        numbers = values.numpy()
        rank = {"LA": -numbers, "SA": numbers, "LM": -np.abs(numbers)}[which]
        return np.argsort(rank, kind="stable"), numbers, weights

    def remainders(self, chosen: np.ndarray, values: np.ndarray, weights: Tensor) -> tuple[Tensor, np.ndarray]:
        """``A v - lambda v`` of the chosen Ritz pairs as rows, and their norms."""
        mixing = self._mixing(chosen, weights)
        numbers = torch.from_numpy(values[chosen]).to(mixing)
        images, rows = mixing.T @ self.images[: self.filled], mixing.T @ self.basis[: self.filled]
        rest = images - numbers[:, None] * rows
        return rest, rest.double().norm(dim=1).cpu().numpy()

    def aim(self, remainder: Tensor) -> None:
        """Go on along this remainder. In a space grown from one start all remainders are parallel; later they are not."""
        rest = orthogonalize(remainder, self.basis[: self.filled])
        self.next = rest / rest.norm() if float(rest.norm()) > 0 else None

    def vectors(self, chosen: np.ndarray, weights: Tensor) -> Tensor:
        """The chosen Ritz vectors as unit columns, ``(p, k)``."""
        columns = self.basis[: self.filled].T @ self._mixing(chosen, weights)
        return columns / columns.norm(dim=0)

    def compress(self, kept: np.ndarray, values: np.ndarray, weights: Tensor) -> None:
        """Keep some Ritz vectors; the next direction stays the last remainder."""
        mixing, count = self._mixing(kept, weights), len(kept)
        rows, images = mixing.T @ self.basis[: self.filled], mixing.T @ self.images[: self.filled]
        self.basis[:count], self.images[:count] = rows, images
        self.projected.zero_()
        self.projected[:count, :count] = torch.diag(torch.from_numpy(values[kept]))
        self.filled = count

    def _mixing(self, chosen: np.ndarray, weights: Tensor) -> Tensor:
        return weights[:, torch.from_numpy(chosen.copy())].to(self.basis)

    def _remainder(self, image: Tensor, products: Tensor) -> Tensor | None:
        """The image minus its projection on the basis, normalized; None when nothing but rounding is left."""
        rows, size = self.basis[: self.filled], float(image.norm())
        rest = image - rows.T @ products
        rest = rest - rows.T @ (rows @ rest)
        length = float(rest.norm())
        return rest / length if length > 1e3 * machine_epsilon(self.operator.dtype) * size else None

    def _fresh(self) -> Tensor:
        self.draws += 1
        operator = self.operator
        drawn = gaussian((operator.shape[0],), self.seed.child("start", self.draws), operator.dtype, operator.device)
        rest = orthogonalize(drawn, self.basis[: self.filled])
        return rest / rest.norm()


def _finish(operator: SymmetricOperator, vectors: Tensor, goal: float, k: int, before: int) -> EigenResult:
    """Recompute values and residuals with the operator itself."""
    images = (operator @ vectors).double()
    found = (images * vectors.double()).sum(0)
    residuals = (images - found * vectors.double()).norm(dim=0).cpu().numpy()
    missing = k - vectors.shape[1]
    converged = np.concatenate([residuals <= goal, np.zeros(missing, dtype=bool)])
    return EigenResult(
        values=np.concatenate([found.cpu().numpy(), np.full(missing, np.nan)]),
        vectors=vectors,
        residuals=np.concatenate([residuals, np.full(missing, np.nan)]),
        converged=converged,
        matvecs=operator.matvecs - before,
        status=Status.CONVERGED if converged.all() else Status.MAX_STEPS,
    )
