"""Going on from a checkpoint: the parent's own stream bit for bit, other streams otherwise."""

from pathlib import Path

import pytest
import torch

from isthmus import Seed, train
from isthmus._core.errors import InputError
from tests.training.recipes import RECIPES, noisy_problem

SEED = Seed(3)
STEPS, BATCH = 14, 8


def parent(recipe: str, **more: object):
    return train(noisy_problem(), RECIPES[recipe], steps=STEPS, batch=BATCH, seed=SEED, checkpoints=range(STEPS + 1), **more)


@pytest.mark.parametrize("recipe", sorted(RECIPES))
@pytest.mark.parametrize("at", [1, 6])
def test_a_child_with_the_parents_stream_is_the_parent(recipe: str, at: int) -> None:
    run = parent(recipe)
    child = train(run.problem, RECIPES[recipe], steps=STEPS, batch=BATCH, seed=SEED, checkpoints=(), start=run.checkpoint(at))
    assert child.steps == [at, STEPS]
    for name, value in run.checkpoint(STEPS).parameters.items():
        assert torch.equal(value, child.checkpoint(STEPS).parameters[name])
    for name, slots in run.checkpoint(STEPS).optimizer_state.items():
        for slot, value in slots.items():
            assert torch.equal(value, child.checkpoint(STEPS).optimizer_state[name][slot])


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_another_stream_gives_another_end_and_the_same_start(recipe: str) -> None:
    run = parent(recipe)
    ends = []
    for seed in (SEED, SEED.child("a"), SEED.child("a"), SEED.child("b")):
        child = train(run.problem, RECIPES[recipe], steps=STEPS, batch=BATCH, seed=seed, checkpoints=(), start=run.checkpoint(5))
        assert torch.equal(child.problem_at(5).network.flat, run.problem_at(5).network.flat)
        ends.append(child.problem_at(STEPS).network.flat)
    assert torch.equal(ends[1], ends[2])
    assert not torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[1], ends[3])


def test_a_start_at_the_end_trains_nothing() -> None:
    recipe = sorted(RECIPES)[0]
    run = parent(recipe)
    last = run.checkpoint(STEPS)
    child = train(run.problem, RECIPES[recipe], steps=STEPS, batch=BATCH, seed=SEED.child("x"), start=last)
    assert child.steps == [STEPS]
    assert torch.equal(child.problem_at(STEPS).network.flat, run.problem_at(STEPS).network.flat)
    with pytest.raises(InputError, match="must not lie before the start"):
        train(run.problem, RECIPES[recipe], steps=STEPS - 1, batch=BATCH, start=last)


def test_a_killed_child_is_taken_up(tmp_path: Path) -> None:
    recipe = sorted(RECIPES)[0]
    run = parent(recipe)
    options = {"steps": STEPS, "batch": BATCH, "seed": SEED.child("c"), "checkpoints": (5, 9), "start": run.checkpoint(5)}
    whole = train(run.problem, RECIPES[recipe], **options)

    def killed(step: int, total: int) -> None:
        if step == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run.problem, RECIPES[recipe], store=tmp_path, progress=killed, **options)
    again = train(run.problem, RECIPES[recipe], store=tmp_path, **options)
    assert torch.equal(again.problem_at(STEPS).network.flat, whole.problem_at(STEPS).network.flat)


def test_other_data_or_batches_are_refused() -> None:
    recipe = sorted(RECIPES)[0]
    run = parent(recipe)
    with pytest.raises(InputError, match="another training data"):
        train(run.problem.subset(slice(0, 15)), RECIPES[recipe], steps=STEPS, batch=BATCH, start=run.checkpoint(5))
    with pytest.raises(InputError, match="another batch size"):
        train(run.problem, RECIPES[recipe], steps=STEPS, batch=BATCH + 1, start=run.checkpoint(5))


def test_augmentation_sees_every_batch_with_its_own_seed() -> None:
    recipe = sorted(RECIPES)[0]
    plain, seen = parent(recipe), []

    def identity(inputs: torch.Tensor, seed: Seed) -> torch.Tensor:
        seen.append(str(seed))
        return inputs

    same = parent(recipe, augment=identity)
    assert torch.equal(same.problem_at(STEPS).network.flat, plain.problem_at(STEPS).network.flat)
    assert len(set(seen)) == len(seen) == STEPS
    other = parent(recipe, augment=lambda inputs, seed: inputs + 0.1)
    assert not torch.equal(other.problem_at(STEPS).network.flat, plain.problem_at(STEPS).network.flat)
