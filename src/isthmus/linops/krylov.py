"""A Krylov space of a symmetric operator that keeps its own equation, through restarts and fresh starts."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import NumericalError
from isthmus._core.numerics import machine_epsilon
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.linops.allocation import uninitialized
from isthmus.linops.operator import SymmetricOperator
from isthmus.linops.random import gaussian, rademacher

_WATCHERS = 4


@dataclass
class _Tail:
    """What the image of some basis vectors has outside the space: ``vector`` (p,) times one weight for each basis vector."""

    vector: Tensor
    weights: np.ndarray
    length: float


class KrylovSpace:
    """Orthonormal rows Q with ``A Q^T = Q^T (T + C) + R W``: T the projected matrix, R the few directions that lead out of Q.

    A step multiplies one direction and takes off the components that T and W say are there: two in an ordinary Lanczos
    step, all of them in the first step after a restart, by symmetry of A. Rounding destroys orthogonality slowly, and
    only then is a vector orthogonalized against the whole basis (semi-orthogonality: T stays exact to rounding while
    ``|Q q| <= eps^(3/4)``; Simon 1984 shows it for ``eps^(1/2)``); C holds what was taken off, so that residuals stay
    exact. The loss is watched by the inner products of each new vector with four random signed sums of the basis, whose
    mean square is ``|Q q|^2``.

    Attributes:
        basis: rows, ``(capacity, p)``, the first `filled` of them in use.
        projected: T, ``(capacity, capacity)``, float64.
        filled: dimension of the space.
        scale: norm of the largest image seen.
        newest: where the newest start vector stands, -1 once a restart or another tail's steps have mixed it with others.
    """

    def __init__(self, operator: SymmetricOperator, capacity: int, seed: Seed) -> None:
        self.operator, self.capacity, self.seed = operator, capacity, seed
        like = torch.empty(0, dtype=operator.dtype, device=operator.device)
        self.basis = uninitialized((capacity, operator.shape[0]), like)
        self.projected = np.zeros((capacity, capacity))
        self.filled, self.draws, self.scale, self.newest = 0, 0, 0.0, 0
        self._epsilon = machine_epsilon(operator.dtype)
        self._tails: list[_Tail] = []
        self._signs = rademacher((_WATCHERS, capacity), seed.child("watch"), operator.dtype, operator.device)
        self._sums = torch.zeros(_WATCHERS, operator.shape[0], dtype=operator.dtype, device=operator.device)
        self._slips = np.zeros((capacity, capacity))
        self._again = False

    @property
    def exhausted(self) -> bool:
        """Whether no direction leads out of the space: it is invariant under A."""
        return not self._tails

    def start(self, vector: Tensor) -> None:
        """Add a direction of one's own (made orthogonal to the space) and multiply it."""
        self.newest = self.filled
        self._absorb(self._orthogonal(vector / vector.norm())[0])

    def start_at_random(self) -> None:
        """Add a random direction and multiply it: it sees eigenvectors to which earlier starts were blind."""
        self.draws += 1
        operator = self.operator
        self.start(gaussian((operator.shape[0],), self.seed.child("start", self.draws), operator.dtype, operator.device))

    def extend(self, along: int = -1) -> None:
        """Add the direction of one tail (the newest by default) and multiply it: one Lanczos step."""
        tail = self._tails.pop(along)
        length = tail.length
        direction = tail.vector / length
        old = along not in (-1, len(self._tails))
        self.newest = -1 if old else self.newest
        slipped = float((self._sums @ direction).square().mean().sqrt()) > self._epsilon**0.75
        if old or slipped or self._again:
            direction, left, taken = self._orthogonal(direction)
            self._slips[: self.filled, : self.filled] += np.outer(length * taken, tail.weights)
            length *= left
            self._again = slipped and not self._again
        self._absorb(direction, tail.weights * length)

    def ritz(self) -> tuple[np.ndarray, np.ndarray]:
        """Ritz values, ascending, and their coefficients as columns."""
        values, weights = np.linalg.eigh(self.projected[: self.filled, : self.filled])
        return values, weights

    def residuals(self, weights: np.ndarray) -> np.ndarray:
        """``|A v - lambda v|`` of Ritz vectors with these coefficients ``(filled, j)``, from ``|C s|`` and ``|R W s|``."""
        parts = self._outside(weights)
        gram = np.array([[_dot(a.vector, b.vector) for b in self._tails] for a in self._tails])
        squares = np.einsum("tj,tu,uj->j", parts, gram.reshape(len(parts), len(parts)), parts)
        slips = self._slips[: self.filled, : self.filled] @ weights
        return np.sqrt(np.maximum(squares, 0.0) + np.square(slips).sum(axis=0))

    def chance_of_blindness(self, places: np.ndarray) -> float:
        """How likely the newest random start is so blind to an eigenvector, at the worst of these places, as it may be here.

        An eigenvector u at x has ``(T - x) Q u = -W^T (R . u)``, which gives the shape of Qu for the steps from this start;
        ``|Qu|^2 + (u . r)^2 <= 1`` then bounds ``(u . q)^2`` for the start q by a number c (the Christoffel function of the
        steps). A start uniform on the sphere is so close to orthogonal to u with a probability of at most ``sqrt(2 p c / pi)``.
        """
        if self.newest < 0 or self.exhausted:
            return float(self.newest < 0)
        block = slice(self.newest, self.filled)
        values, weights = np.linalg.eigh(self.projected[block, block])
        gaps = values - np.asarray(places)[:, None]
        least = 1e-15 * self.scale
        parts = self._tails[-1].length * weights[-1] / np.where(np.abs(gaps) < least, least, gaps)
        shares = np.square(parts @ weights[0]) / (1 + np.square(parts).sum(axis=1))
        return float(np.sqrt(2 * self.operator.shape[0] / np.pi * shares.max(initial=0.0)))

    def leading_tail(self, weights: np.ndarray) -> int:
        """The tail that contributes most to the residual of one Ritz vector, ``(filled,)``."""
        sizes = [tail.length for tail in self._tails]
        return int(np.argmax(np.abs(self._outside(weights[:, None])[:, 0]) * sizes))

    def vectors(self, weights: np.ndarray) -> Tensor:
        """Vectors of the space with these coefficients, ``(filled,)`` or columns ``(filled, j)``."""
        return self.basis[: self.filled].T @ self._like(weights)

    def remainder(self, weights: np.ndarray) -> Tensor:
        """``Q^T C s + R W s`` for one coefficient vector ``(filled,)``: the image less ``Q^T T s``."""
        total = self.vectors(self._slips[: self.filled, : self.filled] @ weights)
        for tail, part in zip(self._tails, self._outside(weights[:, None])[:, 0], strict=True):
            total += float(part) * tail.vector
        return total

    def compress(self, values: np.ndarray, weights: np.ndarray) -> None:
        """Restart from these Ritz pairs (coefficients as columns): a thick restart, the equation is kept."""
        count = len(values)
        self.basis[:count] = self._like(weights).T @ self.basis[: self.filled]
        for tail in self._tails:
            tail.weights = tail.weights @ weights
        slips = weights.T @ self._slips[: self.filled, : self.filled] @ weights
        self.projected[:], self._slips[:] = 0.0, 0.0
        self._slips[:count, :count] = slips
        self.projected[range(count), range(count)] = values
        self.filled, self.newest = count, -1
        self._sums = self._signs[:, :count] @ self.basis[:count]

    def _absorb(self, direction: Tensor, known: np.ndarray | None = None) -> None:
        """Multiply a unit vector orthogonal to the space, and add it; `known` is its coupling by the tail it came from."""
        image, m = self.operator @ direction, self.filled
        size = float(image.norm())
        if not np.isfinite(size):
            raise NumericalError(Status.NOT_FINITE, "an operator product in the eigensolver")
        self.scale = max(self.scale, size)
        coupling = np.zeros(m) if known is None else known
        for tail in self._tails:
            part = _dot(tail.vector, direction)
            coupling = coupling + part * tail.weights
            tail.vector = tail.vector - part * direction
            tail.length = _norm(tail.vector)
            tail.weights = np.append(tail.weights, 0.0)
        own = _dot(image, direction)
        self.projected[m, :m] = self.projected[:m, m] = coupling
        self.projected[m, m] = own
        rest = self._without(image, coupling).sub_(direction, alpha=own)
        self.basis[m] = direction
        self._sums.addr_(self._signs[:, m], direction)
        self.filled += 1
        length = _norm(rest)
        if length > 1e3 * self._epsilon * self.scale and self.filled < self.operator.shape[0]:
            self._tails.append(_Tail(rest, np.eye(self.filled)[m], length))

    def _without(self, image: Tensor, coupling: np.ndarray) -> Tensor:
        """The image minus its components on the basis, which are known."""
        places = np.flatnonzero(coupling)
        if len(places) > 4:
            return image - self.basis[: self.filled].T @ self._like(coupling)
        rest = image.clone()
        for place in places:
            rest.sub_(self.basis[place], alpha=float(coupling[place]))
        return rest

    def _orthogonal(self, direction: Tensor) -> tuple[Tensor, float, np.ndarray]:
        """``q, a, b`` with ``direction = a q + Q^T b``, q a unit vector orthogonal to the whole basis."""
        rows, length, left = self.basis[: self.filled], 0.0, 1.0
        taken = torch.zeros(self.filled, dtype=torch.float64)
        while length < 0.7:
            parts = rows @ direction
            direction, taken = direction - rows.T @ parts, taken + left * parts.double().cpu()
            length = _norm(direction)
            direction, left = direction / length, left * length
        return direction, left, taken.numpy()

    def _outside(self, weights: np.ndarray) -> np.ndarray:
        """``W s``, ``(tails, j)``."""
        return np.array([tail.weights for tail in self._tails]).reshape(len(self._tails), self.filled) @ weights

    def _like(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(numbers)).to(self.basis)


def _norm(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64))


def _dot(one: Tensor, other: Tensor) -> float:
    return float((one * other).sum(dtype=torch.float64))
