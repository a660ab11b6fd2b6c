"""Kernel learners: fixed at the start, solved exactly, ridge by KARE."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.distance import cdist, pdist
from torch import nn

from isthmus._core.seeds import Seed
from isthmus.kernel import KernelFit, KernelSpectrum, empirical_ntk
from isthmus.kernel.infinite_width import InfiniteWidth
from isthmus.learning.learners import TRAINS, Fitted, Learner, NetworkFunction, Trains
from isthmus.model.network import Network
from isthmus.model.zoo import relu_net

_FEW_FOR_BANDWIDTH = 500
_RIDGES = np.logspace(-11, 4, 61)  # of trace K / n^2: down to rounding, for noiseless targets of a smooth kernel ask for it
_RIDGE = "exact kernel ridge regression, ridge by KARE on the training samples"
Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class TangentRows:
    """Rows of the tangent kernel between new inputs and the training inputs, summed over outputs."""

    network: Network
    inputs: np.ndarray

    def __call__(self, new: np.ndarray) -> np.ndarray:
        """``(m, n)``."""
        x, z = (torch.from_numpy(np.array(points, dtype=np.float64)) for points in (self.inputs, new))
        return empirical_ntk(self.network, z, x, outputs="trace", verify=False).matrix


@dataclass(frozen=True)
class FeatureRows:
    """Inner products of features of new inputs with those of the training inputs."""

    features: Function
    rows: np.ndarray

    def __call__(self, new: np.ndarray) -> np.ndarray:
        """``(m, n)``."""
        return self.features(new) @ self.rows.T


@dataclass(frozen=True)
class ClosedRows:
    """A closed-form kernel between new inputs and the training inputs."""

    kernel: Callable[[np.ndarray, np.ndarray], np.ndarray]
    inputs: np.ndarray

    def __call__(self, new: np.ndarray) -> np.ndarray:
        """``(m, n)``."""
        return self.kernel(new, self.inputs)


@dataclass(frozen=True)
class HiddenFeatures:
    """A network's last hidden features, and a constant."""

    body: NetworkFunction

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """``(n, width + 1)``."""
        return np.concatenate([self.body(inputs), np.ones((len(inputs), 1))], axis=1)


@dataclass(frozen=True)
class FourierFeatures:
    """``sqrt(2 / D) cos(w . x + b)``."""

    weights: np.ndarray
    phases: np.ndarray

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """``(n, D)``."""
        return np.cos(inputs @ self.weights + self.phases) * np.sqrt(2 / len(self.phases))


@dataclass(frozen=True)
class GaussianKernel:
    """``exp(-|x - x'|^2 / (2 width^2))``."""

    width: float

    def __call__(self, inputs: np.ndarray, others: np.ndarray) -> np.ndarray:
        """``(n, m)``."""
        return np.exp(-cdist(inputs, others, "sqeuclidean") / (2 * self.width**2))


@dataclass(frozen=True)
class LinearKernel:
    """``<x, x'> + 1``: the linear model with an intercept, of which every learner should be better on a nonlinear target."""

    def __call__(self, inputs: np.ndarray, others: np.ndarray) -> np.ndarray:
        """``(n, m)``."""
        return inputs @ others.T + 1


