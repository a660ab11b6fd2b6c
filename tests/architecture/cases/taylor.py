"""Taylor models."""

import isthmus
from tests.architecture.user import data

CASES = {"taylor_model": lambda module, _: isthmus.taylor_model(module, 2)(data()[0])}
WITHOUT = set()
