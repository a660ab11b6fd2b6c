"""The learners as scikit-learn regressors (extra ``sklearn``): ``fit``, ``predict``, pipelines, grid search.

Kernels in closed form (Gaussian, infinite width, your own) are in `isthmus.kernel.estimators`.
"""

from abc import abstractmethod
from typing import Any, Self

import numpy as np

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.learning.kernel_learners import ConjugateKernelLearner, RandomFeatureLearner, TangentKernelLearner
from isthmus.learning.learners import Fitted, Grid, Learner, NetworkLearner, Trains
from isthmus.training.ensemble import Schedule

try:
    from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as missing:
    raise InputError(
        "These learners are scikit-learn estimators and scikit-learn is not installed: pip install 'isthmus[sklearn]'. "
        "isthmus.learning.learners has the same learners without it."
    ) from missing


class _LearnerRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Validation around a learner; targets may be ``(n,)`` or ``(n, k)``."""

    random_state: int
    fitted_: Fitted

    @abstractmethod
    def learner(self) -> Learner:
        """The learner behind these parameters; its `words` say which layers train and how it is solved."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from samples ``(n, d)`` and real targets; the network has d = ``n_features_in_`` inputs."""
        checked = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        inputs, targets = np.asarray(checked[0]), np.asarray(checked[1], dtype=np.float64)
        self._flat = targets.ndim == 1
        if len(inputs) < 2:
            raise InputError(f"Nothing can be learned from n_samples = {len(inputs)}; at least 2 samples are needed.")
        self.fitted_ = self.learner().fit(inputs, targets.reshape(len(targets), -1), seed=Seed(self.random_state))
        self.chosen_, self.choice_ = self.fitted_.chosen, self.fitted_.choice
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predictions for samples ``(m, d)``."""
        check_is_fitted(self)
        outputs = self.fitted_.predict(np.asarray(validate_data(self, X, reset=False, dtype=np.float64)))
        return outputs[:, 0] if self._flat else outputs


class NetworkRegressor(_LearnerRegressor):
    """A two- or three-layer ReLU network, or its Taylor model, by SGD on the mean squared error.

    Args:
        depth: weight layers, 2 or 3.
        width: of the hidden layers.
        trains: ``"hidden"`` weights only, or ``"all"``.
        order: None for the network, 1 or 2 for its Taylor model around the start.
        rates: c of learning rates c / width to choose from.
        decays: weight decays to choose from.
        held_out: share of the samples on which they are chosen.
        epochs: passes over the data.
        batch: samples of a step.
        momentum: heavy ball.
        random_state: names initialization, batch order and held-out samples.

    Attributes:
        fitted_: the learned function, with what was chosen and how.
        chosen_: rate and decay.
        choice_: how they were chosen.
    """

    def __init__(
        self,
        depth: int = 3,
        width: int = 100,
        *,
        trains: Trains = "hidden",
        order: int | None = None,
        rates: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0),
        decays: tuple[float, ...] = (0.0, 1e-4, 1e-3),
        held_out: float = 0.2,
        epochs: int = 300,
        batch: int = 50,
        momentum: float = 0.9,
        random_state: int = 0,
    ) -> None:
        self.depth, self.width, self.order = depth, width, order
        self.trains: Trains = trains
        self.rates, self.decays, self.held_out = rates, decays, held_out
        self.epochs, self.batch, self.momentum, self.random_state = epochs, batch, momentum, random_state

    def learner(self) -> Learner:
        """The network learner."""
        grid = Grid(tuple(self.rates), tuple(self.decays), self.held_out)
        schedule = Schedule(self.epochs, self.batch, self.momentum)
        return NetworkLearner(self.depth, self.width, self.trains, self.order, grid, schedule)


class TangentKernelRegressor(_LearnerRegressor):
    """Exact ridge regression with the empirical tangent kernel of a network at its start.

    Args:
        depth: weight layers, 2 or 3.
        width: of the hidden layers.
        trains: whose kernel, ``"hidden"`` weights or ``"all"``.
        random_state: names the initialization.
    """

    def __init__(self, depth: int = 3, width: int = 100, *, trains: Trains = "hidden", random_state: int = 0) -> None:
        self.depth, self.width, self.random_state = depth, width, random_state
        self.trains: Trains = trains

    def learner(self) -> Learner:
        """The kernel learner."""
        return TangentKernelLearner(self.depth, self.width, self.trains)


class ConjugateKernelRegressor(_LearnerRegressor):
    """Exact ridge regression on the last hidden features of a network at its start.

    Args:
        depth: weight layers, 2 or 3.
        width: of the hidden layers.
        random_state: names the initialization.
    """

    def __init__(self, depth: int = 3, width: int = 100, *, random_state: int = 0) -> None:
        self.depth, self.width, self.random_state = depth, width, random_state

    def learner(self) -> Learner:
        """The kernel learner."""
        return ConjugateKernelLearner(self.depth, self.width)


class RandomFeatureRegressor(_LearnerRegressor):
    """Exact ridge regression on random Fourier features of the Gaussian kernel at the median distance.

    Args:
        features: how many.
        random_state: names the features.
    """

    def __init__(self, features: int = 1000, *, random_state: int = 0) -> None:
        self.features, self.random_state = features, random_state

    def learner(self) -> Learner:
        """The feature learner."""
        return RandomFeatureLearner(self.features)
