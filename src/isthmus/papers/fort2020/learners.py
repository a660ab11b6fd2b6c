"""Checks about the kernel as a learner: convolutional networks on the signals, whose kernels are solved on the way."""

import numpy as np

from isthmus._core.seeds import Seed
from isthmus.claims import Evidence
from isthmus.claims.claim import ScaleName
from isthmus.model.problem import Problem
from isthmus.papers.fort2020.curves import solved
from isthmus.papers.fort2020.instances import family, kernel_steps

_FACTOR, _EPOCHS = 3.0, 4
_SHARE = 0.45


def _learned(scale: ScaleName, seed: Seed) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Epochs and shares of training of the solved kernels, their errors ``(seed, t)``, and the networks' final ones."""
    made = family("convolutional", scale, seed.root)
    steps = kernel_steps(scale, max(made.parents), made.steps_per_epoch)
    errors, final = solved("convolutional", scale, seed.root, tuple(steps))
    return np.array(list(steps)) / made.steps_per_epoch, np.array(list(steps.values())), errors, final


def _factor_evidence(scale: ScaleName, seed: Seed, *, frozen: bool) -> Evidence:
    epochs, _, errors, _ = _learned(scale, seed)
    errors = np.repeat(errors[:, :1], len(epochs), 1) if frozen else errors
    early = (epochs > 0) & (epochs <= _EPOCHS)
    return Evidence.over_seeds(
        errors[:, early].min(1) / errors[:, 0],
        quantity="test error of the best kernel within 4 epochs over that of the initial kernel (ridge regression, ridge by KARE)",
        predicted="at most 1/3",
        threshold=1 / _FACTOR,
        reason="the abstract's factor 3 in under 3 to 4 epochs",
        axis=epochs,
        axis_name="epoch",
        measured=errors,
        measured_name="test error of the kernel of that time",
    )


def check_factor(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Kernels of small convolutional networks at 2 and 4 epochs against the initial one."""
    return _factor_evidence(scale, seed, frozen=False)


def control_factor(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Kernels that stand still, as those of a lazy network do: every later kernel is the first."""
    return _factor_evidence(scale, seed, frozen=True)


def _match_evidence(scale: ScaleName, seed: Seed, *, frozen: bool) -> Evidence:
    epochs, shares, errors, final = _learned(scale, seed)
    errors = np.repeat(errors[:, :1], len(epochs), 1) if frozen else errors
    at = int(np.flatnonzero(shares <= _SHARE + 0.01)[-1])
    return Evidence.over_seeds(
        errors[:, at] / final,
        quantity="test error of the kernel at 45 % of training over that of the finished network",
        predicted="at most 1: the kernel matches the network after 15 to 45 % of training",
        threshold=1.0,
        reason="1 is a match; 45 % is the later end of the abstract's range",
        axis=shares,
        axis_name="share of training",
        measured=errors / final[:, None],
        measured_name="kernel's test error over the finished network's",
    )


def check_match(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Kernels of small convolutional networks against the networks at the end of their training."""
    return _match_evidence(scale, seed, frozen=False)


def control_match(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Kernels that stand still, as those of a lazy network do."""
    return _match_evidence(scale, seed, frozen=True)
