"""The verb `isthmus certify`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from isthmus.cli.place import problem_at
from isthmus.cli.show import show
from isthmus.curvature import certify as certificate
from isthmus.curvature import polish as polished


def certify(
    target: str,
    *,
    polish: Literal["no", "critical", "minimum"] = "no",
    tolerance: float = 1e-10,
    checkpoint: Path | None = None,
    seed: int = 0,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Say what kind of critical point a small network stands at: gradient, inertia, label; in float64.

    Parameters
    ----------
    target
        FILE.py:function that returns an isthmus.Problem.
    polish
        First go to the nearest critical point, or down to a minimum.
    tolerance
        Gradient norm up to which the point counts as critical.
    checkpoint
        Take the parameters from this checkpoint.
    seed
        Names the random draws.
    out
        Save the record here (.safetensors).
    as_json
        Print JSON.
    """
    problem = problem_at(target, checkpoint)
    if polish != "no":
        moved = polished(problem, toward=polish)
        problem = moved.problem
        sys.stderr.write(f"polished: moved by {moved.moved:.3g} in {moved.steps} steps, |grad| = {moved.gradient_norm:.2g}\n")
    record = certificate(problem, tolerance=tolerance, seed=seed)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        sys.stdout.write(f"{record.label}: {record.reason}\n")
    return 1 if record.label == "not critical" else code
