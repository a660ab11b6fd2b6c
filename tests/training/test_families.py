"""Families on a leading axis are the runs of `train` and `spawn`."""

import pytest
import torch
from torch import nn

import isthmus
from isthmus import Problem, Seed
from isthmus._core.errors import InputError, ShapeError
from isthmus.model.data import Sgd
from isthmus.model.initialization import reinitialized
from isthmus.training.families import train_families
from tests.model.networks import build

STEPS, BATCH = 14, 8
SEEDS = [Seed(4).child(i) for i in range(3)]


def subject() -> Problem:
    net, inputs, labels = build("mlp", samples=30)
    return Problem(net, inputs, labels, nn.CrossEntropyLoss()).eval()


def starts(problem: Problem) -> torch.Tensor:
    return torch.stack([reinitialized(problem.network, seed.child("init")).flat for seed in SEEDS])


def test_parents_and_children_are_those_of_the_training_loop() -> None:
    problem = subject()
    points = starts(problem)
    made = train_families(problem, points, SEEDS, steps=STEPS, batch=BATCH, rate=0.2, spawn_steps=[0, 5], children=2, keep=[5])
    for index, seed in enumerate(SEEDS):
        run = isthmus.train(problem.at(points[index]), Sgd(lr=0.2), steps=STEPS, batch=BATCH, seed=seed, checkpoints=[0, 5])
        for step in (5, STEPS):
            assert torch.allclose(made.parents[step][index], run.problem_at(step).network.flat, atol=1e-12)
            assert torch.equal(made.trajectory(index).problem_at(step).network.flat, made.parents[step][index])
        for row, step in enumerate((0, 5)):
            family = isthmus.spawn(run, step, 2, optimizer=Sgd(lr=0.2), seed=seed)
            for child, own in enumerate(family.children):
                assert torch.allclose(made.children[row, index, child], own.problem_at(STEPS).network.flat, atol=1e-12)


def test_a_schedule_is_asked_at_every_step() -> None:
    problem = subject()
    points = starts(problem)
    still = train_families(problem, points, SEEDS, steps=STEPS, batch=BATCH, rate=lambda step: 0.2 if step < 3 else 0.0, keep=[3])
    assert torch.equal(still.parents[3], still.parents[STEPS])
    assert not torch.equal(still.parents[3], points)


def test_children_of_the_end_are_their_parents() -> None:
    problem = subject()
    made = train_families(problem, starts(problem), SEEDS, steps=3, batch=BATCH, rate=0.1, spawn_steps=[3])
    assert torch.equal(made.children[0], made.parents[3][:, None].expand(-1, 2, -1))


def test_bad_requests_are_named() -> None:
    problem = subject()
    points = starts(problem)
    with pytest.raises(ShapeError, match="Starts of shape"):
        train_families(problem, points[:2], SEEDS, steps=3, batch=BATCH, rate=0.1)
    with pytest.raises(InputError, match="within 0 and 3"):
        train_families(problem, points, SEEDS, steps=3, batch=BATCH, rate=0.1, spawn_steps=[5])
