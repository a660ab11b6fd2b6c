"""The verb `isthmus hessian`."""

import sys
from typing import Annotated, Literal

import torch
from cyclopts import Parameter

from isthmus.cli.options import AtCheckpoint, Json, Out, SeedNumber, Target
from isthmus.cli.place import first_samples, problem_at
from isthmus.cli.show import show
from isthmus.curvature import hessian_eigenvalues, spectral_density


def hessian(
    target: Target,
    *,
    k: Annotated[int, Parameter(name=["-k", "--count"])] = 5,
    rtol: float = 1e-3,
    matrix: Literal["hessian", "ggn"] = "hessian",
    density: Annotated[bool, Parameter(negative="")] = False,
    samples: int | None = None,
    checkpoint: AtCheckpoint = None,
    seed: SeedNumber = 0,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """The largest eigenvalues of the loss's Hessian, or its spectral density; in float64.

    Parameters
    ----------
    k
        How many eigenvalues.
    rtol
        Residual tolerance relative to the largest one.
    matrix
        hessian, or ggn for the Gauss-Newton matrix.
    density
        The spectral density instead of eigenvalues.
    samples
        Only the first training samples.
    """
    problem = problem_at(target, checkpoint).to(torch.float64)
    problem = problem if samples is None else first_samples(problem, samples)
    if density:
        return show(spectral_density(problem, matrix=matrix, seed=seed), as_json=as_json, out=out)
    record = hessian_eigenvalues(problem, k, rtol=rtol, matrix=matrix, seed=seed)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        for value, residual, sure in zip(record.values, record.residuals, record.converged, strict=True):
            flag = "" if sure else "  (not converged)"
            sys.stdout.write(f"  {value:14.8g}  residual {residual:.1e}{flag}\n")
    return code
