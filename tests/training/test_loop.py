"""The loop is the one everybody writes: equal to plain torch and to plain numpy; its counts, probes and refusals."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD

from isthmus._core.errors import InputError, NumericalError
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.linops.random import forked_rng
from isthmus.model.evaluation import evaluate
from isthmus.model.problem import Problem
from isthmus.training import replay, train
from isthmus.training.schedule import checkpoint_steps
from tests.reference.training import batches, linear_regression, plain_loop
from tests.training.recipes import BATCH, EPOCHS, PER_EPOCH, RECIPES, TOTAL, noisy_problem


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_is_the_plain_loop_bit_for_bit(recipe: str) -> None:
    problem, seed = noisy_problem(), Seed(3)
    run = train(problem, RECIPES[recipe], epochs=EPOCHS, batch=BATCH, seed=seed)
    order = batches(problem.samples, BATCH, EPOCHS, seed)
    with forked_rng(seed.child("network")):
        module = problem.network.module
        trained = plain_loop(module, problem.inputs, problem.targets, nn.CrossEntropyLoss(), RECIPES[recipe], order, PER_EPOCH)
    last = run.checkpoint(TOTAL)
    for name, value in trained.state_dict().items():
        assert torch.equal({**last.parameters, **last.buffers}[name], value), name


def test_linear_regression_follows_heavy_ball_in_numpy() -> None:
    rng = np.random.default_rng(0)
    x, y, start = rng.standard_normal((17, 3)), rng.standard_normal((17, 2)), rng.standard_normal((3, 2))
    net = nn.Linear(3, 2, bias=False).double()
    problem = Problem(net, x, y, nn.MSELoss()).at(torch.from_numpy(start.T.reshape(-1).copy()))
    run = train(problem, partial(SGD, lr=0.05, momentum=0.8), epochs=4, batch=6, seed=1)
    exact = linear_regression(start, x, y, batches(17, 6, 4, Seed(1)), 0.05, 0.8)
    np.testing.assert_allclose(run.checkpoint(12).parameters["weight"].numpy().T, exact, rtol=1e-12)


def test_steps_and_epochs_count_the_same() -> None:
    problem = noisy_problem()
    by_epochs = train(problem, epochs=2, batch=BATCH)
    by_steps = train(problem, steps=2 * PER_EPOCH, batch=BATCH)
    assert by_epochs.steps_per_epoch == PER_EPOCH
    assert by_epochs.steps == by_steps.steps == checkpoint_steps(10, PER_EPOCH)
    assert [by_epochs.checkpoint(s).epoch for s in (0, 5, 10)] == [0, 1, 2]
    one, other = by_epochs.checkpoint(10).parameters, by_steps.checkpoint(10).parameters
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_no_steps_keep_the_start() -> None:
    problem = noisy_problem()
    run = train(problem, steps=0)
    assert run.steps == [0]
    assert all(torch.equal(v, problem.network.parameters[k]) for k, v in run.checkpoint(0).parameters.items())


def test_asked_steps_are_kept_with_the_first_and_the_last() -> None:
    assert train(noisy_problem(), steps=9, checkpoints=[4, 2, 100]).steps == [0, 2, 4, 9]


def test_frozen_parameters_stay_and_their_state_is_kept() -> None:
    problem = noisy_problem()
    module = problem.network.module
    module[0].requires_grad_(False)
    frozen = Problem(module, problem.inputs, problem.targets, nn.CrossEntropyLoss())
    last = train(frozen, RECIPES["momentum"], steps=5, batch=BATCH).checkpoint(5)
    assert torch.equal(last.buffers["0.weight"], module[0].weight)
    assert set(last.parameters) == {"1.weight", "1.bias", "4.weight", "4.bias"}


def test_live_probes_equal_their_replay() -> None:
    probes = {
        "loss": lambda problem: evaluate(problem).loss,
        "norm": lambda problem: float(problem.network.flat.norm()),
        "training": lambda problem: problem.network.training,
    }
    run = train(noisy_problem(), RECIPES["adam"], epochs=3, batch=BATCH, probes=probes)
    assert run.measurements == replay(run, probes)
    assert not any(run.measurements["training"])
    assert len(run.measurements["loss"]) == len(run.steps)
    assert run.measurements["loss"][-1] < run.measurements["loss"][0]


def test_a_probe_that_draws_does_not_change_the_run() -> None:
    quiet = train(noisy_problem(), steps=10, batch=BATCH)
    loud = train(noisy_problem(), steps=10, batch=BATCH, probes={"draw": lambda problem: float(torch.rand(()))})
    one, other = quiet.checkpoint(10).parameters, loud.checkpoint(10).parameters
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_pairs_are_kept_together() -> None:
    run = train(noisy_problem(), epochs=3, batch=BATCH)
    assert run.pairs
    assert {b - a for a, b in run.pairs} == {2}
    assert {step for pair in run.pairs for step in pair} <= set(run.steps)


def test_a_loss_that_blows_up_stops_the_run_and_keeps_what_was_made(tmp_path) -> None:
    problem = Problem(nn.Linear(2, 1), 10 * torch.randn(20, 2), torch.randn(20, 1), nn.MSELoss())
    with pytest.raises(NumericalError, match="lower the learning rate") as caught:
        train(problem, partial(SGD, lr=1e6), steps=200, store=tmp_path)
    assert caught.value.status is Status.NOT_FINITE
    assert (tmp_path / "00000000.safetensors").exists()


@pytest.mark.parametrize("bad", [{"epochs": 1, "steps": 1}, {"steps": -1}, {"batch": 0, "steps": 1}])
def test_bad_counts_are_refused(bad: dict) -> None:
    with pytest.raises(InputError):
        train(noisy_problem(), **bad)


def test_a_missing_checkpoint_is_named() -> None:
    run = train(noisy_problem(), steps=4, checkpoints=[2])
    with pytest.raises(InputError, match=r"Step 3 has no checkpoint; there are \[0, 2, 4\]"):
        run.checkpoint(3)
