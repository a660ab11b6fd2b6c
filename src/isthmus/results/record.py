"""The record: a frozen dataclass of numpy arrays, and its one-file format.

A file is a `.safetensors` container: every array field is one tensor, everything else is one JSON object under the
metadata key ``isthmus``. Nothing in a file is ever executed. Reading validates the header against the class's type
hints and the arrays against the declared dimensions.
"""

import math
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self, get_type_hints

import msgspec
import numpy as np
import safetensors
import safetensors.numpy

from isthmus._core.errors import InputError
from isthmus._core.status import Status
from isthmus.results.provenance import Cost, Provenance

FORMAT = 1
TEMPORARY = ".tmp"


@dataclass(frozen=True, kw_only=True)
class Record:
    """Base of every result.

    Subclasses are frozen keyword-only dataclasses. A field annotated `np.ndarray` is an array and must have an entry
    in `dims`; equal dimension names must have equal lengths. Every other field must be plain JSON data. Arrays named in
    `costs` hold seconds and the like: they are kept and not compared.

    Attributes:
        status: how the computation ended.
        method: the method in words, choices included.
        error: what the error bar or bound of the numbers is, in words; None only when they are exact.
        cost: what it cost. Not compared by `same_numbers`.
        provenance: versions, dtype, device, seed, hashes.
    """

    schema: ClassVar[str] = ""
    dims: ClassVar[dict[str, tuple[str, ...]]] = {}
    costs: ClassVar[frozenset[str]] = frozenset()

    status: Status
    method: str
    error: str | None
    cost: Cost
    provenance: Provenance

    def __post_init__(self) -> None:
        lengths: dict[str, int] = {}
        for name, names in self.dims.items():
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.ndim != len(names):
                raise InputError(f"{type(self).__name__}.{name} must be a numpy array with dims {names}, got {_shape(array)}.")
            for dim, length in zip(names, array.shape, strict=True):
                if lengths.setdefault(dim, length) != length:
                    raise InputError(
                        f"{type(self).__name__}.{name}: dimension {dim!r} has length {length}, elsewhere {lengths[dim]}."
                    )
            array.flags.writeable = False

    def arrays(self) -> dict[str, np.ndarray]:
        """The array fields by name."""
        return {name: getattr(self, name) for name in self.dims}

    def header(self) -> dict[str, Any]:
        """Everything that is not an array."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.dims}

    def same_numbers(self, other: "Record") -> bool:
        """Whether every array and every header field agrees bit for bit, cost and versions excepted."""
        if type(self) is not type(other):
            return False
        skip = {"cost", "provenance"}
        mine = {k: v for k, v in self.header().items() if k not in skip}
        theirs = {k: v for k, v in other.header().items() if k not in skip}
        return _plain(mine) == _plain(theirs) and all(
            a.dtype == other.arrays()[k].dtype and a.tobytes() == other.arrays()[k].tobytes()
            for k, a in self.arrays().items()
            if k not in self.costs
        )

    def save(self, path: str | os.PathLike) -> Path:
        """Write the record to `path` atomically (temporary name, fsync, rename)."""
        head = {"format": FORMAT, "schema": self.schema, "fields": _plain(self.header())}
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays().items()}
        data = safetensors.numpy.save(arrays, metadata={"isthmus": msgspec.json.encode(head).decode()})
        return write_atomically(Path(path), data)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Read a record of this class.

        Raises:
            InputError: the file is missing, truncated, foreign, of another kind, or does not match the class.
        """
        path = Path(path)
        head, arrays = _read(path)
        if head.get("schema") != cls.schema:
            raise InputError(f"{path} holds a {head.get('schema')!r} record; {cls.schema!r} was asked for.")
        hints = {k: v for k, v in get_type_hints(cls).items() if k in {f.name for f in fields(cls)} - set(cls.dims)}
        stored = head["fields"]
        if set(stored) != set(hints) or set(arrays) != set(cls.dims):
            odd = (set(stored) ^ set(hints)) | (set(arrays) ^ set(cls.dims))
            raise InputError(
                f"{path}: fields {sorted(odd)} do not match {cls.schema!r}; it was written by another version. Compute it again."
            )
        try:
            values = {name: msgspec.convert(stored[name], hint, strict=False) for name, hint in hints.items()}
        except msgspec.ValidationError as fault:
            raise InputError(f"{path}: its header is not a valid {cls.schema!r} header ({fault}).") from fault
        fields_read: dict[str, Any] = {**values, **arrays}
        try:
            return cls(**fields_read)
        except InputError as fault:
            raise InputError(f"{path} does not hold a whole record: {fault}") from fault

    def summary(self) -> str:
        """One line per field: scalars by value, arrays by shape and range."""
        lines = [f"{type(self).__name__} ({self.schema}) — {self.status.value}", f"  method: {self.method}"]
        if self.error is not None:
            lines.append(f"  error: {self.error}")
        base = {f.name for f in fields(Record)}
        lines += [f"  {k}: {v}" for k, v in self.header().items() if k not in base]
        lines += [f"  {k}: {_shape(v)} {_range(v)}" for k, v in self.arrays().items()]
        return "\n".join(lines)

    def to_xarray(self) -> Any:
        """The arrays as an `xarray.Dataset` with named dims and the header as attributes (extra ``xarray``)."""
        try:
            import xarray  # pyright: ignore[reportMissingImports]
        except ImportError as missing:
            raise InputError("to_xarray needs xarray: pip install 'isthmus[xarray]'.") from missing
        data = {name: (self.dims[name], array) for name, array in self.arrays().items()}
        return xarray.Dataset(data, attrs=msgspec.to_builtins(self.header()))


def read_schema(path: str | os.PathLike) -> str:
    """The schema name of a record file, without its arrays.

    Raises:
        InputError: the file is missing, truncated or not a record.
    """
    return str(_read_head(Path(path))["schema"])


def write_atomically(path: Path, data: bytes) -> Path:
    """Write `data` so that `path` either keeps its old content or has all of the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _plain(value: Any) -> Any:
    """JSON data, with NaN and infinities as strings because JSON has no word for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else _plain(msgspec.to_builtins(value))


def _read_head(path: Path) -> dict[str, Any]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError as fault:
        raise InputError(f"{path} does not exist.") from fault
    except (safetensors.SafetensorError, OSError) as fault:
        raise InputError(
            f"{path} is not a readable record: it is truncated or not a safetensors file ({fault}). "
            "Delete it; the command that wrote it computes it again."
        ) from fault
    try:
        head = msgspec.json.decode(metadata.get("isthmus", ""))
    except msgspec.DecodeError as fault:
        raise InputError(f"{path} is a safetensors file, but not an isthmus record (no valid header).") from fault
    if not isinstance(head, dict) or head.get("format") != FORMAT or not {"schema", "fields"} <= set(head):
        raise InputError(f"{path} has an unknown isthmus format; this version reads format {FORMAT}.")
    if not isinstance(head["fields"], dict):
        raise InputError(f"{path} has a damaged header: its fields are no JSON object. Delete it and compute it again.")
    return head


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    head = _read_head(path)
    try:
        return head, safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, TypeError) as fault:  # TypeError: a dtype that numpy does not know
        raise InputError(f"{path} is truncated or damaged ({fault}). Delete it and compute it again.") from fault


def _shape(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__


def _range(array: np.ndarray) -> str:
    finite = array[np.isfinite(array)] if array.dtype.kind in "fiu" and array.size else np.empty(0)
    return f"in [{finite.min():.6g}, {finite.max():.6g}]" if finite.size else ""
