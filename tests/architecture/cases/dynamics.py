"""Optimizer dynamics: predictions and decisions from the user's module."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

import isthmus
from tests.architecture.user import problem_of, sgd

CASES: dict[str, Callable[[nn.Module, Path], Any]] = {
    "central_flow": lambda m, d: isthmus.central_flow(problem_of(m), sgd, 2, points=2),
    "edge_of_stability": lambda m, d: isthmus.edge_of_stability(isthmus.train(problem_of(m), sgd, steps=2), sgd),
    "gradient_flow": lambda m, d: isthmus.gradient_flow(problem_of(m), sgd, 2, points=2),
    "predict_training": lambda m, d: isthmus.predict_training(problem_of(m), sgd, 5, test=True),
    "rank_optimizers": lambda m, d: isthmus.rank_optimizers(problem_of(m), sgd, fractions=(0.5,), max_steps=20),
    "regime_check": lambda m, d: isthmus.regime_check(problem_of(m), sgd, steps=5),
    "spectrum": lambda m, d: isthmus.spectrum(problem_of(m)),
    "stability_limit": lambda m, d: isthmus.stability_limit(problem_of(m), sgd),
    "tune": lambda m, d: isthmus.tune(problem_of(m), "gradient_descent", fraction=0.5, max_steps=20),
}
WITHOUT: set[str] = set()
