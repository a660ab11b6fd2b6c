"""Symmetry of hidden units."""

import isthmus
from tests.architecture.user import data, problem_of

CASES = {
    "expansion_manifold": lambda module, _: isthmus.expansion_manifold(module, [8], data()[0]).random_pieces(0),
    "locate": lambda module, _: isthmus.locate(isthmus.expansion_manifold(module, [6], data()[0]), module, data()[0]),
    "zero_loss_path": lambda module, _: isthmus.zero_loss_path(module, module, data()[0]),
    "path_profile": lambda module, _: isthmus.path_profile(
        problem_of(module), isthmus.zero_loss_path(module, module, data()[0]), line_points=3
    ),
    "reduce": lambda module, _: isthmus.reduce(problem_of(module), tolerances=(1e-9, 0.1), steps=5),
    "unit_taxonomy": lambda module, _: isthmus.unit_taxonomy(problem_of(module)),
}
WITHOUT = set()
