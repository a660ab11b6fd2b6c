"""Units and their alignment."""

import isthmus
from tests.architecture.user import data, problem_of

CASES = {
    "exchangeable_units": lambda module, _: isthmus.exchangeable_units(module, data()[0]),
    "align": lambda module, _: isthmus.align(problem_of(module), module, barrier=3),
    "random_equivalent": lambda module, _: isthmus.random_equivalent(problem_of(module), seed=0),
}
WITHOUT = {"ActivationMatching", "Sinkhorn", "WeightMatching"}
