"""Optimizers that are closed in function space: each acts on every mode of a linearized network alone.

A method is one update rule, written once, and applied to whatever has a gradient: the modes of a kernel, the outputs of a
network, the weights. Every rule is linear in the gradient, so that on one mode with eigenvalue ``lambda`` (gradient
``lambda z``) it is a small constant matrix in ``x = lr * lambda``: its spectral radius is the rate, and the largest x
with radius below one is the stability limit.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from isthmus._core.errors import InputError

Gradient = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A linear update rule.

    Attributes:
        lr: step size, multiplying the gradient of the loss that was given.
    """

    lr: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InputError(f"A step size is positive and finite, found lr={self.lr}.")

    @property
    @abstractmethod
    def words(self) -> str:
        """Name and settings."""

    @abstractmethod
    def iterate(self, gradient: Gradient, start: np.ndarray) -> Iterator[np.ndarray]:
        """The points after steps 1, 2, ... without end; the start is left alone."""

    @abstractmethod
    def matrix(self, x: np.ndarray) -> np.ndarray:
        """The asymptotic update of one mode's state, ``(..., s, s)`` for x of any shape."""

    @abstractmethod
    def limit(self) -> float:
        """The largest ``x = lr * lambda`` below which every mode converges."""

    def rate(self, x: np.ndarray) -> np.ndarray:
        """Asymptotic factor per step of modes at ``x = lr * lambda``: the spectral radius of `matrix`."""
        return np.abs(np.linalg.eigvals(self.matrix(np.asarray(x, dtype=np.float64)))).max(axis=-1)

    @property
    def decay(self) -> float:
        """Coupled weight decay, 0 for none."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class TorchSgd(Method):
    """``torch.optim.SGD`` to the letter: gradient descent, heavy ball and Nesterov, at constant settings or scheduled.

    ``g = grad + weight_decay * w``; the buffer is made (``buf = g``, without dampening) in the first step whose momentum is not
    zero and is afterwards ``buf = momentum * buf + (1 - dampening) * g``; the step is ``w -= lr * buf``, or with `nesterov`
    ``w -= lr * (g + momentum * buf)``. A step with momentum zero neither makes nor changes the buffer. The points are those
    that torch holds (with `nesterov` the look-ahead points).

    Attributes:
        momentum: beta.
        dampening: of the gradient in the buffer.
        nesterov: look-ahead form.
        weight_decay: coupled (L2) decay.
        schedule: ``(lr, momentum)`` in force in step 1, 2, ..., the last one from there on; constant when left out.
    """

    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: tuple[tuple[float, float], ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.momentum < 0 or self.weight_decay < 0:
            raise InputError(f"Momentum and weight decay are not negative, found {self.momentum} and {self.weight_decay}.")
        if self.nesterov and self.dampening:
            raise InputError("Nesterov momentum needs dampening 0, as in torch.")

    @property
    def words(self) -> str:
        """Name and settings."""
        plain = ("Nesterov" if self.nesterov else "heavy ball") if self.momentum or self.schedule else "gradient descent"
        parts = [f"lr {self.lr:.4g}"] if self.schedule is None else ["scheduled"]
        parts += [f"momentum {self.momentum:.4g}"] if self.momentum and self.schedule is None else []
        parts += [f"{name} {value:g}" for name in ("dampening", "weight_decay") if (value := getattr(self, name))]
        return f"{plain} ({', '.join(parts)})"

    @property
    def decay(self) -> float:
        """Coupled weight decay."""
        return self.weight_decay

    def setting(self, step: int) -> tuple[float, float]:
        """``(lr, momentum)`` in force in step 1, 2, ..."""
        return (self.lr, self.momentum) if self.schedule is None else self.schedule[min(step, len(self.schedule)) - 1]

    def iterate(self, gradient: Gradient, start: np.ndarray) -> Iterator[np.ndarray]:
        """The points that torch would hold."""
        point, buffer = np.array(start, dtype=np.float64), None
        for step in count(1):
            lr, momentum = self.setting(step)
            slope = gradient(point)
            if self.weight_decay:
                slope = slope + self.weight_decay * point
            if momentum:
                if buffer is None:
                    buffer = np.array(slope)
                else:
                    buffer *= momentum
                    buffer += slope if not self.dampening else (1 - self.dampening) * slope
                slope = slope + momentum * buffer if self.nesterov else buffer
            point = point - lr * slope
            yield point

    def matrix(self, x: np.ndarray) -> np.ndarray:
        """On ``(z, lr * buf)``; x includes the weight decay, ``x = lr (lambda + wd)``."""
        x, b, fresh = np.asarray(x, dtype=np.float64), self.momentum, 1 - self.dampening
        if not b:
            return (1 - x)[..., None, None]
        rows = np.empty((*x.shape, 2, 2))
        rows[..., 1, 0], rows[..., 1, 1] = fresh * x, b
        if self.nesterov:
            rows[..., 0, 0], rows[..., 0, 1] = 1 - x - b * x, -b * b
        else:
            rows[..., 0, 0], rows[..., 0, 1] = 1 - fresh * x, -b
        return rows

    def limit(self) -> float:
        """``2 (1 + beta) / (1 - dampening)``; ``2 (1 + beta) / (1 + 2 beta)`` for Nesterov."""
        if self.nesterov:
            return 2 * (1 + self.momentum) / (1 + 2 * self.momentum)
        return 2 * (1 + self.momentum) / (1 - self.dampening) if self.dampening < 1 else math.inf


@dataclass(frozen=True, kw_only=True)
class CanonicalNesterov(Method):
    """Nesterov's method with ``beta_k = (k - 1) / (k + d - 1)`` in step k, in its two-sequence form.

    ``z_k = (1 - x) [(1 + beta_k) z_{k-1} - beta_k z_{k-2}]`` per mode, ``z_1 = (1 - x) z_0`` (the look-ahead points). Resetting
    the momentum of `torch.optim.SGD` before each step is another recursion from z_3 on: `ScheduledNesterov`.

    Attributes:
        d: schedule parameter; 3 is Su, Boyd, Candes.
    """

    d: float = 3.0

    @property
    def words(self) -> str:
        """Name and settings."""
        return f"Nesterov, canonical schedule d = {self.d:g} (lr {self.lr:.4g})"

    def iterate(self, gradient: Gradient, start: np.ndarray) -> Iterator[np.ndarray]:
        """The look-ahead points."""
        point, old = np.array(start, dtype=np.float64), np.zeros(())
        for step in count(1):
            beta = (step - 1) / (step + self.d - 1)
            ahead = point - self.lr * gradient(point)
            point, old = (ahead + beta * (ahead - old) if step > 1 else ahead), ahead
            yield point

    def matrix(self, x: np.ndarray) -> np.ndarray:
        """The limit beta -> 1."""
        return TorchSgd(lr=self.lr, momentum=1.0, nesterov=True).matrix(x)

    def limit(self) -> float:
        """4/3, towards which the limit falls as beta_k -> 1."""
        return 4 / 3


@dataclass(frozen=True, kw_only=True)
class QuasiHyperbolic(Method):
    """``m = beta m + (1 - beta) g`` from 0; ``w -= lr [(1 - nu) g + nu m]``. ``nu = 1`` is momentum by moving average.

    ``nu = beta`` at ``lr / (1 - beta)`` is torch's Nesterov; ``nu = 0`` is gradient descent.

    Attributes:
        nu: share of the average in the step, 0 to 1.
        beta: of the average, 0 to 1 (exclusive).
    """

    nu: float
    beta: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.nu <= 1 and 0 <= self.beta < 1):
            raise InputError(f"Quasi-hyperbolic momentum needs 0 <= nu <= 1 and 0 <= beta < 1, found {self.nu} and {self.beta}.")

    @property
    def words(self) -> str:
        """Name and settings."""
        if self.nu == 1:
            return f"momentum by moving average (lr {self.lr:.4g}, beta {self.beta:.4g})"
        return f"quasi-hyperbolic (lr {self.lr:.4g}, nu {self.nu:.4g}, beta {self.beta:.4g})"

    def iterate(self, gradient: Gradient, start: np.ndarray) -> Iterator[np.ndarray]:
        """The points w."""
        point = np.array(start, dtype=np.float64)
        mean = np.zeros_like(point)
        while True:
            slope = gradient(point)
            mean = self.beta * mean + (1 - self.beta) * slope
            point = point - self.lr * ((1 - self.nu) * slope + self.nu * mean)
            yield point

    def matrix(self, x: np.ndarray) -> np.ndarray:
        """On ``(z, lr * m)``."""
        x, nu, beta = np.asarray(x, dtype=np.float64), self.nu, self.beta
        rows = np.empty((*x.shape, 2, 2))
        rows[..., 0, 0], rows[..., 0, 1] = 1 - x * (1 - nu) - nu * (1 - beta) * x, -nu * beta
        rows[..., 1, 0], rows[..., 1, 1] = (1 - beta) * x, beta
        return rows

    def limit(self) -> float:
        """``2 (1 + beta) / (1 + beta - 2 nu beta)``."""
        return 2 * (1 + self.beta) / (1 + self.beta - 2 * self.nu * self.beta)


@dataclass(frozen=True, kw_only=True)
class TwoMomentum(Method):
    """``dw_{k+1} = beta1 dw_k + beta2 dw_{k-1} - lr g``, from rest.

    Attributes:
        beta1: on the last displacement.
        beta2: on the one before.
    """

    beta1: float
    beta2: float

    @property
    def frictionless(self) -> bool:
        """Whether ``beta1 + beta2 >= 1``: nothing damps a mode whose eigenvalue is small."""
        return self.beta1 + self.beta2 >= 1 - 1e-12

    @property
    def words(self) -> str:
        """Name and settings."""
        return f"two momenta (lr {self.lr:.4g}, beta {self.beta1:.4g} and {self.beta2:.4g})"

    def iterate(self, gradient: Gradient, start: np.ndarray) -> Iterator[np.ndarray]:
        """The points w."""
        point = np.array(start, dtype=np.float64)
        last, before = np.zeros_like(point), np.zeros_like(point)
        while True:
            last, before = self.beta1 * last + self.beta2 * before - self.lr * gradient(point), last
            point = point + last
            yield point

    def matrix(self, x: np.ndarray) -> np.ndarray:
        """On ``(z, dz, dz of the step before)``; roots of ``(r - 1)(r^2 - beta1 r - beta2) + x r^2``."""
        x = np.asarray(x, dtype=np.float64)
        rows = np.zeros((*x.shape, 3, 3))
        rows[..., 0, 0], rows[..., 0, 1], rows[..., 0, 2] = 1 - x, self.beta1, self.beta2
        rows[..., 1, 0], rows[..., 1, 1], rows[..., 1, 2] = -x, self.beta1, self.beta2
        rows[..., 2, 1] = 1.0
        return rows

    def limit(self) -> float:
        """``2 (1 + beta1 - beta2)``, for ``beta1 + beta2 <= 1``; 0 above, where small eigenvalues run away."""
        return 2 * (1 + self.beta1 - self.beta2) if self.beta1 + self.beta2 <= 1 + 1e-12 else 0.0


@dataclass(frozen=True, kw_only=True)
class ScheduledNesterov(TorchSgd):
    """``torch.optim.SGD(nesterov=True)`` whose momentum is set to ``(k - 1) / (k + d - 1)`` before step k = 1, 2, ...

    Because torch's buffer was made at another momentum, this is not `CanonicalNesterov` from the third step on.

    Attributes:
        d: schedule parameter, positive.
    """

    d: float = 3.0
    momentum: float = 1.0
    nesterov: bool = True

    @property
    def words(self) -> str:
        """Name and settings."""
        return f"Nesterov in torch, schedule d = {self.d:g} (lr {self.lr:.4g})"

    def setting(self, step: int) -> tuple[float, float]:
        """``(lr, (k - 1) / (k + d - 1))``."""
        return self.lr, (step - 1) / (step + self.d - 1)
