"""Learners to compare on equal samples: networks, their Taylor models, and kernels fixed at the start.

Every learner says which layers train, how it is solved, and how its hyper-parameters are chosen. Learning rates and
weight decays are chosen on a held-out part of the training samples and the winner is trained again on all of them; a
kernel's ridge is chosen by KARE (generalized cross-validation) on all of them. A choice made on test data is possible
and named "oracle".
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from isthmus._core.errors import InputError, NumericalError
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.model.losses import understand
from isthmus.model.network import Network
from isthmus.model.taylor import taylor_model
from isthmus.model.zoo import relu_net
from isthmus.training.ensemble import Ensemble, Schedule, train_ensemble

Trains = Literal["hidden", "all"]
_LEAST_VALIDATION, _FEW = 2, 20
_MSE = understand(nn.MSELoss())
TRAINS = {"hidden": "hidden weights only", "all": "all parameters"}


@dataclass(frozen=True)
class Fitted:
    """A learned function.

    Attributes:
        predict: inputs ``(n, d)`` to outputs ``(n, k)``, numpy float64.
        chosen: hyper-parameters by name.
        choice: how they were chosen, in words.
        parameters: number of trained parameters; training samples for a kernel.
        excluded: hyper-parameter settings whose training did not stay finite.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    chosen: dict[str, float]
    choice: str
    parameters: int
    excluded: int = 0


