"""Learners to compare on equal samples: networks, their Taylor models, and kernels fixed at the start.

Every learner says which layers train, how it is solved, and how its hyper-parameters are chosen. Learning rates and
weight decays are chosen on a held-out part of the training samples and the winner is trained again on all of them; a
kernel's ridge is chosen by KARE (generalized cross-validation) on all of them. A choice made on test data is possible
and named "oracle".
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

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
_NUMBERS = 2**25  # parameters of all members trained at once
_MSE = understand(nn.MSELoss())
TRAINS = {"hidden": "hidden weights only", "all": "all parameters"}


@dataclass(frozen=True)
class Fitted:
    """A learned function.

    Attributes:
        predict: inputs ``(n, d)`` to outputs ``(n, k)``, numpy float64.
        chosen: hyper-parameters by name.
        choice: how they were chosen, in words.
        parameters: number of trained parameters; for a kernel the dimension of its features, or of a closed form the number of
            training samples.
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

    def fit_seeds(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        *,
        seeds: Sequence[Seed],
        oracle: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> list[Fitted]:
        """Learn from several sets of samples, ``(s, n, d)`` and ``(s, n, k)``, each with a seed of its own.

        Args:
            inputs: samples of each seed.
            targets: their real targets.
            seeds: s of them.
            oracle: test samples of each seed, ``(s, m, d)`` and ``(s, m, k)``.
        """
        tests = [None] * len(seeds) if oracle is None else list(zip(*oracle, strict=True))
        return [self.fit(x, y, seed=one, oracle=z) for x, y, one, z in zip(inputs, targets, seeds, tests, strict=True)]


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
        pulls, settings = "zero" if self.order is None else "the start", len(self.grid.rates) * len(self.grid.decays)
        chosen = f", validated on a share of {self.grid.held_out:g} where no oracle chooses" if settings > 1 else ""
        return (
            f"{self.name}, width {self.width}; trains {TRAINS[self.trains]}; SGD momentum {self.schedule.momentum:g}, batch "
            f"{self.schedule.batch}, {self.schedule.epochs} epochs, rate to a tenth at half time, decay towards {pulls}; "
            f"{settings} settings of rate and decay{chosen}"
        )

    def network(self, inputs: int, outputs: int, seed: Seed) -> Network:
        """The network, or its Taylor model, at its start."""
        module = relu_net(inputs, self.width, outputs, self.depth, trains=self.trains, seed=seed.child("init"))
        return Network(module if self.order is None else taylor_model(module, self.order), dtype=torch.float32)

    def fit(
        self, inputs: np.ndarray, targets: np.ndarray, *, seed: Seed, oracle: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Fitted:
        """Train the grid, choose, and train the winner on all samples."""
        tests = None if oracle is None else (oracle[0][None], oracle[1][None])
        return self.fit_seeds(inputs[None], targets[None], seeds=[seed], oracle=tests)[0]

    def fit_seeds(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        *,
        seeds: Sequence[Seed],
        oracle: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> list[Fitted]:
        """All seeds and settings as one batched computation, each seed from a start of its own; batch orders are shared.

        Raises:
            InputError: too few samples to hold some out.
            NumericalError: a seed of which no setting stayed finite.
        """
        starts = [self.network(inputs.shape[2], targets.shape[2], seed) for seed in seeds]
        (x, y), (rates, decays) = _tensors(inputs, targets), self.grid.points(self.width)
        rates, decays = (np.tile(values, (len(seeds), 1)) for values in (rates, decays))
        if rates.shape[1] == 1 or oracle is not None:
            trials = self._train(starts, x, y, rates, decays, seeds[0])
            if oracle is None:
                return trials.fitted(*trials.best(x, y), "given")
            return trials.fitted(*trials.best(*_tensors(*oracle)), "oracle: chosen on the test samples")
        rows = [split(x.shape[1], self.grid.held_out, seed.child("held out")) for seed in seeds]
        kept, held = (_Samples.of(x, y, [row[side] for row in rows]) for side in (0, 1))
        trials = self._train(starts, kept.inputs, kept.targets, rates, decays, seeds[0])
        best, excluded = trials.best(held.inputs, held.targets)
        winners = np.arange(len(seeds)), best
        again = self._train(starts, x, y, rates[winners][:, None], decays[winners][:, None], seeds[0])
        few = " (few: a noisy choice)" if held.inputs.shape[1] < _FEW else ""
        choice = f"validation on {held.inputs.shape[1]} held-out samples{few}"
        partial = trials.fitted(best, excluded, f"{choice}; trained on the others only, for on all it diverges")
        whole = again.fitted(np.zeros_like(best), excluded, f"{choice}, then trained again on all")
        return [one if fine else other for one, other, fine in zip(whole, partial, again.descended(x, y), strict=True)]

    def _train(
        self, starts: Sequence[Network], x: Tensor, y: Tensor, rates: np.ndarray, decays: np.ndarray, seed: Seed
    ) -> "_Trials":
        """Every seed at each of its settings, ``(s, q)``; as many seeds at once as memory holds."""
        settings, parts = rates.shape[1], []
        together = max(1, _NUMBERS // (settings * starts[0].size))
        for first in range(0, len(starts), together):
            part = slice(first, first + together)
            points = torch.stack([start.flat for start in starts[part]]).repeat_interleave(settings, 0)
            inputs, targets = (t[part].repeat_interleave(settings, 0) for t in (x, y))
            own = {name: torch.stack([start.buffers[name] for start in starts[part]]) for name in starts[0].buffers}
            trained = train_ensemble(
                starts[0], _MSE, inputs, targets, rates[part].reshape(-1), decays[part].reshape(-1), starts=points,
                pull=None if self.order is None else points, own_data=True,
                buffers={name: value.repeat_interleave(settings, 0) for name, value in own.items()},
                schedule=self.schedule, seed=seed,
            )  # fmt: skip
            parts.append(trained)
        return _Trials(Ensemble.joined(parts), rates, decays)


@dataclass(frozen=True)
class _Samples:
    """Samples of each seed, ``(s, n, d)`` and ``(s, n, k)``."""

    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, inputs: Tensor, targets: Tensor, rows: Sequence[Tensor]) -> "_Samples":
        """Some rows of each seed."""
        return cls(*(torch.stack([one[row] for one, row in zip(all_of, rows, strict=True)]) for all_of in (inputs, targets)))


@dataclass(frozen=True)
class _Trials:
    """Trained members, seed by seed, with the rate and decay of each, ``(s, q)``."""

    members: Ensemble
    rates: np.ndarray
    decays: np.ndarray

    def best(self, inputs: Tensor, targets: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The setting of least mean squared error of each seed, and how many did not stay finite, ``(s,)`` each."""
        x, y = (t.repeat_interleave(self.rates.shape[1], 0) for t in (inputs, targets))
        errors = (self.members.outputs(x, own_data=True) - y).square().mean((1, 2)).double().numpy()
        errors = np.where(self.members.finite & np.isfinite(errors), errors, np.inf).reshape(self.rates.shape)
        if not np.isfinite(errors).any(axis=1).all():
            raise NumericalError(Status.NOT_FINITE, "no setting of the grid stayed finite; lower its learning rates")
        return errors.argmin(axis=1), np.isinf(errors).sum(axis=1)

    def descended(self, inputs: Tensor, targets: Tensor) -> np.ndarray:
        """Which single members ended finite and no worse on their own samples than predicting zero, ``(s,)``."""
        errors = (self.members.outputs(inputs, own_data=True) - targets).square().mean((1, 2))
        return self.members.finite & (errors <= targets.square().mean((1, 2))).cpu().numpy()

    def fitted(self, chosen: np.ndarray, excluded: np.ndarray, choice: str) -> list[Fitted]:
        """The chosen member of each seed as a learned function, in float64."""
        found = []
        for index, setting in enumerate(chosen):
            network = self.members.member(index * self.rates.shape[1] + int(setting)).to(torch.float64)
            values = {"rate": float(self.rates[index, setting]), "decay": float(self.decays[index, setting])}
            found.append(Fitted(NetworkFunction(network), values, choice, network.size, int(excluded[index])))
        return found


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


def _tensors(inputs: np.ndarray, targets: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(np.array(inputs, dtype=np.float32)), torch.from_numpy(np.array(targets, dtype=np.float32))
