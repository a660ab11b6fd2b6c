"""Saving is all or nothing, whatever fails on the way."""

import os
from pathlib import Path

import numpy as np
import pytest

from isthmus._core.errors import InputError
from isthmus.results import record
from isthmus.results.curvature import LossLine
from tests.conformance.records import sample


def line(value: float) -> LossLine:
    base = sample(LossLine)
    return LossLine(**{**base.header(), **{name: np.full(3, value) for name in LossLine.dims}})


def failing(*_: object) -> None:
    raise OSError("no space left on device")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = line(1.0).save(tmp_path / "line.safetensors")
    before = path.read_bytes()
    monkeypatch.setattr(record.os, step, failing)
    with pytest.raises(OSError, match="no space"):
        line(2.0).save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]
    assert LossLine.load(line(2.0).save(path)).train_loss.tolist() == [2.0] * 3


def test_a_failure_of_a_first_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record.os, "fsync", failing)
    with pytest.raises(OSError, match="no space"):
        line(1.0).save(tmp_path / "line.safetensors")
    assert os.listdir(tmp_path) == []


def test_the_data_are_synced_before_the_name_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(record.os, "fsync", lambda fd: (seen.append("sync"), sync(fd)))
    monkeypatch.setattr(record.os, "replace", lambda a, b: (seen.append("replace"), replace(a, b)))
    line(1.0).save(tmp_path / "deep" / "line.safetensors")
    assert seen[:2] == ["sync", "replace"]


def test_layouts_and_views_are_saved_as_their_values(tmp_path: Path) -> None:
    base, grid = sample(LossLine).header(), np.arange(20.0).reshape(5, 4)
    made = LossLine(**{**base, **dict.fromkeys(LossLine.dims, grid[::2, 1])})
    assert LossLine.load(made.save(tmp_path / "a.safetensors")).position.tolist() == [1, 9, 17]
    big = LossLine(**{**base, **dict.fromkeys(LossLine.dims, grid[0].astype(">f8"))})
    assert LossLine.load(big.save(tmp_path / "b.safetensors")).position.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("value", [[1.0, 2.0, 3.0], np.zeros((3, 1)), np.float64(1.0)])
def test_a_field_that_is_no_array_of_its_dims_is_refused(value: object) -> None:
    good = line(0.0)
    with pytest.raises(InputError, match=r"LossLine\.train_error must be a numpy array with dims \('a',\)"):
        LossLine(**{**good.header(), **good.arrays(), "train_error": value})
    with pytest.raises(InputError, match="dimension 'a' has length 4, elsewhere 3"):
        LossLine(**{**good.header(), **good.arrays(), "train_error": np.zeros(4)})
