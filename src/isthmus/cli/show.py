"""A record on the terminal: its summary or its JSON header and arrays."""

import json
import sys
from pathlib import Path

import msgspec

from isthmus.results.record import Record


def show(record: Record, *, as_json: bool, out: Path | None) -> int:
    """Print a record, save it when asked, and return the exit code its status deserves."""
    if out is not None:
        record.save(out)
    if as_json:
        arrays = {name: array.tolist() for name, array in record.arrays().items()}
        sys.stdout.write(json.dumps({**msgspec.to_builtins(record.header()), **arrays}) + "\n")
    else:
        sys.stdout.write(record.summary() + "\n")
        if out is not None:
            sys.stdout.write(f"saved: {out}\n")
    return 0 if record.status.ok else 1
