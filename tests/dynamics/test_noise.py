import itertools

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus._core.errors import InputError
from isthmus.dynamics import TorchSgd, minibatch_moments, predict_training
from tests.dynamics.problems import HalfSum, classification, dense_jacobian, regression

METHODS = {
    "descent": {"lr": 0.1},
    "heavy ball": {"lr": 0.1, "momentum": 0.6},
    "nesterov": {"lr": 0.1, "momentum": 0.6, "nesterov": True},
}


def tiny(loss):
    torch.manual_seed(1)
    x = torch.randn(3, 2, dtype=torch.float64)
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    return isthmus.Problem(net, x, torch.randn(3, 2, dtype=torch.float64), loss)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("loss", [nn.MSELoss(), HalfSum()])
@pytest.mark.parametrize("name", METHODS)
def test_against_all_sequences_of_batches(name, loss, batch):
    """Every sequence of three batches, run with torch's SGD on a dense linear model."""
    problem = tiny(loss)
    jacobian, base = torch.tensor(dense_jacobian(problem)), problem.network(problem.inputs).reshape(-1)
    losses, outputs = [], []
    for batches in itertools.product(itertools.combinations(range(3), batch), repeat=3):
        w = torch.zeros(jacobian.shape[1], dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([w], **METHODS[name])
        for rows in batches:
            f = (base + jacobian @ w).reshape(3, 2)
            optimizer.zero_grad()
            loss(f[list(rows)], problem.targets[list(rows)]).backward()
            optimizer.step()
        f = (base + jacobian @ w).detach().reshape(3, 2)
        losses.append(float(loss(f, problem.targets)))
        outputs.append(f.numpy())
    found = minibatch_moments(problem, TorchSgd(**METHODS[name]), 3, batch)
    assert found.expected_loss[-1] == pytest.approx(np.mean(losses), rel=1e-6)
    mean = torch.tensor(np.mean(outputs, axis=0))
    assert found.loss_of_mean[-1] == pytest.approx(float(loss(mean, problem.targets)), rel=1e-6)
    assert found.expected_loss[-1] > found.loss_of_mean[-1]


def test_a_full_batch_has_no_noise():
    problem, method = regression(), TorchSgd(lr=0.1, momentum=0.5)
    found = minibatch_moments(problem, method, 40, 20)
    exact = predict_training(problem, method, 40)
    assert np.abs(found.expected_loss - exact.loss).max() < 1e-12
    assert np.abs(found.loss_of_mean - exact.loss).max() < 1e-12


def test_noise_can_diverge_below_the_full_batch_limit():
    problem = regression()
    edge = isthmus.stability_limit(problem, TorchSgd(lr=1.0)).largest_rate
    method = TorchSgd(lr=0.9 * edge)
    assert minibatch_moments(problem, method, 60, 1).growth > 1 > minibatch_moments(problem, method, 60, 20).growth


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: minibatch_moments(regression(), TorchSgd(lr=0.1), 5, 21), r"batch of 1\.\.20"),
        (lambda: minibatch_moments(classification(), TorchSgd(lr=0.1), 5, 2), "not quadratic"),
        (lambda: minibatch_moments(regression(), TorchSgd(lr=0.1, weight_decay=0.1), 5, 2), "no closed moments"),
        (lambda: minibatch_moments(regression(), lambda p: torch.optim.Adam(p, lr=0.1), 5, 2), "no closed moments"),
    ],
)
def test_bad_input_is_explained(call, words):
    with pytest.raises(InputError, match=words):
        call()
