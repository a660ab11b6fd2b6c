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
        layers: share of rectifiers that differ, for each layer of them in order, ``(layer, s, pair)``; no layer without rectifiers.
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
        "layers": ("layer", "s", "pair"),
        "independent": ("q", "i"),
        "child_test_error": ("s", "child"),
        "child_test_loss": ("s", "child"),
        "diverged": ("s",),
    }

    spawn_step: np.ndarray
    spawn_epoch: np.ndarray
    values: np.ndarray
    layers: np.ndarray
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
    """How good a learner the tangent kernel of each time is, against the network.

    Errors are 0-1 errors on the test set, squared errors are mean over samples of the sum over outputs; targets are
    one-hot minus 1/classes (regression: the targets themselves).

    Attributes:
        step: of the checkpoint whose kernel it is, ``(t,)``.
        epoch: the same in epochs.
        solved_error: ridge regression with the sum-over-outputs kernel, ridge by KARE, centered (starts at zero), ``(t,)``.
        solved_squared: its squared test error.
        offset_squared: squared test error of ridge regression of the residual, started at the network's own outputs; for
            regression only, NaN otherwise.
        ridge: chosen, in units of ``trace K / n^2``.
        at_edge: whether the choice lay at an end of the grid.
        network_error: of the network at that time.
        final_error: test error of the network at the end of training.
        samples: training examples behind the kernel.
        test_samples: test examples.
        factor: largest factor by which a later kernel's error beats the first one's, and its epoch.
        match: ``(share of training, low, high)``: first time at which the kernel's error is at most the network's final
            one, and the same for the final error two binomial standard errors higher and lower; NaN when it never is.
    """

    schema: ClassVar[str] = "evolution/after_kernel"
    dims: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(
        ("step", "epoch", "solved_error", "solved_squared", "offset_squared", "ridge", "at_edge", "network_error"), ("t",)
    )

    step: np.ndarray
    epoch: np.ndarray
    solved_error: np.ndarray
    solved_squared: np.ndarray
    offset_squared: np.ndarray
    ridge: np.ndarray
    at_edge: np.ndarray
    network_error: np.ndarray
    final_error: float
    samples: int
    test_samples: int
    factor: tuple[float, float]
    match: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class LinearizedChildren(Record):
    """Children of the linearized network, trained for the steps that remain, against the network's own child.

    Attributes:
        step: of the checkpoint at which the network is linearized, ``(t,)``.
        epoch: the same in epochs.
        linear_rate: ``1 / (2 L)``, L the largest curvature of the linear model's loss.
        linear_error: test error of ``f + J (w - w_t)`` trained at that rate; NaN where it diverged.
        linear_train_error: its training error, which tells how far it converged.
        centered_error: test error of ``J (w - w_t)``, trained alike.
        rate: rates at which network and linearization are compared, ``(t, rate)``.
        advantage: test error of the linearized child minus that of the network's child at the same rate, ``(t, rate)``;
            positive: the nonlinearity helps; NaN where the linearized child diverged.
        child_error: test error of the network's own child, ``(t, rate)``.
    """

    schema: ClassVar[str] = "evolution/linearized"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys(("step", "epoch", "linear_rate", "linear_error", "linear_train_error", "centered_error"), ("t",)),
        **dict.fromkeys(("rate", "advantage", "child_error"), ("t", "rate")),
    }

    step: np.ndarray
    epoch: np.ndarray
    linear_rate: np.ndarray
    linear_error: np.ndarray
    linear_train_error: np.ndarray
    centered_error: np.ndarray
    rate: np.ndarray
    advantage: np.ndarray
    child_error: np.ndarray


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


@dataclass(frozen=True, kw_only=True)
class EvolutionCurves(Record):
    """Landscape and kernel along training, each from several seeds, on one time axis.

    Attributes:
        spawn_epoch: when children left, ``(s,)``.
        landscape: measures between the children of each time, mean over their pairs, ``(q, seed, s)``.
        motion_epoch: starts of the velocity intervals, ``(v,)``.
        velocity: kernel velocity S / dt, mean over probe sets, per epoch, ``(seed, v)``.
        alignment: centered alignment of the kernel with the labels at the same times, ``(seed, v)``.
        solved_epoch: times whose kernel is solved, ``(t,)``.
        solved_error: test error of that kernel, ``(seed, t)``.
        final_error: test error of the finished networks, ``(seed,)``.
        map_epoch: times of the map, ``(u,)``.
        pairwise: kernel distance S between any two of them, mean over seeds, ``(u, w)``.
        change: change point and 95 % interval (bootstrap over seeds) of each signal, epochs, ``(signal, 3)``.
        measures: names of the q measures.
        signals: names of the signals.
        verdicts: ``transient``, ``no transient`` or ``unresolved`` for each.
        scale: ``smoke``, ``desk`` or ``paper``.
        subject: network and data, in words.
    """

    schema: ClassVar[str] = "evolution/curves"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "spawn_epoch": ("s",),
        "landscape": ("q", "seed", "s"),
        "motion_epoch": ("v",),
        "velocity": ("seed", "v"),
        "alignment": ("seed", "v"),
        "solved_epoch": ("t",),
        "solved_error": ("seed", "t"),
        "final_error": ("seed",),
        "map_epoch": ("u",),
        "pairwise": ("u", "w"),
        "change": ("signal", "epoch_low_high"),
    }

    spawn_epoch: np.ndarray
    landscape: np.ndarray
    motion_epoch: np.ndarray
    velocity: np.ndarray
    alignment: np.ndarray
    solved_epoch: np.ndarray
    solved_error: np.ndarray
    final_error: np.ndarray
    map_epoch: np.ndarray
    pairwise: np.ndarray
    change: np.ndarray
    measures: list[str]
    signals: list[str]
    verdicts: list[str]
    scale: str
    subject: str
