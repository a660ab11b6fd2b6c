"""A run that is killed and taken up again ends bit-equal to one that was not."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from isthmus._core.errors import InputError
from isthmus.model.problem import Problem
from isthmus.training import train
from tests.training.recipes import BATCH, EPOCHS, PER_EPOCH, RECIPES, TOTAL, noisy_problem

EVERY = tuple(range(0, TOTAL + 1, 3))


class Killed(Exception):
    pass


def killed_at(step: int):
    def progress(done: int, total: int) -> None:
        if done == step:
            raise Killed

    return progress


def run(store: Path, recipe: str = "momentum", *, kill: int | None = None, problem: Problem | None = None, **options):
    options = {"epochs": EPOCHS, "batch": BATCH, "seed": 7, "checkpoints": EVERY} | options
    watch = killed_at(kill) if kill is not None else None
    return train(problem or noisy_problem(), RECIPES[recipe], store=store, progress=watch, **options)


def files(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(store.iterdir())}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_file_is_bit_equal_after_a_kill(recipe: str, tmp_path: Path) -> None:
    run(tmp_path / "whole", recipe)
    with pytest.raises(Killed):
        run(tmp_path / "cut", recipe, kill=17)
    assert len(files(tmp_path / "cut")) < len(files(tmp_path / "whole"))
    run(tmp_path / "cut", recipe)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.parametrize("kills", [(1,), (PER_EPOCH,), (PER_EPOCH + 1,), (TOTAL - 1,), (2, 8, 8, 20, 29)])
def test_when_and_how_often_it_is_killed_does_not_matter(kills: tuple[int, ...], tmp_path: Path) -> None:
    run(tmp_path / "whole")
    for kill in kills:
        with pytest.raises(Killed):
            run(tmp_path / "cut", kill=kill)
    run(tmp_path / "cut")
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_kill_while_a_checkpoint_is_written_leaves_only_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.results import record

    run(tmp_path / "whole")
    real, calls = record.os.replace, []

    def replace(source: object, target: object) -> None:
        calls.append(target)
        if len(calls) == 5:
            raise Killed
        real(source, target)

    monkeypatch.setattr(record.os, "replace", replace)
    with pytest.raises(Killed):
        run(tmp_path / "cut")
    monkeypatch.undo()
    assert sorted(files(tmp_path / "cut")) == [f"{step:08d}.safetensors" for step in EVERY[:4]]
    run(tmp_path / "cut")
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_in_memory_and_on_disk_are_the_same_run(tmp_path: Path) -> None:
    stored = run(tmp_path)
    kept = train(noisy_problem(), RECIPES["momentum"], epochs=EPOCHS, batch=BATCH, seed=7, checkpoints=EVERY)
    assert kept.steps == stored.steps
    for step in kept.steps:
        one, other = kept.checkpoint(step), stored.checkpoint(step)
        assert one.param_groups == other.param_groups
        for part in ("parameters", "buffers"):
            mine, theirs = getattr(one, part), getattr(other, part)
            assert set(mine) == set(theirs)
            assert all(torch.equal(v, theirs[k]) for k, v in mine.items())
        assert torch.equal(one.rng, other.rng)


def test_a_finished_run_is_read_and_not_trained_again(tmp_path: Path) -> None:
    run(tmp_path)
    steps = []
    again = train(
        noisy_problem(), RECIPES["momentum"], epochs=EPOCHS, batch=BATCH, seed=7, checkpoints=EVERY, store=tmp_path,
        progress=lambda done, total: steps.append(done),
    )  # fmt: skip
    assert steps == [TOTAL]
    assert again.steps == list(EVERY)


def test_a_run_can_be_made_longer(tmp_path: Path) -> None:
    run(tmp_path / "long")
    run(tmp_path / "grown", epochs=EPOCHS // 2, checkpoints=EVERY[:6])
    run(tmp_path / "grown")
    assert set(files(tmp_path / "long").items()) <= set(files(tmp_path / "grown").items())


def other_data() -> Problem:
    problem = noisy_problem()
    return Problem(problem.network, problem.inputs + 1, problem.targets, nn.CrossEntropyLoss())


def other_width() -> Problem:
    problem = noisy_problem()
    return Problem(nn.Linear(4, 3), problem.inputs, problem.targets, nn.CrossEntropyLoss())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 8}, "its seed is '7'"),
        ({"batch": 4}, "its batch is 5"),
        ({"problem": other_data()}, "its data is"),
        ({"problem": other_width()}, "another network"),
        ({"recipe": "sgd"}, "its momentum in parameter group 0 is 0.9, this run's is 0"),
        ({"recipe": "adam"}, "its lr in parameter group 0 is 0.1, this run's is 0.01"),
        ({"recipe": "step"}, "its scheduler's step_size is None, this run's is 2"),
    ],
    ids=["seed", "batch", "data", "network", "momentum", "optimizer", "scheduler"],
)
def test_another_run_s_folder_is_refused_and_left_alone(changes: dict, words: str, tmp_path: Path) -> None:
    run(tmp_path)
    before = files(tmp_path)
    with pytest.raises(InputError, match=words):
        run(tmp_path, **changes)
    assert files(tmp_path) == before


def test_a_changed_learning_rate_is_not_ignored(tmp_path: Path) -> None:
    train(noisy_problem(), partial(SGD, lr=0.1), steps=4, store=tmp_path)
    with pytest.raises(InputError, match=r"its lr in parameter group 0 is 0\.1, this run's is 0\.2"):
        train(noisy_problem(), partial(SGD, lr=0.2), steps=8, store=tmp_path)


def test_what_needs_more_than_a_step_is_refused_at_once() -> None:
    def plateau(params):
        optimizer = Adam(params)
        return optimizer, torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)

    for factory in (torch.optim.LBFGS, plateau):
        with pytest.raises(InputError, match="closure or a metric"):
            train(noisy_problem(), factory, steps=1)
