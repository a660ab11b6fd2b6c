"""Records of the optimizer dynamics view.

All of them speak of the loss that was given, in its own units. Its quadratic model in the outputs around the present ones
is ``offset + |u|^2 / 2`` with the scaled error ``u = B^{1/2} (f - f_0) + B^{-1/2} g``, where g and B are gradient and
Hessian of the loss in the outputs. For a squared error that is the loss itself (``u = sqrt(2 / normalizer) (f - y)``,
offset 0); for other losses it is exact to second order.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class Spectrum(Record):
    """Modes of the loss-scaled tangent kernel ``H = B^{1/2} K B^{1/2}`` and the error's projections on them.

    Attributes:
        values: eigenvalues of H, largest first, ``(mode,)``; lr times an eigenvalue is the x of all stability limits.
        coefficients: ``z_i = v_i . u_0``, ``(mode,)``.
        vectors: eigenvectors, ``(entry, mode)``; entries are (sample, output) pairs in C order.
        residuals: ``|H v - lambda v|``, ``(mode,)``; zero for a full decomposition.
        scaled_error: u_0, ``(entry,)``.
        pull: ``v_i . B^{1/2} J w_0``, what weight decay moves, ``(mode,)``.
        offset: constant of the quadratic model; the loss at the start is ``offset + |u_0|^2 / 2``.
        loss: the loss at the start, as given.
        loss_name: the named loss.
        quadratic: whether the loss is quadratic in the outputs, so that the quadratic model is the loss.
        outputs: c, outputs of a sample.
        parameters: p.
        cutoff: eigenvalues up to this count as zero.
        zero_modes: how many do, out of all n c modes.
        flat_modes: zero modes that are no fault of the network: directions in which the loss itself does not change (for
            cross-entropy one a sample); they carry no error.
        smallest: lambda_0, the smallest eigenvalue apart from the flat modes, 0 when it is degenerate; NaN when not all modes
            were computed.
        condition: largest over smallest nonzero eigenvalue; a lower bound when not all modes were computed.
        floor: the part of the loss that no optimizer on the linearized network removes.
        effective_modes: modes that carry 99 % of ``|u_0|^2``.
        bucket_norm: norm of u_0 outside the computed modes; 0 for a full decomposition.
        bucket_value: Rayleigh quotient of H on that part; predictions move it as one mode.
        bucket_bounds: interval that holds the eigenvalues outside the computed modes.
        causes: why modes are degenerate, in words.
        complete: whether all modes were computed.
    """

    schema: ClassVar[str] = "dynamics/spectrum"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "values": ("mode",),
        "coefficients": ("mode",),
        "vectors": ("entry", "mode"),
        "residuals": ("mode",),
        "scaled_error": ("entry",),
        "pull": ("mode",),
    }

    values: np.ndarray
    coefficients: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    scaled_error: np.ndarray
    pull: np.ndarray
    offset: float
    loss: float
    loss_name: str
    quadratic: bool
    outputs: int
    parameters: int
    cutoff: float
    zero_modes: int
    flat_modes: int
    smallest: float
    condition: float
    floor: float
    effective_modes: int
    bucket_norm: float
    bucket_value: float
    bucket_bounds: tuple[float, float]
    causes: list[str]
    complete: bool

    @property
    def largest(self) -> float:
        """The largest eigenvalue."""
        return float(self.values[0])

    @property
    def positive(self) -> np.ndarray:
        """The eigenvalues above the cut-off, largest first."""
        return self.values[self.values > self.cutoff]


@dataclass(frozen=True, kw_only=True)
class Prediction(Record):
    """A training run as predicted before it happens.

    Attributes:
        step: optimizer steps, ``(t,)``.
        loss: predicted loss, as given, ``(t,)``.
        error_norm: norm of the loss's gradient in the outputs over its value at the start, ``(t,)``: for a squared error
            ``|f - y|`` over its start.
        mode_step: steps at which the modes are kept, ``(s,)``.
        amplitudes: ``z_i`` at those steps, ``(s, mode)``.
        values: eigenvalues of the modes, ``(mode,)``.
        test_outputs: predicted outputs on the test inputs at `mode_step`, ``(s, test, output)``; no test rows unless asked.
        test_loss: loss of the predicted test outputs, ``(s,)``; NaN unless asked.
        view: ``discrete``, ``ode``, ``high_resolution`` or ``linearized``.
        exactness: how the numbers relate to a run of the same optimizer on the linearized network, in words.
        optimizer: the optimizer in words.
        ode_time: what the ODE's time is, in words; "" in the other views.
        fraction: the fractions of the initial error asked for.
        steps_to_fraction: first step whose `error_norm` is below the fraction; -1 when not reached.
        rate: asymptotic factor per step of the slowest excited mode; NaN when it does not exist.
        rate_all: the same over all nonzero modes, excited or not.
        slowest_excited: eigenvalue of the slowest mode that carries error; NaN when it does not exist.
        ode_exponent: what the limiting ODE says of ``|u|^2``, in words.
        crossover: step after which the discrete rate rules and the ODE's exponent does not; NaN when not of this kind.
        warnings: conditions under which the numbers must not be trusted, each with its consequence.
    """

    schema: ClassVar[str] = "dynamics/prediction"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "step": ("t",),
        "loss": ("t",),
        "error_norm": ("t",),
        "mode_step": ("s",),
        "amplitudes": ("s", "mode"),
        "values": ("mode",),
        "test_outputs": ("s", "test", "output"),
        "test_loss": ("s",),
    }

    step: np.ndarray
    loss: np.ndarray
    error_norm: np.ndarray
    mode_step: np.ndarray
    amplitudes: np.ndarray
    values: np.ndarray
    test_outputs: np.ndarray
    test_loss: np.ndarray
    view: str
    exactness: str
    optimizer: str
    ode_time: str
    fraction: list[float]
    steps_to_fraction: list[int]
    rate: float
    rate_all: float
    slowest_excited: float
    ode_exponent: str
    crossover: float
    warnings: list[str]


@dataclass(frozen=True, kw_only=True)
class Comparison(Record):
    """A training run against what its initial kernel predicts, on a probe set of training samples.

    Predictions form a ladder, each rung with one idealization less: the limiting equation (``ode``), the optimizer's own
    steps on the quadratic model of the loss (``modes``), the same under the loss itself (``loss``), the linearized network
    trained on the same batches (``linearized``), and the network. What separates two neighbors has one cause: the step
    size, the loss's curvature, mini-batch noise, and the network's nonlinearity.

    Attributes:
        step: optimizer steps compared, ``(t,)``.
        epoch: the same in epochs.
        loss: of the run on the probe set, ``(t,)``.
        predicted_loss: of the prediction (the lowest rung above ``ode``), ``(t,)``.
        discrepancy: ``|u_run - u_predicted| / |u_0|``, u the scaled error of the probe set, ``(t,)``.
        gap: the same between neighboring rungs, ``(pair, t)``.
        kernel_change: ``|K_t - K_0| / |K_0|`` of the loss-scaled kernel of the probe set, ``(t,)``.
        flipped: share of rectifier inputs whose sign differs from the start, ``(t,)``; NaN without such layers.
        margin: lr x largest eigenvalue of the probe set's loss-scaled kernel over the optimizer's limit, ``(t,)``.
        band_edge: first mode of each band (modes by falling eigenvalue), and the number of modes last, ``(edge,)``.
        band_value: mean eigenvalue of each band, ``(band,)``.
        band_gap: the part of the discrepancy that lies in each band, ``(t, band)``; its squares add up to the whole's.
        band_run: norm of the run's amplitudes in each band over its start, ``(t, band)``; NaN where a band starts without error.
        band_predicted: the same of the prediction, ``(t, band)``.
        pairs: ``lower-higher`` rung of each row of `gap`.
        predictor: the rung that `discrepancy` is measured from.
        tolerance: a departure is a discrepancy above it.
        departure_step: first compared step beyond the tolerance; -1 when there is none.
        departure_epoch: the same in epochs; NaN when there is none.
        cause: ``none``, ``step size``, ``loss curvature``, ``noise``, ``feature learning`` or ``edge of stability``.
        explanation: how the cause was told.
        batch: samples of a mini-batch in the linearized run.
        samples: in the probe set.
    """

    schema: ClassVar[str] = "dynamics/comparison"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "step": ("t",),
        "epoch": ("t",),
        "loss": ("t",),
        "predicted_loss": ("t",),
        "discrepancy": ("t",),
        "gap": ("pair", "t"),
        "kernel_change": ("t",),
        "flipped": ("t",),
        "margin": ("t",),
        "band_edge": ("edge",),
        "band_value": ("band",),
        "band_gap": ("t", "band"),
        "band_run": ("t", "band"),
        "band_predicted": ("t", "band"),
    }

    step: np.ndarray
    epoch: np.ndarray
    loss: np.ndarray
    predicted_loss: np.ndarray
    discrepancy: np.ndarray
    gap: np.ndarray
    kernel_change: np.ndarray
    flipped: np.ndarray
    margin: np.ndarray
    band_edge: np.ndarray
    band_value: np.ndarray
    band_gap: np.ndarray
    band_run: np.ndarray
    band_predicted: np.ndarray
    pairs: list[str]
    predictor: str
    tolerance: float
    departure_step: int
    departure_epoch: float
    cause: str
    explanation: str
    batch: int
    samples: int


@dataclass(frozen=True, kw_only=True)
class MinibatchMoments(Record):
    """Mini-batch SGD on the linearized network, in expectation over independent batches.

    Attributes:
        step: optimizer steps, ``(t,)``.
        mean_error: the expected scaled error, ``(t, entry)``.
        expected_loss: ``offset + E |u|^2 / 2``, ``(t,)``.
        loss_of_mean: ``offset + |E u|^2 / 2``: what a run without noise would have, ``(t,)``.
        batch: samples of a batch.
        optimizer: in words.
        growth: factor per step of ``E |u|^2`` over the last step; above 1 the noise itself diverges.
    """

    schema: ClassVar[str] = "dynamics/minibatch_moments"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "step": ("t",),
        "mean_error": ("t", "entry"),
        "expected_loss": ("t",),
        "loss_of_mean": ("t",),
    }

    step: np.ndarray
    mean_error: np.ndarray
    expected_loss: np.ndarray
    loss_of_mean: np.ndarray
    batch: int
    optimizer: str
    growth: float
