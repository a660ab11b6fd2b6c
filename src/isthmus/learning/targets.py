"""Target functions as objects: what they compute, where their inputs live, and samples of both.

Theory targets live on padded inputs: norm 1 and last coordinate 1/2, which supplies the bias.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus.learning.series import PowerSeries, polynomial
from isthmus.linops.random import gaussian, rademacher

DTYPE = torch.float64
SQUARE, BENT = polynomial([0, 0, 1], "square"), polynomial([0, 1, 1], "z + z^2")


class Target(ABC):
    """A function to learn, ``(n, d) -> (n, k)``, with the distribution of its inputs."""

    @abstractmethod
    def inputs(self, count: int, seed: Seed) -> Tensor:
        """Independent inputs, ``(n, d)``, float64."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """The function, ``(n, k)``."""

    def sample(self, count: int, seed: Seed | int) -> tuple[Tensor, Tensor]:
        """`count` inputs and their noiseless targets.

        Raises:
            InputError: fewer than one sample.
        """
        if count < 1:
            raise InputError(f"At least one sample is needed, found {count}.")
        x = self.inputs(count, as_seed(seed))
        return x, self(x)


def sphere(count: int, dimension: int, seed: Seed) -> Tensor:
    """Gaussian vectors scaled to norm 1."""
    drawn = gaussian((count, dimension), seed, DTYPE)
    return drawn / drawn.norm(dim=1, keepdim=True)


def padded(x: Tensor, bound: float) -> Tensor:
    """``(s x, sqrt(3/4 - s^2 |x|^2), 1/2)`` with ``s = sqrt(3) / (2 bound)``: norm 1, last coordinate 1/2.

    Args:
        x: raw inputs ``(n, q)``.
        bound: at least the largest norm.

    Returns:
        ``(n, q + 2)``.

    Raises:
        InputError: an input is longer than the bound.
    """
    norms = x.norm(dim=1)
    if float(norms.max()) > bound * (1 + 1e-12):
        raise InputError(f"The bound {bound:g} is below the largest input norm {float(norms.max()):g}; pass at least that.")
    scale = math.sqrt(3) / (2 * bound)
    free = (0.75 - (scale * norms).square()).clamp_min(0).sqrt()
    return torch.cat([scale * x, free[:, None], torch.full_like(free, 0.5)[:, None]], dim=1)


@dataclass(frozen=True)
class Composite(Target):
    """The two targets of the experiments, on 4 normalized Gaussian coordinates.

    ``sincos``: ``(sin 3x1 + sin 3x2 + sin 3x3 - 2)^2 cos 7x4``; ``tanh``: ``(tanh 8x1 + tanh 8x2 + tanh 8x3 - 2)^2 tanh 8x4``.
    Variance about 31.0 and 76.4.
    """

    name: str = "sincos"

    def __post_init__(self) -> None:
        if self.name not in ("sincos", "tanh"):
            raise InputError(f"The composite targets are 'sincos' and 'tanh', found {self.name!r}.")

    def inputs(self, count: int, seed: Seed) -> Tensor:
        """Points on the sphere in 4 dimensions."""
        return sphere(count, 4, seed)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, 1)``."""
        inner = torch.sin(3 * x[:, :3]) if self.name == "sincos" else torch.tanh(8 * x[:, :3])
        outer = torch.cos(7 * x[:, 3]) if self.name == "sincos" else torch.tanh(8 * x[:, 3])
        return ((inner.sum(1) - 2).square() * outer)[:, None]


