"""The inertia counts that are compared."""

from collections.abc import Callable

import numpy as np
import torch

from isthmus._core.errors import HypothesisError
from isthmus._core.seeds import Seed
from isthmus.claims.claim import ScaleName
from isthmus.curvature import count_inertia, dense_hessian
from isthmus.model.problem import Problem

SEEDS = {"smoke": 3, "desk": 12, "paper": 40}


def resolved_rows(row: Callable[[Seed], np.ndarray], scale: ScaleName, seed: Seed) -> tuple[np.ndarray, str]:
    """One row of counts for each instance whose spectra have gaps, and how many instances were left out, in words.

    Raises:
        HypothesisError: more than half of the instances are unresolved.
    """
    rows: list[np.ndarray] = []
    for tried in range(2 * SEEDS[scale]):
        found = row(seed.child(tried))
        rows += [found] if bool(np.isfinite(found).all()) else []
        if len(rows) == SEEDS[scale]:
            left = tried + 1 - len(rows)
            return np.stack(rows), f" ({left} without a spectral gap left out)" if left else ""
    raise HypothesisError(
        f"Only {len(rows)} of {2 * SEEDS[scale]} planted points have spectra in which zero can be told from the rest."
    )


def inertia_gained(narrow: Problem, wide: Problem) -> np.ndarray:
    """Wide minus narrow counts of negative, zero and positive eigenvalues, ``(3,)``, with one cut-off for both Hessians.

    NaN where one of the two spectra has no gap between zero and the rest: such a pair decides nothing.
    """
    spectra = [torch.linalg.eigvalsh(dense_hessian(problem.eval().to(torch.float64))).numpy() for problem in (narrow, wide)]
    scale = max(float(np.abs(values).max()) for values in spectra)
    first, second = (count_inertia(values, scale=scale) for values in spectra)
    if not (first.resolved and second.resolved):
        return np.full(3, np.nan)
    before, after = first.inertia, second.inertia
    return np.array([after.negative - before.negative, after.zero - before.zero, after.positive - before.positive], dtype=float)