@dataclass(frozen=True)
class NetworkFunction:
    """A network on numpy arrays, in float64."""

    network: Network

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Outputs ``(n, k)``."""
        return self.network(torch.from_numpy(np.array(inputs, dtype=np.float64))).numpy()


class Learner(ABC):
    """Something that learns a function from samples."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name for figures."""

    @property
    @abstractmethod
    def words(self) -> str:
        """Which layers train, how it is solved, how hyper-parameters are chosen."""

    @abstractmethod
    def fit(
        self, inputs: np.ndarray, targets: np.ndarray, *, seed: Seed, oracle: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Fitted:
        """Learn from ``(n, d)`` and ``(n, k)``.

        Args:
            inputs: samples.
            targets: real targets.
            seed: names initialization, batch order and the held-out samples.
            oracle: test samples on which hyper-parameters are chosen instead; the choice is then named "oracle".

        Raises:
            InputError: too few samples to hold some out.
            NumericalError: no hyper-parameter setting stayed finite.
        """


@dataclass(frozen=True)
class Grid:
    """Hyper-parameters of gradient descent.

    Attributes:
        rates: c of the learning rate c / width.
        decays: weight decays.
        held_out: share of the training samples on which the best is chosen.
    """

    rates: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    decays: tuple[float, ...] = (0.0, 1e-4, 1e-3)
    held_out: float = 0.2

    def points(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Learning rates and decays of all settings."""
        rates, decays = np.meshgrid(self.rates, self.decays, indexing="ij")
        return rates.reshape(-1) / width, decays.reshape(-1)


@dataclass(frozen=True)
class NetworkLearner(Learner):
    """A ReLU network of `isthmus.model.zoo.relu_net`, by SGD with momentum on the mean squared error.

    Attributes:
        depth: weight layers, 2 or 3.
        width: of the hidden layers.
        trains: ``"hidden"`` weights only, or ``"all"`` parameters.
        order: None for the network itself; 1 or 2 for its Taylor model around the start.
        grid: learning rates and decays to choose from. Decay pulls a network to zero and a Taylor model to its start.
        schedule: epochs, batch, momentum.
    """

    depth: int = 3
    width: int = 100
    trains: Trains = "hidden"
    order: int | None = None
    grid: Grid = Grid()
    schedule: Schedule = field(default_factory=Schedule)

    @property
    def name(self) -> str:
        """As ``3-layer network`` or ``3-layer Taylor-2``."""
        return f"{self.depth}-layer {'network' if self.order is None else f'Taylor-{self.order}'}"

    @property
    def words(self) -> str:
        """In words."""
        pulls = "zero" if self.order is None else "the start"
        return (
            f"{self.name}, width {self.width}; trains {TRAINS[self.trains]}; SGD momentum {self.schedule.momentum:g}, batch "
            f"{self.schedule.batch}, {self.schedule.epochs} epochs, rate to a tenth at half time, decay towards {pulls}; "
            f"{len(self.grid.rates) * len(self.grid.decays)} settings of rate and decay"
        )

    def network(self, inputs: int, outputs: int, seed: Seed) -> Network:
        """The network, or its Taylor model, at its start."""
        module = relu_net(inputs, self.width, outputs, self.depth, trains=self.trains, seed=seed.child("init"))
        return Network(module if self.order is None else taylor_model(module, self.order), dtype=torch.float32)

    def fit(
        self, inputs: np.ndarray, targets: np.ndarray, *, seed: Seed, oracle: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Fitted:
        """Train the grid, choose, and train the winner on all samples."""
        network, (x, y) = self.network(inputs.shape[1], targets.shape[1], seed), _tensors(inputs, targets)
        grid = self.grid.points(self.width)
        if len(grid[0]) == 1:
            members = self._train(network, x, y, *grid, seed)
            return self._fitted(members, *_best(members, x, y), grid, "given")
        if oracle is not None:
            members = self._train(network, x, y, *grid, seed)
            return self._fitted(members, *_best(members, *_tensors(*oracle)), grid, "oracle: chosen on the test samples")
        kept, held = split(len(x), self.grid.held_out, seed.child("held out"))
        members = self._train(network, x[kept], y[kept], *grid, seed)
        chosen, excluded = _best(members, x[held], y[held])
        choice = f"validation on {len(held)} held-out samples{' (few: a noisy choice)' if len(held) < _FEW else ''}"
        winner = (grid[0][[chosen]], grid[1][[chosen]])
        again = self._train(network, x, y, *winner, seed)
        if not again.finite[0]:
            return self._fitted(members, chosen, excluded, grid, f"{choice}; trained on the others only, for on all it diverges")
        return self._fitted(again, 0, excluded, winner, f"{choice}, then trained again on all")

    def fit_seeds(self, inputs: np.ndarray, targets: np.ndarray, *, seed: Seed) -> list[Fitted]:
        """Learn from several sets of samples at once, ``(s, n, d)`` and ``(s, n, k)``, each from a start of its own.

        One batched computation; for a network (not a Taylor model) and a grid with one setting.

        Raises:
            InputError: the grid has several settings, or this is a Taylor model.
            NumericalError: a member did not stay finite.
        """
        count, (rates, decays) = len(inputs), self.grid.points(self.width)
        if self.order is not None or len(rates) != 1:
            raise InputError("Seeds are trained together for networks with one setting of rate and decay; fit them one by one.")
        whole = replace(self, trains="all")
        starts = [whole.network(inputs.shape[2], targets.shape[2], seed.child("member", index)) for index in range(count)]
        hidden = self.network(inputs.shape[2], targets.shape[2], seed)
        shared = Network(_Partly(starts[0].module, frozenset(hidden.parameters)))
        points = torch.stack([network.flat for network in starts])
        members = train_ensemble(
            shared, _MSE, *_tensors(inputs, targets), rates.repeat(count), float(decays[0]),
            starts=points, own_data=True, schedule=self.schedule, seed=seed,
        )  # fmt: skip
        if not members.finite.all():
            raise NumericalError(Status.NOT_FINITE, f"{self.name} at rate {rates[0]:.3g}; lower the learning rate")
        trained = [replace(members, points=members.points[[index]], finite=members.finite[[index]]) for index in range(count)]
        return [self._fitted(member, 0, 0, (rates, decays), "given") for member in trained]

    def _train(self, network: Network, x: Tensor, y: Tensor, rates: np.ndarray, decays: np.ndarray, seed: Seed) -> Ensemble:
        pull = None if self.order is None else network.flat
        return train_ensemble(network, _MSE, x, y, rates, decays, pull=pull, schedule=self.schedule, seed=seed)

    def _fitted(self, members: Ensemble, index: int, excluded: int, grid: tuple[np.ndarray, np.ndarray], choice: str) -> Fitted:
        trained = members.network.at(members.points[index]).to(torch.float64)
        chosen = {"rate": float(grid[0][index]), "decay": float(grid[1][index])}
        return Fitted(NetworkFunction(trained), chosen, choice, trained.size, excluded)


class _Partly(nn.Module):
    """A module of whose parameters only some receive gradients; all are its own, so that each member has its start."""

    def __init__(self, net: nn.Module, trained: frozenset[str]) -> None:
        super().__init__()
        self.net, self.trained = net, trained

    def forward(self, inputs: Tensor) -> Tensor:
        """The module's output."""
        values = {name: value if name in self.trained else value.detach() for name, value in self.net.named_parameters()}
        return functional_call(self.net, values, (inputs,))


def split(samples: int, share: float, seed: Seed) -> tuple[Tensor, Tensor]:
    """Rows to keep and rows to hold out.

    Raises:
        InputError: fewer than 2 samples would be held out, or fewer kept.
    """
    held = round(share * samples)
    if held < _LEAST_VALIDATION or samples - held < _LEAST_VALIDATION:
        raise InputError(
            f"Choosing hyper-parameters needs at least {_LEAST_VALIDATION} held-out samples; a share of {share:g} of "
            f"n_samples = {samples} gives {held}. Pass more samples, a larger held_out, or a grid with one setting."
        )
    order = torch.from_numpy(seed.numpy().permutation(samples))
    return order[held:], order[:held]


def _best(members: Ensemble, inputs: Tensor, targets: Tensor) -> tuple[int, int]:
    """The member of least mean squared error, and how many members did not stay finite."""
    errors = (members.outputs(inputs) - targets).square().mean((1, 2)).double().numpy()
    errors[~members.finite | ~np.isfinite(errors)] = np.inf
    if not np.isfinite(errors).any():
        raise NumericalError(Status.NOT_FINITE, "no setting of the grid stayed finite; lower its learning rates")
    return int(np.argmin(errors)), int((~np.isfinite(errors)).sum())


def _tensors(inputs: np.ndarray, targets: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(np.array(inputs, dtype=np.float32)), torch.from_numpy(np.array(targets, dtype=np.float32))
