"""Kernel learners as scikit-learn estimators (extra ``sklearn``).

They add to `isthmus.kernel.ridge` what scikit-learn expects: parameters, validation, labels, scores. Any kernel
serves: a name that scikit-learn knows, a function of two arrays, or ``"precomputed"`` matrices from this package.
"""

from collections.abc import Callable
from typing import Any, Self

import numpy as np

from isthmus._core.errors import InputError
from isthmus.kernel.ridge import KernelFit, KernelSpectrum, Solver, kernel_ridge

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
    from sklearn.metrics.pairwise import pairwise_kernels
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as missing:
    raise InputError(
        "The kernel estimators are scikit-learn estimators and scikit-learn is not installed: pip install 'isthmus[sklearn]'. "
        "isthmus.kernel.ridge has the same learners as functions of a kernel matrix, without it."
    ) from missing

#: a kernel by name, as a function ``(x (n, d), y (m, d)) -> (n, m)``, or "precomputed"
Kernel = str | Callable[[np.ndarray, np.ndarray], np.ndarray]


class _KernelEstimator(MultiOutputMixin, BaseEstimator):
    """Kernel evaluation and validation shared by the estimators."""

    kernel: Kernel
    gamma: float | None
    fit_: KernelFit
    offset_: np.ndarray

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags

    def _real_targets(self, samples: Any, targets: Any) -> tuple[np.ndarray, np.ndarray]:
        """Samples, and targets as columns; remembers whether they were one vector."""
        checked = validate_data(self, samples, targets, dtype=np.float64, multi_output=True, y_numeric=True)
        inputs, values = np.asarray(checked[0]), np.asarray(checked[1], dtype=np.float64)
        self._flat = values.ndim == 1
        return inputs, values.reshape(len(values), -1)

    def _training_kernel(self, samples: np.ndarray) -> np.ndarray:
        self.X_fit_ = samples
        return self._between(samples)

    def _between(self, samples: np.ndarray) -> np.ndarray:
        """``K(samples, training points)``."""
        if self.kernel == "precomputed":
            return samples
        if callable(self.kernel):
            return np.asarray(self.kernel(samples, self.X_fit_), dtype=np.float64)
        return pairwise_kernels(samples, self.X_fit_, metric=self.kernel, filter_params=True, gamma=self.gamma)

    def _outputs(self, samples: Any) -> np.ndarray:
        check_is_fitted(self)
        checked = np.asarray(validate_data(self, samples, reset=False, dtype=np.float64))
        return self.fit_.predict(self._between(checked)) + self.offset_


