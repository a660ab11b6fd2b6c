"""The census finds the known critical points of the one-dimensional problem and explains the wide ones."""

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import HypothesisError, InputError
from isthmus.embedding import census
from isthmus.embedding.points import TwoLayer
from isthmus.model.problem import Problem
from isthmus.model.zoo import mlp
from tests.embedding.fixtures import WIDTH_1, WIDTH_1_LOSS, WIDTH_2_LOSS, flat, steps_problem


@pytest.fixture(scope="module")
def found() -> object:
    return census(steps_problem(1), [1, 2], starts=[16, 120], seed=0)


def _rows(found: object, width: int, loss: float) -> np.ndarray:
    return np.flatnonzero((found.width == width) & (np.abs(found.loss - loss) < 1e-11))


def test_known_points_are_there(found: object) -> None:
    (one,) = _rows(found, 1, WIDTH_1_LOSS)
    assert tuple(found.inertia[one]) == (0, 0, 3) and found.kinds[one] == "1 genuine"
    mirrors = _rows(found, 2, WIDTH_2_LOSS)
    assert len(mirrors) == 2 and all(tuple(found.inertia[i]) == (0, 0, 6) for i in mirrors)
    assert len(_rows(found, 2, 0.09908834766145)) == 2
    assert (found.gradient < 1e-12).all() and found.converged == sorted(found.converged)


def test_wide_images_point_to_their_narrow_origin(found: object) -> None:
    (one,) = _rows(found, 1, WIDTH_1_LOSS)
    images = _rows(found, 2, WIDTH_1_LOSS)
    assert len(images) >= 1
    for i in images:
        assert found.core_width[i] == 1 and found.parent[i] == one
        assert found.core_gradient[i] < 1e-6 and found.output_range[i] < 1e-6
    genuine = (found.core_width == found.width) & (found.width == 2)
    assert (found.parent[genuine] == -1).all()


def test_units_are_told_apart() -> None:
    w, b, a = WIDTH_1[0]
    layer = TwoLayer(steps_problem(3))
    parts = layer.analyzed(flat([(w, b, 0.3 * a), (-w, -b, -0.7 * a), (0.5, 1.0, 0.0)]))
    assert parts.labels == ("split", "split", "inactive") and len(parts.core) == 1
    np.testing.assert_allclose(parts.core[0].numpy(), [w, b, a], rtol=1e-12)
    parts = layer.analyzed(flat([(w, b, a), (0.0, 0.0, 0.0), (0.01, 40.0, 0.2)]))
    assert parts.labels == ("genuine", "null", "numerically constant")


def test_other_shapes_are_refused() -> None:
    x = torch.randn(9, 2)
    deep = Problem(mlp([2, 3, 3, 1], "tanh"), x, torch.randn(9, 1), nn.MSELoss())
    with pytest.raises(HypothesisError, match="one hidden layer"):
        census(deep)
    with pytest.raises(InputError, match="Ascending widths"):
        census(steps_problem(1), [2, 1])
