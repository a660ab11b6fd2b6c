"""Critical points of small networks."""

import isthmus
from tests.architecture.user import problem_of

CASES = {
    "polish": lambda module, _: isthmus.polish(problem_of(module), steps=5),
    "certify": lambda module, _: isthmus.certify(problem_of(module)),
    "hessian_spectrum": lambda module, _: isthmus.hessian_spectrum(problem_of(module)),
}
WITHOUT = set()
