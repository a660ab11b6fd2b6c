"""Records of what a network learned beyond its kernel."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class OrderShares(Record):
    """What each order of the Taylor expansion around the start contributes to the network's outputs over a run.

    With ``f_t = T_0 + (T_1 - T_0) + (T_2 - T_1) + ... + (f_t - T_k)``, all at the displaced parameters of step t, on n
    examples.

    Attributes:
        step: optimizer steps at the checkpoints, ``(t,)``.
        epoch: the same in epochs.
        parts: names of the parts: order 0, order 1, ..., rest.
        share: ``|part|^2 / sum over parts of |part|^2``, ``(t, part)``; each row sums to one.
        share_interval: 95 % bootstrap interval of the last row over examples, ``(part, bound)``.
        projection: ``<part, f_t> / |f_t|^2``, ``(t, part)``; each row sums to one, entries may be negative.
        unexplained: ``|f_t - T_k|^2 / |f_t - f_0|^2`` for k = 0..order, ``(t, k)``; 1 at k = 0, NaN before any motion.
        unexplained_interval: 95 % bootstrap interval of the last row, ``(k, bound)``.
        reach: epoch of the first checkpoint at which more than half is unexplained, for k = 1..order, ``(reach,)``; NaN where
            that never happens.
        cancellation: ``sum over parts of |part|^2 / |f_t|^2``, ``(t,)``; far above 1 where the parts cancel, which
            happens when the parameters left the region in which the expansion converges.
        displacement: ``|theta_t - theta_0| / |theta_0|``, ``(t,)``.
        scores: metric of T_0, ..., T_k and of the network itself, ``(t, model)``.
        metric: ``"error"`` (share of wrong labels) or the loss's name.
        samples: examples n.
        data: ``"test"`` or ``"train"``.
    """

    schema: ClassVar[str] = "learning/order_shares"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "step": ("t",),
        "epoch": ("t",),
        "share": ("t", "part"),
        "share_interval": ("part", "bound"),
        "projection": ("t", "part"),
        "unexplained": ("t", "k"),
        "unexplained_interval": ("k", "bound"),
        "reach": ("reach",),
        "cancellation": ("t",),
        "displacement": ("t",),
        "scores": ("t", "model"),
    }

    step: np.ndarray
    epoch: np.ndarray
    share: np.ndarray
    share_interval: np.ndarray
    projection: np.ndarray
    unexplained: np.ndarray
    unexplained_interval: np.ndarray
    reach: np.ndarray
    cancellation: np.ndarray
    displacement: np.ndarray
    scores: np.ndarray
    parts: list[str]
    metric: str
    samples: int
    data: str


@dataclass(frozen=True, kw_only=True)
class RemainderOrders(Record):
    """Whether the expansion's remainder shrinks at the rate that smoothness promises.

    ``|f(theta_0 + h d) - T_k(theta_0 + h d)| ~ h^(k+1)`` for a smooth network; a kink (ReLU) leaves h^2 at every k >= 1.

    Attributes:
        length: h, ``(h,)``.
        remainder: root mean square over examples and outputs, ``(k, h)``.
        slope: local log-log slope at the smallest usable h, ``(k,)``; NaN when the remainder is rounding.
        smooth: whether the slope is within 0.35 of k + 1, or the remainder is rounding, ``(k,)``.
        samples: examples.
    """

    schema: ClassVar[str] = "learning/remainder_orders"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"length": ("h",), "remainder": ("k", "h"), "slope": ("k",), "smooth": ("k",)}

    length: np.ndarray
    remainder: np.ndarray
    slope: np.ndarray
    smooth: np.ndarray
    samples: int


@dataclass(frozen=True, kw_only=True)
class LearningCurves(Record):
    """Test error of several learners against the number of training samples.

    Attributes:
        samples: N, ascending, ``(x,)``.
        test_error: of each learner, seed and N, ``(learner, seed, x)``; infinite where training did not stay finite.
        mean: over seeds (geometric for a normalized squared error), ``(learner, x)``.
        interval: 95 % Student interval of that mean, ``(learner, x, bound)``; NaN with one seed.
        slope: log-log slope of the error in N, mean over seeds, ``(learner,)``.
        slope_interval: its 95 % interval, ``(learner, bound)``.
        parameters: trained parameters of each learner, ``(learner,)``; for a kernel the dimension of its features, or the samples of a
            closed form.
        cpu_seconds: of choosing, learning and predicting, all seeds together, ``(learner, x)``.
        gain: error of the best fixed kernel minus that of each learner, at each N, mean over seeds, ``(learner, x)``.
        gain_interval: its 95 % interval over seeds, ``(learner, x, bound)``.
        sample_ratio: samples that the best fixed kernel needs over those that the learner needs, at the error that the
            kernel reaches with the most samples, ``(learner,)``; NaN where the learner never reaches it.
        ratio_is_bound: whether the ratio is only a lower bound: the learner is below that error at the fewest samples.
        learners: names.
        words: which layers train, how solved, how hyper-parameters were chosen.
        kernels: whether each learner is a kernel fixed at the start, ``(learner,)``.
        metric: ``"nmse"`` (mean squared error over the variance of the test targets) or ``"error"`` (share of wrong labels).
        target: what was learned.
        test_samples: in the test error.
        seeds: independent repetitions: samples, start and batch order.
        oracle: whether hyper-parameters were chosen on test samples.
        headline: gain of the first learner at the most samples: value, low, high.
    """

    schema: ClassVar[str] = "learning/curves"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "samples": ("x",),
        "test_error": ("learner", "seed", "x"),
        "mean": ("learner", "x"),
        "interval": ("learner", "x", "bound"),
        "slope": ("learner",),
        "slope_interval": ("learner", "bound"),
        "parameters": ("learner",),
        "cpu_seconds": ("learner", "x"),
        "gain": ("learner", "x"),
        "gain_interval": ("learner", "x", "bound"),
        "sample_ratio": ("learner",),
        "ratio_is_bound": ("learner",),
        "kernels": ("learner",),
    }
    costs: ClassVar[frozenset[str]] = frozenset({"cpu_seconds"})

    samples: np.ndarray
    test_error: np.ndarray
    mean: np.ndarray
    interval: np.ndarray
    slope: np.ndarray
    slope_interval: np.ndarray
    parameters: np.ndarray
    cpu_seconds: np.ndarray
    gain: np.ndarray
    gain_interval: np.ndarray
    sample_ratio: np.ndarray
    ratio_is_bound: np.ndarray
    kernels: np.ndarray
    learners: list[str]
    words: list[str]
    metric: str
    target: str
    test_samples: int
    seeds: int
    oracle: bool
    headline: tuple[float, float, float]
