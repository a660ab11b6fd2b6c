"""The verb `isthmus grow`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from isthmus._core.errors import InputError
from isthmus.cli.place import problem_at, save_parameters
from isthmus.embedding import Compatible, predict_inertia
from isthmus.embedding import grow as widened
from isthmus.embedding.grow import Grown


def grow(
    target: str,
    layer: str,
    *more: str,
    add: int = 1,
    how: Literal["split", "null", "compatible"] = "split",
    unit: list[int] | None = None,
    alpha: float | None = None,
    predict: Annotated[bool, Parameter(negative="")] = False,
    checkpoint: Path | None = None,
    seed: int = 0,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Add units to layers without changing the outputs; with --predict also the inertia afterwards (small networks).

    Parameters
    ----------
    target
        FILE.py:function that returns an isthmus.Problem.
    layer
        The layer whose units are added, e.g. 0 or blocks.1.up.
    more
        Further layers, which grow by as many units each.
    add
        How many.
    how
        split a unit, add null units, or split with free mixing between all grown layers (compatible).
    unit
        Which unit to split (repeat the option), one for each new unit; the strongest by default.
    alpha
        Share of the clone (0.5), or bias of a null unit (0).
    predict
        Inertia and verdict after growth by split or null units, from the small network alone.
    checkpoint
        Take the parameters from this checkpoint.
    seed
        Names the random mixing of --how compatible.
    out
        Folder for a checkpoint of the grown network.
    as_json
        Print JSON.
    """
    if predict and how == "compatible":
        raise InputError(
            "--predict knows split and null units; the inertia of mixed copies does not follow from one unit's matrices."
        )
    problem = problem_at(target, checkpoint)
    grown = widened(problem, dict.fromkeys((layer, *more), add), how=how, units=unit, alpha=alpha, seed=seed)
    found = {
        "layers": _layers(grown),
        "output_difference": grown.difference,
        "stays_critical": grown.critical,
        "notes": list(grown.notes),
    }
    if predict:
        record = predict_inertia(problem, [g for g in grown.growths if not isinstance(g, Compatible)])
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


def _layers(grown: Grown) -> dict[str, dict]:
    """What was added to each layer, as plain data."""
    found: dict[str, dict] = {}
    for growth in grown.growths:
        if isinstance(growth, Compatible):
            found |= {name: {"origins": growth.origins[name], "shares": growth.share(name)} for name in growth.layers}
        else:
            found[growth.layer] = {"splits": {str(k): w for k, w in growth.splits.items()}, "nulls": growth.nulls}
    return found