@dataclass(frozen=True)
class KernelFunction:
    """``start(x) + K(x, X) a + offset``."""

    rows: Function
    fit: KernelFit
    offset: np.ndarray
    start: Function | None

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Predictions ``(n, k)``."""
        values = self.fit.predict(self.rows(inputs)) + self.offset
        return values if self.start is None else values + self.start(inputs)


@dataclass(frozen=True)
class TangentKernelLearner(Learner):
    """Ridge regression with the empirical tangent kernel of a network at its start, around the network's output there.

    Attributes:
        depth: weight layers.
        width: of the hidden layers.
        trains: which parameters the kernel belongs to.
    """

    depth: int = 3
    width: int = 100
    trains: Trains = "hidden"

    @property
    def name(self) -> str:
        """As ``3-layer tangent kernel``."""
        return f"{self.depth}-layer tangent kernel"

    @property
    def words(self) -> str:
        """In words."""
        return (
            f"tangent kernel of {TRAINS[self.trains]} of a {self.depth}-layer network at its start, width {self.width}; {_RIDGE}"
        )

    def fit(
        self, inputs: np.ndarray, targets: np.ndarray, *, seed: Seed, oracle: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Fitted:
        """Ridge regression of ``y - f_0``; for several outputs with the kernel summed over them."""
        module = relu_net(inputs.shape[1], self.width, targets.shape[1], self.depth, trains=self.trains, seed=seed.child("init"))
        network = Network(module, dtype=torch.float64)
        gram = empirical_ntk(network, torch.from_numpy(np.array(inputs, dtype=np.float64)), outputs="trace").matrix
        rows = TangentRows(network, inputs)
        start = NetworkFunction(network)
        return _ridge(gram, rows, targets - start(inputs), oracle, features=network.size, start=start)


@dataclass(frozen=True)
class ConjugateKernelLearner(Learner):
    """Ridge regression on the last hidden features of a network at its start, with a constant: only the last layer trains.

    Attributes:
        depth: weight layers.
        width: of the hidden layers.
    """

    depth: int = 3
    width: int = 100

    @property
    def name(self) -> str:
        """As ``3-layer last layer``."""
        return f"{self.depth}-layer last layer"

    @property
    def words(self) -> str:
        """In words."""
        return f"conjugate kernel: the output layer of a {self.depth}-layer network at its start, width {self.width}; {_RIDGE}"

    def fit(
        self, inputs: np.ndarray, targets: np.ndarray, *, seed: Seed, oracle: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Fitted:
        """Ridge regression on ``(features, 1)``."""
        module = relu_net(inputs.shape[1], self.width, 1, self.depth, seed=seed.child("init")).double()
        features = HiddenFeatures(NetworkFunction(Network(nn.Sequential(*list(module.children())[:-1]))))
        rows = features(inputs)
        return _ridge(rows @ rows.T, FeatureRows(features, rows), targets, oracle, features=rows.shape[1])


@dataclass(frozen=True)
class RandomFeatureLearner(Learner):
    """Ridge regression on random Fourier features ``cos(w . x + b)`` of the Gaussian kernel.

    Attributes:
        features: how many.
    """

    features: int = 1000

    @property
    def name(self) -> str:
        """Short name."""
        return "random features"

    @property
    def words(self) -> str:
        """In words."""
        return f"{self.features} random Fourier features, bandwidth: median distance; {_RIDGE}"

    def fit(
        self, inputs: np.ndarray, targets: np.ndarray, *, seed: Seed, oracle: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Fitted:
        """Ridge regression on the features."""
        generator = seed.child("features").numpy()
        weights = generator.normal(size=(inputs.shape[1], self.features)) / _median_distance(inputs, seed)
        features = FourierFeatures(weights, generator.uniform(0, 2 * np.pi, size=self.features))
        rows = features(inputs)
        return _ridge(rows @ rows.T, FeatureRows(features, rows), targets, oracle, features=rows.shape[1])


@dataclass(frozen=True)
class ClosedKernelLearner(Learner):
    """Ridge regression with a kernel given as a function of two arrays.

    Attributes:
        kernel: ``(x, x') -> (n, m)``; None is the Gaussian kernel at the median distance.
        title: its short name.
    """

    kernel: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    title: str = "Gaussian kernel"

    @classmethod
    def linear(cls) -> "ClosedKernelLearner":
        """Ridge regression on the inputs themselves, with an intercept."""
        return cls(LinearKernel(), "linear model")

    @classmethod
    def infinite_width(cls, depth: int = 3) -> "ClosedKernelLearner":
        """The tangent kernel of an infinitely wide ReLU network with biases."""
        return cls(InfiniteWidth(depth, bias_variance=1.0), f"infinite {depth}-layer tangent kernel")

    @property
    def name(self) -> str:
        """Short name."""
        return self.title

    @property
    def words(self) -> str:
        """In words."""
        return f"{self.title}{', bandwidth: median distance' if self.kernel is None else ''}; {_RIDGE}"

    def fit(
        self, inputs: np.ndarray, targets: np.ndarray, *, seed: Seed, oracle: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Fitted:
        """Ridge regression."""
        kernel = self.kernel or GaussianKernel(_median_distance(inputs, seed))
        return _ridge(kernel(inputs, inputs), ClosedRows(kernel, inputs), targets, oracle, features=len(inputs))


def _ridge(
    gram: np.ndarray,
    rows: Function,
    targets: np.ndarray,
    oracle: tuple[np.ndarray, np.ndarray] | None,
    *,
    features: int,
    start: Function | None = None,
) -> Fitted:
    """Ridge regression, around the mean, of the targets (of what a network's output at its start leaves of them)."""
    spectrum, offset = KernelSpectrum(gram), targets.mean(0)
    ridges = _RIDGES * max(spectrum.scale, 1e-300) / len(gram)
    if oracle is None:
        best = spectrum.choose(targets - offset, ridges).ridge
        choice = "KARE (generalized cross-validation) on the training samples"
    else:
        cross, truth = rows(oracle[0]), oracle[1] - offset - (0 if start is None else start(oracle[0]))
        fits = {float(ridge): spectrum.ridge(targets - offset, float(ridge)) for ridge in ridges}
        best = min(fits, key=lambda ridge: float(np.square(fits[ridge].predict(cross) - truth).mean()))
        choice = "oracle: chosen on the test samples"
    choice += ", at the edge of those tried" if best in (ridges[0], ridges[-1]) else ""
    fit = spectrum.ridge(targets - offset, best)
    return Fitted(KernelFunction(rows, fit, offset, start), {"ridge": best}, choice, features)


def _median_distance(inputs: np.ndarray, seed: Seed) -> float:
    """The median distance between at most 500 of the inputs; 1 when they coincide."""
    rows = seed.child("bandwidth").numpy().permutation(len(inputs))[:_FEW_FOR_BANDWIDTH]
    distances = pdist(inputs[rows])
    return float(np.median(distances)) if distances.size and np.median(distances) > 0 else 1.0
