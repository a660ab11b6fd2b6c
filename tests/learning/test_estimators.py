"""The estimators under scikit-learn's own conformance suite, and in a pipeline."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from isthmus._core.errors import InputError
from isthmus.learning.estimators import ConjugateKernelRegressor, NetworkRegressor, RandomFeatureRegressor, TangentKernelRegressor

SMALL = [
    NetworkRegressor(2, 8, epochs=2, rates=(0.1, 0.2), decays=(0.0,)),
    NetworkRegressor(3, 8, order=1, epochs=1, rates=(0.01,), decays=(0.0,)),
    TangentKernelRegressor(2, 8),
    ConjugateKernelRegressor(2, 8),
    RandomFeatureRegressor(20),
]


@parametrize_with_checks(SMALL)
def test_conformance(estimator: object, check: object) -> None:
    check(estimator)  # type: ignore[operator]


def test_grid_search_over_widths_and_several_outputs() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 3))
    y = np.stack([x[:, 0], x[:, 1] ** 2], axis=1)
    search = GridSearchCV(TangentKernelRegressor(2), {"width": [2, 200]}, cv=3).fit(x, y)
    assert search.best_params_["width"] == 200
    assert search.predict(x).shape == (60, 2)


def test_what_was_chosen_is_told() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(100, 3))
    model = NetworkRegressor(2, 30, epochs=20).fit(x, np.sin(x[:, 0]))
    assert "validation on 20 held-out samples" in model.choice_
    assert set(model.chosen_) == {"rate", "decay"}
    assert "hidden weights only" in model.learner().words
    with pytest.raises(InputError, match="held-out"):
        NetworkRegressor(2, 8).fit(x[:5], x[:5, 0])
