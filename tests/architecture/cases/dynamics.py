"""Optimizer dynamics."""

import isthmus
from tests.architecture.user import problem_of, sgd

CASES = {
    "spectrum": lambda module, _: isthmus.spectrum(problem_of(module)),
    "predict_training": lambda module, _: isthmus.predict_training(problem_of(module), sgd, 5),
    "stability_limit": lambda module, _: isthmus.stability_limit(problem_of(module), sgd),
    "tune": lambda module, _: isthmus.tune(problem_of(module), "gradient_descent"),
    "rank_optimizers": lambda module, _: isthmus.rank_optimizers(problem_of(module)),
    "regime_check": lambda module, _: isthmus.regime_check(problem_of(module), sgd),
}
WITHOUT = set()