@dataclass(frozen=True)
class TwoLayerTeacher(Target):
    """``f_r(x) = sum_{i<=p} a_ri phi(<w1_i, x>) <w2_i, x>`` with unit w and ``|a| <= 1``, drawn from a seed.

    Attributes:
        dimension: d >= 3 of the padded inputs.
        units: p.
        outputs: k.
        activation: phi, as a series (the square by default).
        seed: names the weights.
    """

    dimension: int = 6
    units: int = 3
    outputs: int = 1
    activation: PowerSeries = SQUARE
    seed: int = 0

    @cached_property
    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """``w1 (p, d)``, ``w2 (p, d)``, ``a (k, p)``."""
        seed = Seed(self.seed).child("two-layer teacher")
        one, two = (sphere(self.units, self.dimension, seed.child(name)) for name in ("w1", "w2"))
        return one, two, _coefficients((self.outputs, self.units), seed.child("a"))

    def inputs(self, count: int, seed: Seed) -> Tensor:
        """Points of a sphere, padded: norm 1, last coordinate 1/2."""
        return _padded_sphere(count, self.dimension, seed)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, k)``."""
        one, two, a = self.weights
        return (_apply(self.activation, x @ one.T) * (x @ two.T)) @ a.T


@dataclass(frozen=True)
class ThreeLayerTeacher(Target):
    """``f_r(x) = sum_{i<=p1} a_ri Phi(sum_j v1_ij phi(<w1_j, x>)) (sum_j v2_ij phi(<w2_j, x>))``, unit w and v, ``|a| <= 1``.

    Attributes:
        dimension: d >= 3 of the padded inputs.
        units: p1, p2.
        outputs: k.
        outer: Phi.
        inner: phi.
        seed: names the weights.
    """

    dimension: int = 6
    units: tuple[int, int] = (2, 3)
    outputs: int = 1
    outer: PowerSeries = SQUARE
    inner: PowerSeries = BENT
    seed: int = 0

    @cached_property
    def weights(self) -> tuple[Tensor, ...]:
        """``w1, w2 (p2, d)``, ``v1, v2 (p1, p2)``, ``a (k, p1)``."""
        seed, (p1, p2) = Seed(self.seed).child("three-layer teacher"), self.units
        w = [sphere(p2, self.dimension, seed.child(name)) for name in ("w1", "w2")]
        v = [sphere(p1, p2, seed.child(name)) for name in ("v1", "v2")]
        return (*w, *v, _coefficients((self.outputs, p1), seed.child("a")))

    def inputs(self, count: int, seed: Seed) -> Tensor:
        """Points of a sphere, padded: norm 1, last coordinate 1/2."""
        return _padded_sphere(count, self.dimension, seed)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, k)``."""
        w1, w2, v1, v2, a = self.weights
        composite = _apply(self.outer, _apply(self.inner, x @ w1.T) @ v1.T)
        return (composite * (_apply(self.inner, x @ w2.T) @ v2.T)) @ a.T


@dataclass(frozen=True)
class ParityHierarchy(Target):
    """``F + alpha G(F)`` on ``{+-1}^d``: ``F = (x1 x2, x3 x4, ...)``, ``G_i(y) = (-1)^i y1 y2 y3 y4``; k = d / 2 outputs.

    A learner that gets F but not the composite part has mean squared error ``k alpha^2``, summed over outputs.

    Attributes:
        dimension: d, even, at least 8.
        alpha: weight of the composite part.
    """

    dimension: int = 30
    alpha: float = 0.3

    def inputs(self, count: int, seed: Seed) -> Tensor:
        """Independent signs."""
        return rademacher((count, self.dimension), seed, DTYPE)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, d / 2)``."""
        pairs = x[:, ::2] * x[:, 1::2]
        signs = (-1.0) ** torch.arange(1, pairs.shape[1] + 1, dtype=x.dtype)
        return pairs + self.alpha * signs * pairs[:, :4].prod(1, keepdim=True)


@dataclass(frozen=True)
class BooleanFunction(Target):
    """A sum of monomials on ``{+-1}^d``; `isthmus.learning.leap.leap` of its support says how hard it is.

    Attributes:
        support: coordinates of each monomial.
        dimension: d.
    """

    support: Sequence[Sequence[int]]
    dimension: int = 20

    @classmethod
    def staircase(cls, height: int, dimension: int = 20) -> "BooleanFunction":
        """``x0 + x0 x1 + ... + x0 ... x_{height-1}``, leap 1."""
        return cls([list(range(top)) for top in range(1, height + 1)], dimension)

    def inputs(self, count: int, seed: Seed) -> Tensor:
        """Independent signs."""
        return rademacher((count, self.dimension), seed, DTYPE)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, 1)``."""
        return torch.stack([x[:, list(monomial)].prod(1) for monomial in self.support]).sum(0)[:, None]


