"""Every registered record: round trip bit for bit, and nothing but a clear refusal for damaged or foreign files."""

import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from functools import cache
from pathlib import Path

import hypothesis
import msgspec
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from isthmus._core.errors import InputError
from isthmus.results.catalog import KINDS, load_record
from isthmus.results.record import Record, read_schema
from tests.conformance.records import records, sample

fixed = cache(sample)
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
few = hypothesis.settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def unpack(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """The JSON header and the arrays, by safetensors alone."""
    with safetensors.safe_open(path, framework="numpy") as file:
        return msgspec.json.decode(file.metadata()["isthmus"]), safetensors.numpy.load_file(path)


def pack(path: Path, head: object, arrays: dict[str, np.ndarray]) -> None:
    metadata = {"isthmus": msgspec.json.encode(head).decode()}
    path.write_bytes(safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, metadata=metadata))


def check_refused(path: Path, kind: type[Record]) -> str:
    """Both ways of reading refuse with one error, and say which file."""
    messages = []
    for read in (kind.load, load_record):
        with pytest.raises(InputError) as caught:
            read(path)
        messages.append(str(caught.value))
        assert str(path) in messages[-1]
    return messages[0]


@each_kind
def test_round_trip_is_bit_for_bit(kind: type[Record], tmp_path: Path) -> None:
    @few
    @given(records(kind))
    def check(made: Record) -> None:
        path = made.save(tmp_path / "record.safetensors")
        for back in (kind.load(path), load_record(path)):
            assert type(back) is kind
            assert repr(back.header()) == repr(made.header())
            for name, array in made.arrays().items():
                assert back.arrays()[name].dtype == array.dtype
                assert back.arrays()[name].shape == array.shape
                assert back.arrays()[name].tobytes() == array.tobytes()
            assert made.same_numbers(back)
        assert read_schema(path) == kind.schema

    check()


@each_kind
def test_a_record_is_frozen_and_says_what_it_holds(kind: type[Record]) -> None:
    made = fixed(kind)
    with pytest.raises(FrozenInstanceError):
        made.method = "another"
    for array in made.arrays().values():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    text = made.summary()
    assert kind.schema in text
    assert all(name in text for name in kind.dims)


