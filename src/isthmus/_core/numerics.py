"""Tolerances and cut-offs, each with its reason, in one place."""

import math

EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52, "bfloat16": 2.0**-7, "float16": 2.0**-10}


def machine_epsilon(dtype: object) -> float:
    """Unit roundoff spacing of a floating dtype given as torch dtype, numpy dtype or name."""
    return EPSILON[str(dtype).rsplit(".", maxsplit=1)[-1]]


def tolerance(dtype: object, *, terms: int = 1, depth: int = 1, safety: float = 32.0) -> float:
    """Relative rounding error to expect of a computation.

    ``safety * depth * sqrt(terms) * eps``: rounding errors of a sum of `terms` products add like a random walk,
    and `depth` stages (layers, passes) each contribute once. `safety` covers the constant.
    """
    return safety * depth * math.sqrt(max(terms, 1)) * machine_epsilon(dtype)


def rank_cutoff(largest: float, size: int, dtype: object) -> float:
    """Eigenvalues below ``largest * size * eps`` count as zero (the rule of `numpy.linalg.matrix_rank`)."""
    return abs(largest) * size * machine_epsilon(dtype)
