"""Built-in data: sizes, statistics, repeatability, and no generator moved."""

import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.linops.random import forked_rng
from isthmus.model.data import DataSet, Sgd, builtin_task, digits, mnist1d, teacher


def rows(data: DataSet) -> torch.Tensor:
    return torch.cat([data.train_inputs, data.test_inputs])


def test_mnist1d_is_the_published_data_set_whatever_the_generators_do() -> None:
    from mnist1d.data import get_dataset_args, make_dataset

    before = torch.get_rng_state(), np.random.get_state()[1].tobytes(), random.getstate()
    data = mnist1d()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tobytes(), random.getstate()) == before[1:]
    with forked_rng(Seed(99)):
        direct = make_dataset(get_dataset_args())
    np.testing.assert_array_equal(data.train_inputs.numpy(), np.asarray(direct["x"], dtype=np.float32))
    np.testing.assert_array_equal(data.test_targets.numpy(), direct["y_test"])
    assert (data.train_inputs.shape, data.test_inputs.shape) == ((4000, 40), (1000, 40))
    assert torch.bincount(data.train_targets, minlength=10).min() > 300


def test_digits_are_all_there_once_and_standardized_by_the_training_part() -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    data = digits(seed=3)
    assert data.train_inputs.shape == (1297, 64)
    assert data.test_inputs.shape == (500, 64)
    assert float(data.train_inputs.mean()) == pytest.approx(0, abs=1e-5)
    assert float(data.train_inputs.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert sorted([*data.train_targets.tolist(), *data.test_targets.tolist()]) == sorted(labels.tolist())
    whole = rows(data).double()
    mean, scale = whole.mean(), images.std() / whole.std(correction=0).item()
    back = np.sort((whole.numpy() - mean.item()) * scale + images.mean(), axis=0)
    np.testing.assert_allclose(back, np.sort(images, axis=0), atol=1e-3)
    assert not torch.equal(digits(seed=3).train_targets, digits(seed=4).train_targets)
    assert torch.equal(digits(seed=3).train_inputs, data.train_inputs)


def test_the_teacher_is_learnable_standardized_and_split() -> None:
    data = teacher(inputs=6, width=3, samples=200, test_samples=50, seed=1)
    targets = torch.cat([data.train_targets, data.test_targets])
    assert data.train_inputs.shape == (200, 6)
    assert data.test_targets.shape == (50, 1)
    assert float(targets.mean()) == pytest.approx(0, abs=1e-5)
    assert float(targets.std()) == pytest.approx(1, abs=1e-5)
    x = np.concatenate([rows(data).numpy(), np.ones((250, 1))], axis=1)
    residual = targets.numpy() - x @ np.linalg.lstsq(x, targets.numpy(), rcond=None)[0]
    assert residual.var() > 0.02, "not a linear function of the inputs"
    assert torch.equal(teacher(seed=1).train_inputs, teacher(seed=1).train_inputs)
    assert not torch.equal(teacher(seed=1).train_inputs, teacher(seed=2).train_inputs)


@pytest.mark.parametrize(("name", "shape", "classes"), [("digits", (64,), True), ("teacher", (10,), False)])
def test_builtin_tasks_are_problems_with_a_recipe(name: str, shape: tuple, classes: bool) -> None:
    task = builtin_task(name, seed=0)
    assert task.problem.inputs.shape[1:] == shape
    assert task.problem.classification == classes
    assert task.problem.test_inputs is not None
    assert (task.epochs, task.batch) >= (1, 1)
    assert task.description
    same, other = builtin_task(name, seed=0).problem, builtin_task(name, seed=1).problem
    assert same.network.parameter_hash == task.problem.network.parameter_hash
    assert other.network.parameter_hash != task.problem.network.parameter_hash


def test_sgd_is_torch_s_with_its_options() -> None:
    made = Sgd(lr=0.3, momentum=0.7)(nn.Linear(2, 2).parameters())
    assert type(made) is torch.optim.SGD
    assert (made.defaults["lr"], made.defaults["momentum"]) == (0.3, 0.7)


def test_an_unknown_task_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="'cifar'; there are mnist1d, digits, teacher"):
        builtin_task("cifar")
    for module, load in (("mnist1d.data", mnist1d), ("sklearn.datasets", digits)):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(InputError, match=r"pip install 'isthmus\[demo\]'"):
            load()
