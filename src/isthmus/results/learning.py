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