class KernelRidge(RegressorMixin, _KernelEstimator):
    """Kernel ridge regression whose ridge is chosen by KARE.

    Minimizes ``|K a - y|^2 / n + ridge a^T K a`` around the mean of y; predicts ``mean(y) + K(x, X) a``.

    Args:
        kernel: a name scikit-learn knows, a function of two arrays, or ``"precomputed"``.
        ridge: l of ``K + n l I``; chosen by the kernel alignment risk estimator (= generalized cross-validation) when None.
        gamma: coefficient of named kernels; scikit-learn's default when None.
        solver: ``"auto"``, ``"cholesky"`` or ``"cg"``; see `isthmus.kernel.ridge.kernel_ridge`.
        center: subtract the mean of y before, add it after.
        random_state: an integer that names the draws of conjugate gradients.

    Attributes:
        fit_: the `KernelFit`, with the scores of all ridges tried, the residual and the status.
        ridge_: the ridge used.
        dual_coef_: coefficients, ``(n, k)``.
        offset_: what is added to predictions.

    References:
        Jacot, Şimşek, Spadaro, Hongler, Gabriel 2020 (KARE).
    """

    def __init__(
        self,
        kernel: Kernel = "rbf",
        *,
        ridge: float | None = None,
        gamma: float | None = None,
        solver: Solver = "auto",
        center: bool = True,
        random_state: int = 0,
    ) -> None:
        self.kernel, self.ridge, self.gamma = kernel, ridge, gamma
        self.solver: Solver = solver
        self.center, self.random_state = center, random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to samples ``(n, d)`` (a kernel ``(n, n)`` when precomputed) and targets ``(n,)`` or ``(n, k)``."""
        self._solve(*self._real_targets(X, y))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predictions for samples ``(m, d)``, or for the kernel ``(m, n)`` with the training points."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._flat else outputs

    def _solve(self, samples: np.ndarray, columns: np.ndarray) -> None:
        self.offset_ = columns.mean(0) if self.center else np.zeros(columns.shape[1])
        gram = self._training_kernel(samples)
        self.fit_ = kernel_ridge(gram, columns - self.offset_, self.ridge, solver=self.solver, seed=self.random_state)
        self.ridge_, self.dual_coef_ = self.fit_.ridge, self.fit_.coefficients


class KernelRidgeClassifier(ClassifierMixin, KernelRidge):
    """Kernel ridge regression on one-hot labels; the largest output names the class.

    Arguments and attributes are those of `KernelRidge`; `classes_` holds the labels.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output, tags.target_tags.multi_output = True, False
        return tags

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to samples ``(n, d)`` (a kernel ``(n, n)`` when precomputed) and labels ``(n,)``."""
        samples, labels = map(np.asarray, validate_data(self, X, y, dtype=np.float64))
        check_classification_targets(labels)
        self.classes_, index = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(
                f"KernelRidgeClassifier needs at least two classes; the labels hold one class, {self.classes_[0]!r}."
            )
        self._solve(samples, np.eye(len(self.classes_))[index])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The class of the largest output for each sample."""
        winners = self._outputs(X).argmax(1)
        return self.classes_[winners]

    def decision_function(self, X: Any) -> np.ndarray:
        """Outputs for each class, ``(m, k)``; for two classes their difference, ``(m,)``, positive for the second."""
        outputs = self._outputs(X)
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs


class KernelGradientDescent(RegressorMixin, _KernelEstimator):
    """What gradient descent on the squared loss learns with this kernel after a number of steps, in closed form.

    The loss is ``|f - y|^2 / (2 n)``, the mean over samples with a half; the start is the mean of y.

    Args:
        kernel: a name scikit-learn knows, a function of two arrays, or ``"precomputed"``.
        steps: of gradient descent.
        rate: learning rate; ``n / largest eigenvalue``, half of what is stable without momentum, when None.
        momentum: of torch's heavy ball.
        gamma: coefficient of named kernels; scikit-learn's default when None.

    Attributes:
        fit_: the `KernelFit`.
        rate_: the rate used.
        dual_coef_: coefficients, ``(n, k)``.
        offset_: what is added to predictions.
    """

    def __init__(
        self,
        kernel: Kernel = "rbf",
        *,
        steps: int = 1000,
        rate: float | None = None,
        momentum: float = 0.0,
        gamma: float | None = None,
    ) -> None:
        self.kernel, self.steps, self.rate, self.momentum, self.gamma = kernel, steps, rate, momentum, gamma

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to samples ``(n, d)`` (a kernel ``(n, n)`` when precomputed) and targets ``(n,)`` or ``(n, k)``."""
        samples, columns = self._real_targets(X, y)
        self.offset_ = columns.mean(0)
        spectrum = KernelSpectrum(self._training_kernel(samples))
        self.rate_ = self.rate if self.rate is not None else len(columns) / max(float(spectrum.values[-1]), 1e-300)
        self.fit_ = spectrum.descent(columns - self.offset_, self.rate_ / len(columns), self.steps, self.momentum)
        self.dual_coef_ = self.fit_.coefficients
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predictions for samples ``(m, d)``, or for the kernel ``(m, n)`` with the training points."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._flat else outputs
