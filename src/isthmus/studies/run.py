"""A run on disk: one folder with `run.json`, checkpoints and records, every file written in one piece."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from isthmus._core.errors import InputError
from isthmus.results.record import TEMPORARY, Record, read_schema, write_atomically

FORMAT = 1
IDENTITY = ("task", "module_hash", "data_hash", "seed", "epochs", "batch", "optimizer", "loss", "scale", "checkpoints")


@dataclass(frozen=True)
class RunDirectory:
    """Paths and bookkeeping of one run."""

    path: Path

    def start(self, description: dict[str, Any]) -> None:
        """Create the folder, or take up the run that is in it and clear what a killed process left half-written.

        A run folder belongs to one process at a time.

        Raises:
            InputError: the folder holds a run of something else, or files that are not a run's.
        """
        file = self.path / "run.json"
        if file.exists():
            self._require_same(self.description(), description)
            for leftover in self.path.rglob(f".*{TEMPORARY}"):
                leftover.unlink()
            return
        if self.path.exists() and any(not name.startswith(".") for name in os.listdir(self.path)):
            raise InputError(f"{self.path} is not empty and holds no run.json. Name another folder with --out.")
        self._write({"format": FORMAT, **description, "costs": {}})

    def description(self) -> dict[str, Any]:
        """The content of `run.json`.

        Raises:
            InputError: it is missing or not a run's.
        """
        file = self.path / "run.json"
        try:
            content = msgspec.json.decode(file.read_bytes())
        except FileNotFoundError as fault:
            raise InputError(f"{self.path} holds no run.json; it is not the folder of a survey.") from fault
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            raise InputError(f"{file} is damaged ({fault}). Delete the folder and run the survey again.") from fault
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(f"{file} was written by another version of isthmus; run the survey again.")
        return content

    def record_path(self, name: str) -> Path:
        """Where the record ``<kind>/<name>`` lies."""
        return self.path / "records" / f"{name}.safetensors"

    def has(self, name: str) -> bool:
        """Whether the record is there and readable; a damaged one counts as absent."""
        try:
            read_schema(self.record_path(name))
        except InputError:
            return False
        return True

    def save(self, name: str, record: Record) -> None:
        """Write a record in one piece."""
        record.save(self.record_path(name))

    def add_cost(self, stage: str, wall: float, cpu: float) -> None:
        """Add seconds to a stage; a stage done in several sittings adds up."""
        content = self.description()
        old = content["costs"].get(stage, {"wall_s": 0.0, "cpu_s": 0.0})
        content["costs"][stage] = {"wall_s": old["wall_s"] + wall, "cpu_s": old["cpu_s"] + cpu}
        self._write(content)

    def update(self, **changes: Any) -> None:
        """Set entries of `run.json` that are not part of the run's identity."""
        self._write({**self.description(), **changes})

    def _write(self, content: dict[str, Any]) -> None:
        write_atomically(self.path / "run.json", msgspec.json.format(msgspec.json.encode(content), indent=2))

    def _require_same(self, found: dict[str, Any], asked: dict[str, Any]) -> None:
        for key in IDENTITY:
            if found.get(key) != asked.get(key):
                raise InputError(
                    f"{self.path} holds a run with {key} = {found.get(key)!r}; this one has {asked.get(key)!r}. Name another "
                    "folder with --out, or delete that one."
                )
