"""The Recorder in a user's own loop writes what `train` writes."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.linops.random import forked_rng
from isthmus.model.evaluation import evaluate
from isthmus.training import Recorder, open_trajectory, replay, train
from tests.reference.training import batches, plain_loop
from tests.training.recipes import BATCH, EPOCHS, PER_EPOCH, RECIPES, TOTAL, noisy_problem


@pytest.mark.parametrize("recipe", ["sgd", "momentum", "adam", "two groups"])
def test_both_write_the_same_checkpoints(recipe: str, tmp_path: Path) -> None:
    problem, seed = noisy_problem(), Seed(0)
    trained = train(problem, RECIPES[recipe], epochs=EPOCHS, batch=BATCH, seed=seed, store=tmp_path / "train")
    with forked_rng(seed.child("network")):
        plain_loop(
            problem.network.module, problem.inputs, problem.targets, nn.CrossEntropyLoss(), RECIPES[recipe],
            batches(problem.samples, BATCH, EPOCHS, seed), PER_EPOCH,
            lambda module, optimizer: Recorder(
                module, optimizer, tmp_path / "user", steps_per_epoch=PER_EPOCH, total_steps=TOTAL
            ).step,
        )  # fmt: skip
    recorded = open_trajectory(tmp_path / "user", problem)
    assert recorded.steps == trained.steps
    assert recorded.pairs == trained.pairs
    for step in trained.steps:
        one, other = recorded.checkpoint(step), trained.checkpoint(step)
        for mine, theirs in zip(flat(one), flat(other), strict=True):
            assert torch.equal(mine, theirs)
        assert one.param_groups == other.param_groups
    probe = {"loss": lambda place: evaluate(place).loss}
    assert replay(recorded, probe) == replay(trained, probe)


def flat(checkpoint) -> list[torch.Tensor]:
    slots = itertools.chain.from_iterable(
        [checkpoint.optimizer_state[name][slot] for slot in sorted(checkpoint.optimizer_state[name])]
        for name in sorted(checkpoint.optimizer_state)
    )
    state = {**checkpoint.parameters, **checkpoint.buffers}
    return [*(state[name] for name in sorted(state)), *slots, checkpoint.rng]


def test_the_module_and_the_generators_are_only_read(tmp_path: Path) -> None:
    module = noisy_problem().network.module
    optimizer = SGD(module.parameters(), lr=0.1)
    module(torch.randn(3, 4)).sum().backward()
    grads = [p.grad.clone() for p in module.parameters()]
    before, random = {k: v.clone() for k, v in module.state_dict().items()}, torch.get_rng_state()
    recorder = Recorder(module, optimizer, tmp_path, steps_per_epoch=2, total_steps=4)
    for _ in range(4):
        recorder.step()
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(module.parameters(), grads, strict=True))
    assert torch.equal(torch.get_rng_state(), random)
    assert open_trajectory(tmp_path, noisy_problem()).steps == [0, 1, 2, 3, 4]


def test_a_loop_that_goes_on_starts_at_its_step(tmp_path: Path) -> None:
    module = noisy_problem().network.module
    recorder = Recorder(module, SGD(module.parameters(), lr=0.1), tmp_path, steps_per_epoch=2, total_steps=8, start=7)
    assert not list(tmp_path.iterdir())
    recorder.step()
    assert [path.name for path in tmp_path.iterdir()] == ["00000008.safetensors"]


def test_a_stranger_s_optimizer_and_bad_counts_are_refused(tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    with pytest.raises(InputError, match="parameters that the module does not have"):
        Recorder(module, SGD(nn.Linear(2, 2).parameters(), lr=1), tmp_path, steps_per_epoch=1, total_steps=1)
    for counts in ((0, 1), (1, 0)):
        with pytest.raises(InputError, match="at least 1"):
            Recorder(module, SGD(module.parameters(), lr=1), tmp_path, steps_per_epoch=counts[0], total_steps=counts[1])
    assert not list(tmp_path.iterdir())
