"""The verb `isthmus ntk`."""

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from isthmus.cli.options import AtCheckpoint, Json, Out, Target
from isthmus.cli.place import first_samples, problem_at
from isthmus.cli.show import show
from isthmus.kernel import Auto, JacobianContraction, Structured, effective_rank, empirical_ntk, label_alignment

_METHODS = {"auto": Auto(), "structured": Structured(), "contraction": JacobianContraction()}


def ntk(
    target: Target,
    *,
    samples: int = 100,
    outputs: Literal["full", "trace"] = "trace",
    method: Literal["auto", "structured", "contraction"] = "auto",
    checkpoint: AtCheckpoint = None,
    out: Out = None,
    plan: Annotated[bool, Parameter(negative="")] = False,
    as_json: Json = False,
) -> int:
    """The empirical tangent kernel on the first training samples.

    Parameters
    ----------
    samples
        How many training samples.
    outputs
        trace: sum over outputs, (n, n); full: (n, c, n, c).
    method
        How it is computed; all ways give the same numbers.
    plan
        Only say what would be done and what it would cost.
    """
    problem = first_samples(problem_at(target, checkpoint), samples)
    if plan:
        sys.stdout.write(f"{_METHODS[method].plan(problem.network, problem.inputs, None, outputs)}\n")
        return 0
    record = empirical_ntk(problem.network, problem.inputs, outputs=outputs, method=_METHODS[method])
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        sys.stdout.write(f"  effective rank: {effective_rank(record):.4g}\n")
        sys.stdout.write(f"  alignment with targets (CKA): {label_alignment(record, problem.targets):.4g}\n")
    return code
