"""The verb `isthmus census`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from isthmus.cli.place import problem_at
from isthmus.cli.show import show
from isthmus.embedding import census as searched


def census(
    target: str,
    *,
    width: Annotated[list[int] | None, Parameter(name=["--width", "-w"])] = None,
    starts: list[int] | None = None,
    seed: int = 0,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Search the critical points of a two-layer network at several widths, and say which come from narrower ones.

    Parameters
    ----------
    target
        FILE.py:function that returns an isthmus.Problem with a network Linear, activation, Linear.
    width
        Hidden widths (repeat the option); 1, 2, 3 by default.
    starts
        Searches for each width (repeat the option).
    seed
        Names the starts.
    out
        Save the record here (.safetensors).
    as_json
        Print JSON.
    """
    record = searched(problem_at(target), width or (1, 2, 3), starts=starts, seed=seed)
    if as_json:
        return show(record, as_json=True, out=out)
    if out is not None:
        record.save(out)
    table = Table(
        "class", "width", f"loss ({record.loss_name})", "inertia", "hits", "units", "image of", box=None, pad_edge=False
    )
    for i in range(len(record.loss)):
        inertia = "(" + ", ".join(map(str, record.inertia[i])) + ")" + ("" if record.resolved[i] else " unresolved")
        parent = "" if record.parent[i] < 0 else f"class {record.parent[i]}"
        table.add_row(
            str(i), str(record.width[i]), f"{record.loss[i]:.12g}", inertia, str(record.hits[i]), record.kinds[i], parent
        )
    Console(file=sys.stdout).print(table)
    found = ", ".join(f"{c} of {s} at width {w}" for w, s, c in zip(record.widths, record.starts, record.converged, strict=True))
    sys.stdout.write(f"searches that ended at a critical point: {found}; {record.error}\n")
    return 0
