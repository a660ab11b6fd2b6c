"""Optimizer dynamics."""

import isthmus
from tests.architecture.user import problem_of, sgd

CASES = {
    "spectrum": lambda module, _: isthmus.spectrum(problem_of(module)),
    "predict_training": lambda module, _: isthmus.predict_training(problem_of(module), sgd, 5),
}
WITHOUT = set()
