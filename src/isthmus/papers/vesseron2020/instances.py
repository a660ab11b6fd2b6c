"""Small networks and data on which the claims are checked, drawn from a seed."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from isthmus._core.seeds import Seed
from isthmus.claims import Evidence
from isthmus.games.congestion import CongestionGame
from isthmus.games.pathgame import PathGame
from isthmus.model.problem import Problem


def network(weights: Sequence[np.ndarray], activation: type[nn.Module] | None = None) -> nn.Sequential:
    """A bias-free network with these weights."""
    layers: list[nn.Module] = []
    for weight in weights:
        if layers and activation is not None:
            layers.append(activation())
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).double()
        layer.weight.data = torch.tensor(weight, dtype=torch.float64)
        layers.append(layer)
    return nn.Sequential(*layers)


def squared(module: nn.Module, inputs: np.ndarray, targets: np.ndarray) -> Problem:
    """Summed squared error on some data."""
    return Problem(module, torch.tensor(inputs), torch.tensor(targets), nn.MSELoss(reduction="sum"))


def random_problem(
    widths: Sequence[int], seed: Seed, *, samples: int = 12, activation: type[nn.Module] | None = None, orthonormal: bool = False
) -> Problem:
    """Gaussian weights (scaled by fan-in), inputs and targets; inputs orthonormal where training should converge fast."""
    random = seed.numpy()
    weights = [random.normal(size=(b, a)) / np.sqrt(a) for a, b in pairwise(widths)]
    inputs = random.normal(size=(samples, widths[0]))
    inputs = np.linalg.qr(inputs)[0] if orthonormal else inputs
    return squared(network(weights, activation), inputs, random.normal(size=(samples, widths[-1])))


def splitting(inputs: np.ndarray, targets: np.ndarray) -> Problem:
    """A one-layer network that splits each input evenly over the outputs: column-stochastic weights."""
    outputs, size = targets.shape[1], inputs.shape[1]
    return squared(network([np.full((outputs, size), 1 / outputs)]), inputs, targets)


def written(game: PathGame) -> CongestionGame:
    """The game with its rates as an array, so that strategies can be forbidden."""
    made = game.strategies()
    rates = np.asarray(made.rates.matmat(np.eye(made.rates.shape[1])))
    return CongestionGame(rates, made.types, made.demands, made.costs)


def exact(quantity: str, predicted: str, measured: Sequence[float], threshold: float, reason: str) -> Evidence:
    """The largest of the measurements must stay below the threshold."""
    values = np.array(measured, dtype=np.float64)[:, None]
    return Evidence.worst_of(values, quantity=quantity, predicted=predicted, threshold=threshold, reason=reason, axis=np.ones(1))
