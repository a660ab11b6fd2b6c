"""The verb `isthmus certify`."""

import sys
from typing import Literal

from isthmus.cli.options import AtCheckpoint, Json, Out, SeedNumber, Target
from isthmus.cli.place import problem_at
from isthmus.cli.show import show
from isthmus.curvature import certify as certificate
from isthmus.curvature import polish as polished


def certify(
    target: Target,
    *,
    polish: Literal["no", "critical", "minimum"] = "no",
    tolerance: float = 1e-10,
    checkpoint: AtCheckpoint = None,
    seed: SeedNumber = 0,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """Say what kind of critical point a small network stands at: gradient, inertia, label; in float64.

    Parameters
    ----------
    polish
        First go to the nearest critical point, or down to a minimum.
    tolerance
        Gradient norm up to which the point counts as critical.
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
