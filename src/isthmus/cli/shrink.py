"""The verb `isthmus shrink`."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from isthmus.cli.place import problem_at, save_parameters
from isthmus.embedding import shrink as narrowed


def shrink(
    target: str,
    *,
    layer: list[str] | None = None,
    tolerance: float = 1e-6,
    checkpoint: Path | None = None,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Join units that do the same thing, drop those without output, and refit what is not exact.

    Parameters
    ----------
    target
        FILE.py:function that returns an isthmus.Problem.
    layer
        Only these layers (repeat the option).
    tolerance
        Relative distance of a unit's own parameters up to which units are joined.
    checkpoint
        Take the parameters from this checkpoint.
    out
        Folder for a checkpoint of the narrow network.
    as_json
        Print JSON.
    """
    found = narrowed(problem_at(target, checkpoint), layer, tolerance=tolerance)
    kinds = Counter(merge.kind for merge in found.merges)
    words = {
        "widths": {name: list(pair) for name, pair in found.widths.items()},
        "removed": dict(kinds),
        "output_difference": found.difference,
        "exact": found.exact,
        "loss_before": found.loss_before,
        "loss_after": found.loss_after,
        "agreement": found.agreement,
    }
    if out is not None:
        words["checkpoint"] = str(save_parameters(found.problem.network, out))
    if as_json:
        sys.stdout.write(json.dumps(words) + "\n")
    else:
        for name, value in words.items():
            sys.stdout.write(f"{name.replace('_', ' ')}: {value}\n")
    return 0
