"""The interval that every number over seeds carries."""

import numpy as np
from scipy import stats


def mean_interval(values: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and 95 % Student interval over independent repetitions (seeds).

    ``mean -+ t(0.975, n - 1) * s / sqrt(n)`` with the unbiased deviation s: right for numbers that are near normal, and the
    usual convention for few seeds.

    Args:
        values: measurements; `axis` runs over the repetitions.
        axis: which one that is.

    Returns:
        Mean, lower and upper end, of the shape of `values` without `axis`. The ends are NaN with a single repetition.
    """
    values = np.asarray(values, dtype=np.float64)
    count = values.shape[axis]
    with np.errstate(invalid="ignore"):
        mean = values.mean(axis=axis)
        if count < 2:
            return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
        half = stats.t.ppf(0.975, count - 1) * values.std(axis=axis, ddof=1) / np.sqrt(count)
    return mean, mean - half, mean + half