@each_kind
def test_a_file_cut_anywhere_is_refused(kind: type[Record], tmp_path: Path) -> None:
    data = fixed(kind).save(tmp_path / "whole.safetensors").read_bytes()
    for length in sorted({0, 1, 7, 8, 9, len(data) - 1, *range(0, len(data), max(1, len(data) // 16))}):
        cut = tmp_path / "cut.safetensors"
        cut.write_bytes(data[:length])
        check_refused(cut, kind)


@each_kind
def test_a_flipped_header_byte_never_escapes_as_another_error(kind: type[Record], tmp_path: Path) -> None:
    data = bytearray(fixed(kind).save(tmp_path / "whole.safetensors").read_bytes())
    path = tmp_path / "flipped.safetensors"
    for position in range(0, 8 + int.from_bytes(data[:8], "little"), 29):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 7
        path.write_bytes(damaged)
        try:
            assert isinstance(kind.load(path), kind)
        except InputError as fault:
            assert str(path) in str(fault)


TAMPERINGS: dict[str, Callable[[dict, dict], object]] = {
    "unknown kind": lambda head, arrays: head | {"schema": "somebody/else"},
    "no kind": lambda head, arrays: {k: v for k, v in head.items() if k != "schema"},
    "later format": lambda head, arrays: head | {"format": 2},
    "no format": lambda head, arrays: {k: v for k, v in head.items() if k != "format"},
    "a field less": lambda head, arrays: head | {"fields": {k: v for k, v in head["fields"].items() if k != "method"}},
    "a field more": lambda head, arrays: head | {"fields": head["fields"] | {"another": 1}},
    "wrong type": lambda head, arrays: head | {"fields": head["fields"] | {"method": [1, 2]}},
    "unknown status": lambda head, arrays: head | {"fields": head["fields"] | {"status": "splendid"}},
    "fields are null": lambda head, arrays: head | {"fields": None},
    "fields are a list": lambda head, arrays: head | {"fields": [1, "status"]},
    "fields are a number": lambda head, arrays: head | {"fields": 7},
    "header is a list": lambda head, arrays: [head],
    "header is a number": lambda head, arrays: 3,
    "an array more": lambda head, arrays: (arrays.update(another=np.zeros(2)), head)[1],
}


@pytest.mark.parametrize("name", TAMPERINGS)
@each_kind
def test_a_tampered_header_is_refused(kind: type[Record], name: str, tmp_path: Path) -> None:
    head, arrays = unpack(fixed(kind).save(tmp_path / "record.safetensors"))
    path = tmp_path / "tampered.safetensors"
    pack(path, TAMPERINGS[name](head, arrays), arrays)
    check_refused(path, kind)


@each_kind
def test_arrays_with_other_dims_are_refused(kind: type[Record], tmp_path: Path) -> None:
    head, arrays = unpack(fixed(kind).save(tmp_path / "record.safetensors"))
    path = tmp_path / "tampered.safetensors"
    for name, dims in kind.dims.items():
        others = {k: v for k, v in arrays.items() if k != name}
        pack(path, head, others)
        check_refused(path, kind)
        pack(path, head, others | {name: arrays[name][None]})
        assert name in check_refused(path, kind)
        shared = [axis for axis, dim in enumerate(dims) if sum(d.count(dim) for d in kind.dims.values()) > 1]
        for axis in shared:
            pack(path, head, others | {name: np.repeat(arrays[name], 2, axis=axis)})
            assert "dimension" in check_refused(path, kind)


@each_kind
def test_another_kind_is_refused_by_name(kind: type[Record], tmp_path: Path) -> None:
    path = fixed(kind).save(tmp_path / "record.safetensors")
    other = next(k for k in KINDS.values() if k is not kind)
    with pytest.raises(InputError, match=f"{kind.schema}.*{other.schema}"):
        other.load(path)


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("write", [pickle.dump, lambda trap, file: torch.save({"trap": trap}, file)])
def test_a_pickle_is_refused_and_not_executed(write: Callable, tmp_path: Path) -> None:
    path, sprung = tmp_path / "record.safetensors", tmp_path / "sprung"
    with open(path, "wb") as file:
        write(Trap(sprung), file)
    check_refused(path, next(iter(KINDS.values())))
    assert not sprung.exists()
    with open(path, "rb") as file:
        (pickle.load if write is pickle.dump else lambda f: torch.load(f, weights_only=False))(file)
    assert sprung.exists(), "the trap works"


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    kind, path = next(iter(KINDS.values())), tmp_path / "x.safetensors"
    assert "does not exist" in check_refused(path, kind)
    check_refused(tmp_path, kind)
    for content in (b"", b"hello", b"\x00" * 64, (2**62).to_bytes(8, "little") + b"{}"):
        path.write_bytes(content)
        check_refused(path, kind)
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
    assert "not an isthmus record" in check_refused(path, kind)
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path, metadata={"isthmus": "{"})
    assert "not an isthmus record" in check_refused(path, kind)


@each_kind
def test_a_dtype_that_numpy_does_not_know_is_refused(kind: type[Record], tmp_path: Path) -> None:
    if not kind.dims:
        return
    head, arrays = unpack(fixed(kind).save(tmp_path / "record.safetensors"))
    path = tmp_path / "tampered.safetensors"
    tensors = {k: torch.zeros(v.shape, dtype=torch.bfloat16) for k, v in arrays.items()}
    safetensors.torch.save_file(tensors, path, metadata={"isthmus": msgspec.json.encode(head).decode()})
    check_refused(path, kind)


@given(st.integers(0, 3), st.floats(), st.floats())
def test_same_numbers_compares_bits_and_not_costs(axis: int, one: float, other: float) -> None:
    kind = KINDS["curvature/line"]
    base = {**fixed(kind).header(), **{name: np.full(4, one) for name in kind.dims}}
    changed = np.full(4, one)
    changed[axis] = other
    same = np.float64(one).tobytes() == np.float64(other).tobytes()
    assert kind(**base).same_numbers(kind(**base | {"train_loss": changed})) == same
    assert kind(**base).same_numbers(kind(**base | {"cost": type(base["cost"])(seconds=9.0)}))
    assert not kind(**base).same_numbers(kind(**base | {"method": base["method"] + "!"}))
