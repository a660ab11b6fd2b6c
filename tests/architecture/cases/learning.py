"""Beyond the kernel."""

import isthmus
from tests.architecture.user import data, problem_of, sgd

CASES = {
    "order_shares": lambda module, _: isthmus.order_shares(isthmus.train(problem_of(module), sgd, steps=3, batch=6)),
    "remainder_orders": lambda module, _: isthmus.remainder_orders(module, data()[0]),
}
WITHOUT = {"learning_curves"}
