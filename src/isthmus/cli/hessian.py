"""The verb `isthmus hessian`."""

import sys
from typing import Annotated, Literal

import numpy as np
import torch
from cyclopts import Parameter

from isthmus.cli.options import AtCheckpoint, Json, Out, SeedNumber, Target
from isthmus.cli.place import first_samples, problem_at
from isthmus.cli.show import show
from isthmus.curvature import block_eigenvalues, hessian_eigenvalues, spectral_density
from isthmus.results.curvature import BlockEigenvalues


def hessian(
    target: Target,
    *,
    k: Annotated[int, Parameter(name=["-k", "--count"])] = 5,
    rtol: float = 1e-3,
    matrix: Literal["hessian", "ggn"] = "hessian",
    density: Annotated[bool, Parameter(negative="")] = False,
    layers: Annotated[bool, Parameter(negative="")] = False,
    samples: int | None = None,
    checkpoint: AtCheckpoint = None,
    seed: SeedNumber = 0,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """The largest eigenvalues of the loss's Hessian, of each layer's block of it, or its spectral density; in float64.

    Parameters
    ----------
    k
        How many eigenvalues.
    rtol
        Tolerance on each value relative to the largest one.
    matrix
        hessian, or ggn for the Gauss-Newton matrix.
    density
        The spectral density instead of eigenvalues.
    layers
        Eigenvalues and trace of each layer's diagonal block.
    samples
        Only the first training samples.
    """
    problem = problem_at(target, checkpoint).to(torch.float64)
    problem = problem if samples is None else first_samples(problem, samples)
    if density:
        return show(spectral_density(problem, matrix=matrix, seed=seed), as_json=as_json, out=out)
    if layers:
        return _layers(block_eigenvalues(problem, k, rtol=rtol, matrix=matrix, seed=seed), as_json, out)
    record = hessian_eigenvalues(problem, k, rtol=rtol, matrix=matrix, seed=seed)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        for value, error, sure in zip(record.values, record.errors, record.converged, strict=True):
            flag = "" if sure else "  (not converged)"
            sys.stdout.write(f"  {value:14.8g}  error at most {error:.1e}{flag}\n")
    return code


def _layers(record: BlockEigenvalues, as_json: bool, out: Out) -> int:
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        for name, values, sure, trace, bar in zip(
            record.blocks, record.values, record.converged, record.trace, record.trace_error, strict=True
        ):
            flag = "" if sure.all() else "  (not converged)"
            top = "  ".join(f"{value:.6g}" for value in values[np.isfinite(values)])
            sys.stdout.write(f"  {name}: {top}{flag}; trace {trace:.4g} +- {bar:.2g}\n")
    return code
