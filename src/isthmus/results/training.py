"""Records of a training run."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class TrainingHistory(Record):
    """Loss and error at the checkpoints of a run, evaluated on all the data in eval mode.

    Attributes:
        step: optimizer steps, ``(t,)``.
        epoch: the same in epochs.
        train_loss: loss as given, over the whole training set.
        test_loss: over the test set; NaN without one.
        train_error: share of wrong argmax labels; NaN when the targets are not classes.
        test_error: the same on the test set.
        learning_rate: of the first parameter group; NaN when unknown.
        loss_name: the named loss, reduction included.
        test_error_interval: 95 % Wilson interval of the final test error over test examples; NaN without test classes.
    """

    schema: ClassVar[str] = "training/history"
    dims: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(
        ("step", "epoch", "train_loss", "test_loss", "train_error", "test_error", "learning_rate"), ("t",)
    )

    step: np.ndarray
    epoch: np.ndarray
    train_loss: np.ndarray
    test_loss: np.ndarray
    train_error: np.ndarray
    test_error: np.ndarray
    learning_rate: np.ndarray
    loss_name: str
    test_error_interval: tuple[float, float]
