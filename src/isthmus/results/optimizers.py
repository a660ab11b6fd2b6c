"""Records of decisions about an optimizer: stability, tuning, ranking, regime. Conventions as in `results.dynamics`."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class Stability(Record):
    """How far an optimizer is from its stability limit at the present parameters.

    Attributes:
        learning_rate: step size asked about; of a schedule, where it comes closest to its limit.
        eigenvalue: largest eigenvalue that the step meets: of the loss-scaled kernel, plus coupled weight decay; behind a
            preconditioner P, of ``B^{1/2} J P^{-1} J^T B^{1/2}``.
        residual: error bound of that eigenvalue.
        x: learning rate x eigenvalue.
        limit: the x at which the slowest-damped mode stops shrinking.
        margin: x / limit; stable below 1.
        largest_rate: the step size at the limit.
        unstable_modes: how many of the known modes lie above the limit.
        unstable_share: their share of the squared error.
        optimizer: in words.
        preconditioned: what P is, in words; "" without one.
        verdict: ``stable``, ``marginal``, ``catapult expected``, ``diverges`` (in the linear model).
        consequence: what follows, and what to write instead.
    """

    schema: ClassVar[str] = "dynamics/stability"

    learning_rate: float
    eigenvalue: float
    residual: float
    x: float
    limit: float
    margin: float
    largest_rate: float
    unstable_modes: int
    unstable_share: float
    optimizer: str
    preconditioned: str
    verdict: str
    consequence: str


@dataclass(frozen=True, kw_only=True)
class Tuning(Record):
    """The best settings of one family of optimizers on the modes of a problem.

    Attributes:
        family: ``gradient_descent``, ``heavy_ball`` or ``nesterov``.
        objective: ``rate`` or ``steps``.
        fraction: of the reachable error, sought by ``steps``.
        learning_rate: found.
        momentum: found; 0 for gradient descent.
        rate: asymptotic factor per step of the slowest nonzero mode.
        steps: predicted steps to the fraction; -1 when not reached within `max_steps`.
        closed_form_rate: learning rate of the optimum in closed form.
        closed_form_momentum: its momentum.
        closed_form_steps: steps to the fraction there.
        tried: settings evaluated.
        max_steps: where counting stops.
    """

    schema: ClassVar[str] = "dynamics/tuning"

    family: str
    objective: str
    fraction: float
    learning_rate: float
    momentum: float
    rate: float
    steps: int
    closed_form_rate: float
    closed_form_momentum: float
    closed_form_steps: int
    tried: int
    max_steps: int


@dataclass(frozen=True, kw_only=True)
class Ranking(Record):
    """Optimizers at their closed-form settings, by predicted steps.

    Attributes:
        learning_rate: of each row, ``(row,)``.
        momentum: of each row; NaN for a schedule.
        steps: predicted steps to each fraction of the reachable error, ``(row, fraction)``; -1 when not reached.
        residual: error left when counting stops or the last fraction is reached, relative to the reachable error, ``(row,)``.
        rate: asymptotic factor per step over all nonzero modes, ``(row,)``.
        fraction: the fractions, ``(fraction,)``.
        names: of the rows, fewest steps first.
        own: the row that is the optimizer asked about; -1 without one.
        max_steps: where counting stops.
        smallest: the smallest eigenvalue that had to move for the last fraction, mu of the closed forms.
        largest: the largest, L of the closed forms.
    """

    schema: ClassVar[str] = "dynamics/ranking"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "learning_rate": ("row",),
        "momentum": ("row",),
        "steps": ("row", "fraction"),
        "residual": ("row",),
        "rate": ("row",),
        "fraction": ("fraction",),
    }

    learning_rate: np.ndarray
    momentum: np.ndarray
    steps: np.ndarray
    residual: np.ndarray
    rate: np.ndarray
    fraction: np.ndarray
    names: list[str]
    own: int
    max_steps: int
    smallest: float
    largest: float


@dataclass(frozen=True, kw_only=True)
class Regime(Record):
    """Whether a kernel prediction can be trusted, judged before training.

    Attributes:
        margin: learning rate x largest eigenvalue over the optimizer's limit.
        learning_rate: asked about.
        largest_rate: the largest admissible one.
        steps: how far the linearized network was followed.
        nonlinearity: ``|f(w) - f_lin(w)| / |f_lin(w) - f_0|`` at the weights w to which the linearized network goes.
        kernel_change: ``|K(w) - K(w_0)| / |K(w_0)|`` there, on `kernel_samples` inputs.
        kernel_samples: inputs of that kernel.
        width: smallest hidden width; 0 when no dense or convolution layer tells one.
        log10_bound: log10 of the width that the proofs ask for, ``n^6 / (lambda_0^4 delta^3)`` at delta = 0.1; infinite for a
            degenerate kernel, NaN when the loss is not quadratic or not all modes are known.
        optimizer: in words.
        verdict: ``kernel regime``, ``feature learning expected``, ``edge of stability or catapult expected``.
        consequence: what follows, and what to write instead.
    """

    schema: ClassVar[str] = "dynamics/regime"

    margin: float
    learning_rate: float
    largest_rate: float
    steps: int
    nonlinearity: float
    kernel_change: float
    kernel_samples: int
    width: int
    log10_bound: float
    optimizer: str
    verdict: str
    consequence: str


@dataclass(frozen=True, kw_only=True)
class OptimizerRuns(Record):
    """Several optimizers on one setting, each run beside what its initial kernel predicts, over seeds.

    Attributes:
        step: full-batch steps, ``(t,)``.
        loss: of the runs, as given, ``(seed, row, t)``; infinite where a run left the range of numbers.
        predicted: by the modes of the initial kernel, ``(seed, row, t)``.
        margin: lr x largest eigenvalue over the optimizer's limit at the start, ``(seed, row)``.
        names: of the optimizers.
        verdict: of `regime_check` before the first seed's training, for each row.
        setting: network, data and loss in words.
        width: hidden units.
        samples: training samples.
    """

    schema: ClassVar[str] = "dynamics/optimizer_runs"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "step": ("t",),
        "loss": ("seed", "row", "t"),
        "predicted": ("seed", "row", "t"),
        "margin": ("seed", "row"),
    }

    step: np.ndarray
    loss: np.ndarray
    predicted: np.ndarray
    margin: np.ndarray
    names: list[str]
    verdict: list[str]
    setting: str
    width: int
    samples: int
