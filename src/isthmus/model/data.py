"""Data sets that need no download, and the built-in tasks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus.linops.random import forked_rng, gaussian
from isthmus.model.problem import Problem
from isthmus.model.zoo import mlp

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Any]


@dataclass(frozen=True)
class DataSet:
    """Training and test tensors."""

    train_inputs: Tensor
    train_targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor


@dataclass(frozen=True)
class Task:
    """A problem with the recipe that trains it.

    Attributes:
        problem: network at its start, data and loss.
        optimizer: ``parameters -> torch.optim.Optimizer``, or a pair ``(optimizer, scheduler)``.
        epochs: passes over the training data.
        batch: samples of a mini-batch.
        description: one line about the data, for the head of the atlas.
    """

    problem: Problem
    optimizer: OptimizerFactory
    epochs: int = 30
    batch: int = 50
    description: str = ""


@dataclass(frozen=True)
class Sgd:
    """``torch.optim.SGD`` with momentum, as a picklable factory."""

    lr: float = 0.05
    momentum: float = 0.9

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer over these parameters."""
        return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum)


def mnist1d() -> DataSet:
    """MNIST-1D: 4000 training and 1000 test signals of length 40, ten classes, generated offline.

    Raises:
        InputError: the package mnist1d is not installed.
    """
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as missing:
        raise _missing("mnist1d") from missing
    with forked_rng(Seed(0).child("mnist1d")):
        made = make_dataset(get_dataset_args())
    return DataSet(*(_tensor(made[key]) for key in ("x", "y", "x_test", "y_test")))


def digits(seed: Seed | int = 0) -> DataSet:
    """scikit-learn's 8x8 digits: 1297 training and 500 test images, standardized by training statistics.

    Args:
        seed: names the split.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as missing:
        raise _missing("scikit-learn") from missing
    images, labels = load_digits(return_X_y=True)
    order = as_seed(seed).child("digits").numpy().permutation(len(images))
    train, test = order[:-500], order[-500:]
    mean, scale = images[train].mean(), images[train].std()
    standardized = (images - mean) / scale
    return DataSet(*(_tensor(part) for part in (standardized[train], labels[train], standardized[test], labels[test])))


def three_steps() -> DataSet:
    """The one-dimensional data of Zhang et al. (2021): 50 points of ``tanh(x-7) + tanh(x) + tanh(x+7)`` on [-15, 15].

    Float64; training and test data are the same. A tanh network of width 3 without output bias fits them exactly.
    """
    x = torch.linspace(-15, 15, 50, dtype=torch.float64)[:, None]
    y = torch.tanh(x - 7) + torch.tanh(x) + torch.tanh(x + 7)
    return DataSet(x, y, x, y)


def teacher(*, inputs: int = 10, width: int = 4, samples: int = 500, test_samples: int = 500, seed: Seed | int = 0) -> DataSet:
    """Gaussian inputs labeled by a random two-layer tanh network, scaled to unit output variance; no noise.

    Args:
        inputs: input dimension.
        width: hidden units of the teacher.
        samples: training samples.
        test_samples: test samples.
        seed: names teacher and inputs.
    """
    seed = as_seed(seed)
    x = gaussian((samples + test_samples, inputs), seed.child("inputs"), torch.float32)
    first = gaussian((inputs, width), seed.child("first"), torch.float32) / inputs**0.5
    second = gaussian((width, 1), seed.child("second"), torch.float32)
    y = torch.tanh(2 * x @ first) @ second
    y = (y - y.mean()) / y.std()
    return DataSet(x[:samples], y[:samples], x[samples:], y[samples:])


def builtin_task(name: str, seed: Seed | int = 0) -> Task:
    """A built-in task: ``mnist1d`` (MLP 40-100-100-10), ``digits`` (MLP 64-64-10) or ``teacher`` (MLP 10-20-1).

    Args:
        name: which task.
        seed: names the initialization (and the split or the teacher).

    Raises:
        InputError: the name is unknown, or a package of the ``demo`` extra is missing.
    """
    seed = as_seed(seed)
    if name == "mnist1d":
        module, text = mlp([40, 100, 100, 10], seed=seed.child("init")), "MNIST-1D, 10 classes, generated offline"
        return Task(_problem(module, mnist1d(), nn.CrossEntropyLoss(), "MLP on MNIST-1D"), Sgd(lr=0.1), 30, 50, text)
    if name == "digits":
        module, text = mlp([64, 64, 10], seed=seed.child("init")), "scikit-learn digits, 8x8 images, 10 classes"
        return Task(_problem(module, digits(seed), nn.CrossEntropyLoss(), "MLP on digits"), Sgd(lr=0.05), 20, 50, text)
    if name == "teacher":
        module, text = mlp([10, 20, 1], "tanh", seed=seed.child("init")), "random tanh teacher with 4 hidden units"
        return Task(_problem(module, teacher(seed=seed), nn.MSELoss(), "Student of a tanh teacher"), Sgd(lr=0.05), 30, 50, text)
    raise InputError(f"There is no built-in task {name!r}; there are mnist1d, digits, teacher. Or pass FILE.py:problem.")


def _problem(module: nn.Module, data: DataSet, loss: nn.Module, name: str) -> Problem:
    return Problem(module, data.train_inputs, data.train_targets, loss, test=(data.test_inputs, data.test_targets), name=name)


def _tensor(array: np.ndarray) -> Tensor:
    array = np.asarray(array)
    return torch.from_numpy(array.astype(np.float32 if array.dtype.kind == "f" else np.int64))


def _missing(package: str) -> InputError:
    return InputError(f"This task needs {package}, which is not installed. Run: pip install 'isthmus[demo]'.")
