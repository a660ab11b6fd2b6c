"""The scikit-learn estimators pass scikit-learn's own checks, and agree with the functions they wrap."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from isthmus._core.errors import InputError
from isthmus.kernel import empirical_ntk, kernel_ridge
from isthmus.kernel.estimators import KernelGradientDescent, KernelRidge, KernelRidgeClassifier

#: these two checks pass matrices that are not positive semidefinite as kernels; refusing them is meant
_NO_KERNELS = {
    "check_positive_only_tag_during_fit": "passes a matrix that is not a kernel",
    "check_estimators_dtypes": "passes a matrix that is not a kernel",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator", [KernelRidge(), KernelRidge(solver="cg", ridge=1e-3), KernelRidgeClassifier(), KernelGradientDescent()]
)
def test_scikit_learn_accepts(estimator: object) -> None:
    results = check_estimator(estimator)
    assert sum(result["status"] == "passed" for result in results) > 45


@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_accepts_precomputed() -> None:
    check_estimator(KernelRidge("precomputed"), expected_failed_checks=_NO_KERNELS)


def data(samples: int = 80) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    x = draw.uniform(-2, 2, (samples, 3))
    return x, np.sin(x[:, 0]) + x[:, 1] + 0.1 * draw.normal(size=samples)


def test_tangent_kernel_as_precomputed_and_as_function() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 1)).double()

    def tangent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return empirical_ntk(net, torch.from_numpy(x), torch.from_numpy(y), outputs="trace").matrix

    x, y = data()
    train, test = slice(0, 60), slice(60, 80)
    one = KernelRidge("precomputed").fit(tangent(x[train], x[train]), y[train])
    two = KernelRidge(tangent).fit(x[train], y[train])
    predictions = one.predict(tangent(x[test], x[train]))
    np.testing.assert_allclose(predictions, two.predict(x[test]), rtol=1e-8)
    plain = kernel_ridge(tangent(x[train], x[train]), y[train] - y[train].mean())
    np.testing.assert_allclose(predictions, plain.predict(tangent(x[test], x[train]))[:, 0] + y[train].mean(), rtol=1e-8)
    assert two.score(x[test], y[test]) > 0.8


def test_cross_validation_slices_precomputed_kernels() -> None:
    x, y = data()
    gram = np.exp(-((x[:, None] - x[None]) ** 2).sum(2))
    scores = cross_val_score(KernelRidge("precomputed"), gram, y, cv=4)
    assert scores.min() > 0.5
    assert scores.mean() > 0.7
    found = GridSearchCV(KernelRidge(), {"gamma": [0.1, 1e4]}, cv=3).fit(x, y)
    assert found.best_params_["gamma"] == 0.1


def test_classifier_reads_labels_of_any_kind() -> None:
    x, y = data()
    names = np.array(["low", "mid", "high"])[np.digitize(y, [-0.7, 0.7])]
    fitted = KernelRidgeClassifier().fit(x, names)
    assert fitted.score(x, names) > 0.9
    assert fitted.decision_function(x).shape == (80, 3)
    with pytest.raises(InputError, match="one class"):
        KernelRidgeClassifier().fit(x, np.zeros(80, dtype=int))


def test_descent_reaches_ridgeless_regression() -> None:
    x, y = data(20)
    long = KernelGradientDescent("rbf", steps=10_000_000, gamma=2.0).fit(x, y)
    np.testing.assert_allclose(long.predict(x), y, atol=1e-6)
    short = KernelGradientDescent("rbf", steps=0).fit(x, y)
    np.testing.assert_allclose(short.predict(x), y.mean())


def test_core_needs_no_scikit_learn() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import isthmus.kernel, isthmus\n"
        "try: isthmus.KernelRidge\n"
        "except ValueError as fault: assert 'isthmus[sklearn]' in str(fault), fault\n"
        "else: raise SystemExit('imported')\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