@dataclass(frozen=True)
class SpikedCovariates(Target):
    """A quadratic in a few coordinates of large variance among many of unit variance.

    ``x = (snr^(1/2) z_signal, z_noise)``, ``y = sum_i (z_i^2 - 1) / sqrt(2 s) + sum_i z_i z_{i+1} / sqrt(s)`` over the signal: the
    gap between kernels and networks closes as the variance of the signal grows.

    Attributes:
        dimension: d.
        signal: s, coordinates that matter.
        snr: their variance.
    """

    dimension: int = 30
    signal: int = 3
    snr: float = 1.0

    def inputs(self, count: int, seed: Seed) -> Tensor:
        """Gaussian, with the first coordinates stretched."""
        x = gaussian((count, self.dimension), seed, DTYPE)
        x[:, : self.signal] *= math.sqrt(self.snr)
        return x

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, 1)``."""
        z = x[:, : self.signal] / math.sqrt(self.snr)
        cross = sum((z[:, i] * z[:, j] for i, j in pairwise(range(self.signal))), torch.zeros(len(x), dtype=x.dtype))
        return ((z.square() - 1).sum(1) / math.sqrt(2 * self.signal) + cross / math.sqrt(self.signal))[:, None]


@dataclass(frozen=True)
class QuadraticHierarchy(Target):
    """``y = sum_l alpha^(l-1) mean_i S_l,i`` with ``S_l = (W_l S_{l-1})^2 - 1``, ``S_0 = x`` Gaussian: quadratics of quadratics.

    The kind of hierarchy for which layers above correct the features below (Allen-Zhu and Li 2020, abstract); the form is chosen
    here. Level l has degree 2^l; rows of W_l have norm 1, so that level 1 has mean 0.

    Attributes:
        dimension: d.
        units: of every level.
        levels: L, at least 1.
        alpha: how much less each level weighs than the one below.
        seed: names the weights.
    """

    dimension: int = 10
    units: int = 3
    levels: int = 2
    alpha: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.levels < 1 or self.units < 1:
            raise InputError(f"A hierarchy needs at least one level and one unit, found {self.levels} and {self.units}.")

    @cached_property
    def weights(self) -> tuple[Tensor, ...]:
        """``W_1 (units, d)``, then ``(units, units)``."""
        sizes = [self.dimension, *[self.units] * (self.levels - 1)]
        seed = Seed(self.seed).child("quadratic hierarchy")
        return tuple(sphere(self.units, size, seed.child(level)) for level, size in enumerate(sizes))

    def inputs(self, count: int, seed: Seed) -> Tensor:
        """Standard Gaussian."""
        return gaussian((count, self.dimension), seed, DTYPE)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, 1)``."""
        total = torch.zeros(len(x), dtype=x.dtype)
        for level, matrix in enumerate(self.weights):
            x = (x @ matrix.T).square() - 1
            total = total + self.alpha**level * x.mean(1)
        return total[:, None]


@dataclass(frozen=True)
class LinearTarget(Target):
    """``<u, x>`` on the sphere: within reach of every kernel; the control of claims about networks.

    Attributes:
        dimension: d.
        seed: names u.
    """

    dimension: int = 4
    seed: int = 0

    def inputs(self, count: int, seed: Seed) -> Tensor:
        """Points on the sphere."""
        return sphere(count, self.dimension, seed)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, 1)``."""
        return x @ sphere(1, self.dimension, Seed(self.seed).child("linear target")).T


@dataclass(frozen=True)
class Standardized(Target):
    """Another target, shifted to mean 0 and scaled to a given standard deviation (estimated on 4000 of its samples).

    Attributes:
        inner: the target.
        std: of the outputs; about that of the composite target by default, so that one learning rate serves all.
    """

    inner: Target
    std: float = 5.0

    def inputs(self, count: int, seed: Seed) -> Tensor:
        """Those of the inner target."""
        return self.inner.inputs(count, seed)

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        _, y = self.inner.sample(4000, Seed(0).child("standardized"))
        return y.mean(0), y.std()

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, k)``."""
        mean, spread = self._moments
        return self.std * (self.inner(x) - mean) / spread


TARGETS: dict[str, Target] = {
    "sincos": Composite("sincos"),
    "tanh": Composite("tanh"),
    "two-layer": TwoLayerTeacher(),
    "three-layer": ThreeLayerTeacher(),
    "parity": ParityHierarchy(),
    "staircase": BooleanFunction.staircase(4),
    "leap": BooleanFunction([[0], [0, 1, 2]]),
    "spiked": SpikedCovariates(),
    "hierarchy": QuadraticHierarchy(),
    "linear": LinearTarget(),
}


def _padded_sphere(count: int, dimension: int, seed: Seed) -> Tensor:
    """Raw inputs fill the ball's shell between 1/2 and 1, so that the free coordinate moves too."""
    if dimension < 3:
        raise InputError(f"Padded inputs need dimension 3 at least (two coordinates are padding), found {dimension}.")
    radii = torch.from_numpy(seed.child("radius").numpy().uniform(0.5, 1.0, size=(count, 1)))
    return padded(radii * sphere(count, dimension - 2, seed), 1.0)


def _coefficients(shape: tuple[int, int], seed: Seed) -> Tensor:
    return torch.from_numpy(seed.numpy().uniform(-1, 1, size=shape))


def _apply(series: PowerSeries, values: Tensor) -> Tensor:
    return torch.from_numpy(series.function(values.cpu().numpy())).to(values)
