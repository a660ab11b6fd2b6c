"""Checkpoint files: round trip, and refusal of everything else without executing it."""

import pickle
from pathlib import Path

import msgspec
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from isthmus._core.errors import InputError
from isthmus.model.problem import Problem
from isthmus.training import Checkpoint, open_trajectory, train
from isthmus.training.checkpoints import checkpoint_path, stored_steps
from tests.results.test_conformance import Trap
from tests.training.recipes import BATCH, RECIPES, noisy_problem

names = st.from_regex(r"[a-z_]+(\.[a-z0-9_]+){0,2}", fullmatch=True)
tensors = st.builds(
    lambda shape, dtype, seed: torch.randint(-99, 99, shape, generator=torch.Generator().manual_seed(seed)).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool]),
    st.integers(0, 99),
)
groups = st.dictionaries(names, tensors, max_size=3)


@given(groups, groups, st.dictionaries(names, groups.filter(bool), max_size=2), st.integers(0, 10**8 - 1), st.integers(1, 999))
def test_round_trip(tmp_path_factory, parameters: dict, buffers: dict, state: dict, step: int, per_epoch: int) -> None:
    made = Checkpoint(
        step=step, steps_per_epoch=per_epoch, parameters=parameters, buffers=buffers, optimizer_state=state,
        param_groups=[{"lr": 0.1, "betas": [0.9, 0.999], "params": ["a"], "foreach": None}], scheduler={"last_epoch": 3},
        rng=torch.get_rng_state(), sampler={"seed": "0/a", "batch": 5}, module_hash="m", data_hash="d",
    )  # fmt: skip
    back = Checkpoint.load(made.save(tmp_path_factory.mktemp("round")))
    assert (back.step, back.steps_per_epoch, back.epoch) == (step, per_epoch, step / per_epoch)
    for field in ("param_groups", "scheduler", "sampler", "module_hash", "data_hash"):
        assert getattr(back, field) == getattr(made, field)
    assert torch.equal(back.rng, made.rng)
    for mine, theirs in ((parameters, back.parameters), (buffers, back.buffers), *zip(*aligned(state, back), strict=True)):
        assert set(mine) == set(theirs)
        for name, tensor in mine.items():
            assert theirs[name].dtype == tensor.dtype
            assert torch.equal(theirs[name], tensor)


def aligned(state: dict, back: Checkpoint) -> tuple[list, list]:
    assert set(state) == set(back.optimizer_state)
    return list(state.values()), [back.optimizer_state[name] for name in state]


def stored(folder: Path) -> Path:
    train(noisy_problem(), RECIPES["adam"], steps=3, batch=BATCH, store=folder)
    return checkpoint_path(folder, 3)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path)
    data = path.read_bytes()
    for length in {0, 7, 8, 100, len(data) // 2, len(data) - 1}:
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="truncated or not a safetensors file"):
            Checkpoint.load(path)


def test_foreign_files_are_refused_and_nothing_runs(tmp_path: Path) -> None:
    path, sprung = tmp_path / "00000001.safetensors", tmp_path / "sprung"
    with open(path, "wb") as file:
        pickle.dump(Trap(sprung), file)
    with pytest.raises(InputError, match="not a safetensors file"):
        Checkpoint.load(path)
    torch.save({"trap": Trap(sprung)}, path)
    with pytest.raises(InputError, match="not a safetensors file"):
        Checkpoint.load(path)
    assert not sprung.exists()
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="not an isthmus checkpoint"):
        Checkpoint.load(path)
    with pytest.raises(InputError, match="does not exist"):
        Checkpoint.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head | {"format": 99},
        lambda head: {k: v for k, v in head.items() if k != "sampler"},
        lambda head: [head],
        lambda head: None,
        lambda head: head | {"step": "many"},
        lambda head: head | {"step": None},
        lambda head: head | {"param_groups": 3},
    ],
)
def test_a_tampered_header_is_refused(change, tmp_path: Path) -> None:
    path = stored(tmp_path)
    with safetensors.safe_open(path, framework="pt") as file:
        head = msgspec.json.decode(file.metadata()["isthmus.checkpoint"])
    metadata = {"isthmus.checkpoint": msgspec.json.encode(change(head)).decode()}
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata=metadata)
    with pytest.raises(InputError, match=str(path)):
        Checkpoint.load(path)


def test_a_folder_of_another_network_is_refused_by_parameter(tmp_path: Path) -> None:
    stored(tmp_path)
    problem = noisy_problem()
    wider = nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.3), nn.Linear(9, 3))
    with pytest.raises(InputError, match=r"'0\.weight' has shape \(8, 4\) there and \(9, 4\) in this network"):
        open_trajectory(tmp_path, Problem(wider, problem.inputs, problem.targets, nn.CrossEntropyLoss()))
    with pytest.raises(InputError, match="absent"):
        open_trajectory(tmp_path, Problem(nn.Linear(4, 3), problem.inputs, problem.targets, nn.CrossEntropyLoss()))


def test_an_empty_or_missing_folder_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="holds no checkpoints"):
            open_trajectory(folder, noisy_problem())


def test_only_numbered_files_count(tmp_path: Path) -> None:
    stored(tmp_path)
    (tmp_path / "notes.safetensors").write_bytes(b"")
    (tmp_path / ".00000007.safetensors.1.tmp").write_bytes(b"")
    assert stored_steps(tmp_path) == [0, 1, 2, 3]
    assert open_trajectory(tmp_path, noisy_problem()).steps == [0, 1, 2, 3]
