"""Kernel evolution."""

import isthmus
from tests.architecture.user import problem_of, sgd

CASES = {
    "spawn": lambda module, _: isthmus.spawn(isthmus.train(problem_of(module), sgd, epochs=2, batch=6), 1, optimizer=sgd),
    "after_kernel": lambda module, _: isthmus.after_kernel(
        isthmus.train(problem_of(module), sgd, epochs=1, batch=6), steps=[0, 2]
    ),
    "linearized_children": lambda module, _: isthmus.linearized_children(
        isthmus.train(problem_of(module), sgd, epochs=1, batch=6), steps=[0], batch=6
    ),
}
CASES["kernel_evolution"] = lambda module, _: isthmus.kernel_evolution(
    problem_of(module), sgd, epochs=2, batch=6, spawn_times=2, samples=10, linearized=1
)
WITHOUT = {"find_transition"}
