"""The one seam to parallel execution (joblib); nothing else imports it."""

from collections.abc import Callable, Iterable
from typing import Any

import joblib


def map_tasks(function: Callable[..., Any], tasks: Iterable[tuple], *, workers: int = 1) -> list:
    """``[function(*task) for task in tasks]``, in order, on `workers` processes (1 = in this process).

    Results do not depend on `workers`: each task carries its own seed.
    """
    if workers == 1:
        return [function(*task) for task in tasks]
    return list(joblib.Parallel(n_jobs=workers)(joblib.delayed(function)(*task) for task in tasks))
