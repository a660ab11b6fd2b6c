"""The verb `isthmus grow`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from isthmus.cli.place import problem_at, save_parameters
from isthmus.embedding import grow as widened
from isthmus.embedding import predict_inertia


def grow(
    target: str,
    layer: str,
    *,
    add: int = 1,
    how: Literal["split", "null"] = "split",
    unit: list[int] | None = None,
    alpha: float | None = None,
    predict: Annotated[bool, Parameter(negative="")] = False,
    checkpoint: Path | None = None,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Add units to a layer without changing the outputs; with --predict also the inertia afterwards (small networks).

    Parameters
    ----------
    target
        FILE.py:function that returns an isthmus.Problem.
    layer
        The layer whose units are added, e.g. 0 or blocks.1.up.
    add
        How many.
    how
        split a unit, or add null units.
    unit
        Which unit to split (repeat the option), one for each new unit; the strongest by default.
    alpha
        Share of the clone (0.5), or bias of a null unit (0).
    predict
        Inertia and verdict after growth, from the small network alone.
    checkpoint
        Take the parameters from this checkpoint.
    out
        Folder for a checkpoint of the grown network.
    as_json
        Print JSON.
    """
    problem = problem_at(target, checkpoint)
    grown = widened(problem, {layer: add}, how=how, units=unit, alpha=alpha)
    found = {
        "layers": {g.layer: {"splits": {str(k): w for k, w in g.splits.items()}, "nulls": g.nulls} for g in grown.growths},
        "output_difference": grown.difference,
        "stays_critical": grown.critical,
        "notes": list(grown.notes),
    }
    if predict:
        record = predict_inertia(problem, grown.growths)
        found |= {"narrow": str(record.narrow), "predicted": str(record.wide), "label": record.label, "reason": record.reason}
        found |= {"shares": list(record.shares)}
    if out is not None:
        found["checkpoint"] = str(save_parameters(grown.network, out))
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        for name, value in found.items():
            sys.stdout.write(f"{name.replace('_', ' ')}: {value}\n")
    return 0
