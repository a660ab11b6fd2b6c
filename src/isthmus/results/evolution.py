"""Records of kernel evolution: children, after-kernels, and when the run's fate was decided."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class Spawning(Record):
    """How far children of one checkpoint end apart, against the time at which they were spawned.

    Attributes:
        spawn_step: optimizer steps at which children left the parent, ``(s,)``.
        spawn_epoch: the same in epochs.
        values: the measures between each pair of children at their end, ``(q, s, pair)``; NaN where a child is excluded.
        independent: the same measures between runs from different initializations, ``(q, i)``; empty without them.
        child_test_error: test error of each child at its end, ``(s, child)``; NaN where excluded or without classes.
        child_test_loss: the same of the loss.
        diverged: children excluded because their loss stopped being finite, ``(s,)``.
        measures: names of the q measures: ``barrier_*`` over the chord, ``barrier_mean_*`` over the mean of the ends,
            ``hamming``, ``disagreement``, ``logit_l2``, ``jensen_shannon``, ``logit_cosine``, ``kernel`` (S), ``weights``.
        vary: what differs between children.
        kernel_samples: training inputs of the kernel behind ``kernel``.
    """

    schema: ClassVar[str] = "evolution/spawning"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "spawn_step": ("s",),
        "spawn_epoch": ("s",),
        "values": ("q", "s", "pair"),
        "independent": ("q", "i"),
        "child_test_error": ("s", "child"),
        "child_test_loss": ("s", "child"),
        "diverged": ("s",),
    }

    spawn_step: np.ndarray
    spawn_epoch: np.ndarray
    values: np.ndarray
    independent: np.ndarray
    child_test_error: np.ndarray
    child_test_loss: np.ndarray
    diverged: np.ndarray
    measures: list[str]
    vary: str
    kernel_samples: int

    def measure(self, name: str) -> np.ndarray:
        """One measure, ``(s, pair)``."""
        return self.values[self.measures.index(name)]


@dataclass(frozen=True, kw_only=True)
class AfterKernel(Record):
    """How good a learner the tangent kernel of each time is, solved and trained, against the network.

    Errors are 0-1 errors on the test set, squared errors are mean over samples of the sum over outputs; targets are
    one-hot minus 1/classes (regression: the targets themselves).

    Attributes:
        step: of the checkpoint whose kernel it is, ``(t,)``.
        epoch: the same in epochs.
        solved_error: ridge regression with the sum-over-outputs kernel, ridge by KARE, centered (starts at zero), ``(t,)``.
        solved_squared: its squared test error.
        offset_squared: squared test error of ridge regression of the residual, started at the network's own outputs; for
            squared losses only, NaN otherwise.
        ridge: chosen, in units of ``trace K / n^2``.
        at_edge: whether the choice lay at an end of the grid.
        network_error: of the network at that time.
        linear_step: of the anchors of the linearized children, ``(u,)``.
        linear_epoch: the same in epochs.
        linear_error: test error of the linearized child, trained for the remaining budget at its own rate; NaN if diverged.
        linear_train_error: its training error, which tells convergence from quality.
        centered_error: test error of the centered linearized child.
        linear_rate: its learning rate, set from the largest eigenvalue of its kernel.
        same_rate_error: test error of the linearized child at the network's rate; NaN if diverged.
        child_error: test error of the network's own child at its rate, without the parent's momentum.
        final_error: test error of the network at the end of training.
        samples: training examples behind the solved kernel.
        test_samples: test examples.
        factor: initial over best solved error up to that time, at the time where it is largest: ``(factor, epoch)``.
        match: ``(share of training, low, high)``: first time at which the solved error is at most the network's final
            one, and the interval of times allowed by two binomial standard errors; NaN when it never is.
    """

    schema: ClassVar[str] = "evolution/after_kernel"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys(("step", "epoch", "solved_error", "solved_squared", "offset_squared", "ridge", "at_edge"), ("t",)),
        "network_error": ("t",),
        **dict.fromkeys(("linear_step", "linear_epoch", "linear_error", "linear_train_error", "centered_error"), ("u",)),
        **dict.fromkeys(("linear_rate", "same_rate_error", "child_error"), ("u",)),
    }

    step: np.ndarray
    epoch: np.ndarray
    solved_error: np.ndarray
    solved_squared: np.ndarray
    offset_squared: np.ndarray
    ridge: np.ndarray
    at_edge: np.ndarray
    network_error: np.ndarray
    linear_step: np.ndarray
    linear_epoch: np.ndarray
    linear_error: np.ndarray
    linear_train_error: np.ndarray
    centered_error: np.ndarray
    linear_rate: np.ndarray
    same_rate_error: np.ndarray
    child_error: np.ndarray
    final_error: float
    samples: int
    test_samples: int
    factor: tuple[float, float]
    match: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class EvolutionSummary(Record):
    """When the run left its transient, how its measures move together, and how fast nearby runs separate.

    Attributes:
        correlation: Spearman's rank correlation over spawn times between the measures, ``(q, r)``.
        twin_epoch: times at which the distance of a perturbed twin is measured, ``(t,)``.
        twin_distance: ``|w_t - w'_t| / |w_0|`` of twins that see the same batches, ``(size, t)``.
        twin_size: relative sizes of the perturbation, ``(size,)``.
        divergence_rate: e-folds per epoch of each twin's distance before it saturates, ``(size,)``.
        measures: names of the q measures that are correlated.
        change: change point and its 95 % interval in epochs, one row a signal, ``(signal, 3)``; NaN unless transient.
        levels: mean level before and after, ``(signal, 2)``.
        signals: names of the signals that were searched for a change.
        verdicts: ``transient``, ``no transient`` or ``unresolved`` for each.
        cone_radius: radians; smallest angle around one late kernel that holds all kernels of the second half of training.
        silent_alignment: times (epochs) at which the alignment reaches 90 % of its last value and the loss has fallen by
            10 %, and the distance S from the first of them to the end.
        silent: whether alignment came first and S stayed below 0.1.
    """

    schema: ClassVar[str] = "evolution/summary"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "correlation": ("q", "r"),
        "twin_epoch": ("t",),
        "twin_distance": ("size", "t"),
        "twin_size": ("size",),
        "divergence_rate": ("size",),
        "change": ("signal", "epoch_low_high"),
        "levels": ("signal", "before_after"),
    }

    correlation: np.ndarray
    twin_epoch: np.ndarray
    twin_distance: np.ndarray
    twin_size: np.ndarray
    divergence_rate: np.ndarray
    change: np.ndarray
    levels: np.ndarray
    measures: list[str]
    signals: list[str]
    verdicts: list[str]
    cone_radius: float
    silent_alignment: tuple[float, float, float]
    silent: bool
