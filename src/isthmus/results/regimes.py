"""Records of where training starts and how simple it stays: regimes, condensation, rank, spectra and reductions of wide networks."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class InitializationRegime(Record):
    """Where a two-layer network stands in the phase diagram of initializations.

    Attributes:
        gamma: ``-log(b1 b2) / log m``: how small one unit's contribution is.
        gamma_prime: ``-log(b1 / b2) / log m``: how small outgoing weights are against own ones.
        margin: ``min(gamma - 1, gamma - 1 - gamma')``: negative linear, zero critical, positive condensed.
        resolution: ``log 2 / log m``; margins below it are critical.
        own_scale: b2, root mean square of own weights times that of ``|(x, 1)|``.
        outgoing_scale: b1, root mean square of outgoing weights over that of the targets.
        width: m.
        regime: ``linear``, ``critical`` or ``condensed``.
    """

    schema: ClassVar[str] = "embedding/initialization_regime"

    gamma: float
    gamma_prime: float
    margin: float
    resolution: float
    own_scale: float
    outgoing_scale: float
    width: int
    regime: str


@dataclass(frozen=True, kw_only=True)
class RegimeMeasurement(Record):
    """How far own weights move at several widths, all with the same exponents.

    Attributes:
        width: ``(width,)``.
        moved: ``|w - w_0| / |w_0|`` over all own weights, ``(seed, width)``.
        loss: at the end over that of the zero function, ``(seed, width)``.
        gamma: exponent of the initialization.
        gamma_prime: exponent of the initialization.
        predicted: regime that the exponents predict.
        slope: mean exponent of `moved` in the width.
        interval: its 95 % interval over seeds.
        regime: ``linear`` (the slope is negative), ``critical`` (near zero), ``condensed`` (positive) or ``unresolved``.
    """

    schema: ClassVar[str] = "embedding/regime_measurement"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "width": ("width",),
        "moved": ("seed", "width"),
        "loss": ("seed", "width"),
        "interval": ("end",),
    }

    width: np.ndarray
    moved: np.ndarray
    loss: np.ndarray
    gamma: float
    gamma_prime: float
    predicted: str
    slope: float
    interval: np.ndarray
    regime: str


@dataclass(frozen=True, kw_only=True)
class Condensation(Record):
    """How many directions the units of each layer follow along a run.

    Attributes:
        step: optimizer steps, ``(t,)``.
        effective: ``1 / sum_ij p_i p_j k(d_i, d_j)``, p the shares of strength ``|p_i| |u_i|``, d the own parameters'
            directions, k their squared cosine (positive cosines only, unless the activation is odd), ``(t, layer)``.
        counted: directions after joining units at `cosine`, the weakest dropped, ``(t, layer)``.
        alignment: cosine of each unit with its layer's strongest direction, ``(t, unit)``; folded for odd activations.
        strength: share of each unit in its layer's strength, ``(t, unit)``.
        layer: index into `layers`, ``(unit,)``.
        layers: names.
        widths: units of each layer.
        cosine: from which on two directions are one.
    """

    schema: ClassVar[str] = "embedding/condensation"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "step": ("t",),
        "effective": ("t", "layer"),
        "counted": ("t", "layer"),
        "alignment": ("t", "unit"),
        "strength": ("t", "unit"),
        "layer": ("unit",),
    }

    step: np.ndarray
    effective: np.ndarray
    counted: np.ndarray
    alignment: np.ndarray
    strength: np.ndarray
    layer: np.ndarray
    layers: list[str]
    widths: list[int]
    cosine: float


@dataclass(frozen=True, kw_only=True)
class ModelRank(Record):
    """How many samples a target of the network's own function needs at best.

    Attributes:
        values: singular values of the Jacobian of all outputs, descending, ``(k,)``.
        rank: of the network as it stands, ``dim span {df/dw_i}`` over the inputs.
        minimal: the same after shrinking: an upper bound on the least rank of parameters with this function.
        samples: ``minimal`` over the number of outputs, rounded up: the optimistic sample size.
        cutoff: singular values up to here count as zero.
        gap: smallest value above the cut-off over the largest below it (or over rounding).
        resolved: whether the gaps of both ranks are wide enough.
        limited: whether the inputs are too few to see the whole rank, which is then a lower bound.
        widths: units of each layer before and after shrinking, ``"layer: before -> after"``.
        parameters: of the network.
    """

    schema: ClassVar[str] = "embedding/model_rank"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"values": ("k",)}

    values: np.ndarray
    rank: int
    minimal: int
    samples: int
    cutoff: float
    gap: float
    resolved: bool
    limited: bool
    widths: list[str]
    parameters: int


@dataclass(frozen=True, kw_only=True)
class EmbeddedSpectra(Record):
    """Hessian spectra of a critical point and of its images in wider networks.

    Attributes:
        width: hidden units, ``(stage,)``.
        values: eigenvalues ascending, padded with NaN, ``(stage, p)``.
        inertia: negative, zero, positive, ``(stage, 3)``.
        predicted: the same from the narrow network alone, ``(stage, 3)``.
        gradient: norm of the gradient, ``(stage,)``.
        cutoff: magnitudes up to here count as zero, ``(stage,)``.
        shares: what was split into which shares, in words, by stage.
        loss: at all of them.
        loss_name: which loss.
    """

    schema: ClassVar[str] = "embedding/embedded_spectra"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "width": ("stage",),
        "values": ("stage", "p"),
        "inertia": ("stage", "sign"),
        "predicted": ("stage", "sign"),
        "gradient": ("stage",),
        "cutoff": ("stage",),
    }

    width: np.ndarray
    values: np.ndarray
    inertia: np.ndarray
    predicted: np.ndarray
    gradient: np.ndarray
    cutoff: np.ndarray
    shares: list[str]
    loss: float
    loss_name: str


@dataclass(frozen=True, kw_only=True)
class WideReduction(Record):
    """A wide network in training, and the narrow one that joining its units of one direction leaves.

    Attributes:
        step: of the wide run, ``(t,)``.
        loss: of the wide network, ``(t,)``.
        directions: that its units follow, ``(t,)``.
        refit_step: steps of retraining the reduced network, ``(r,)``.
        refit_loss: its loss, ``(r,)``.
        reduced_at: step at which the wide network was reduced.
        width: hidden units of the wide network.
        reduced_width: of the reduced one.
        agreement: share of test samples on which both name the same class, before and after retraining, ``(2,)``.
        accuracy: test accuracy of the wide network, and of the reduced one before and after retraining, ``(3,)``.
        cosine: from which on two directions are one.
        loss_name: which loss.
    """

    schema: ClassVar[str] = "embedding/wide_reduction"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "step": ("t",),
        "loss": ("t",),
        "directions": ("t",),
        "refit_step": ("r",),
        "refit_loss": ("r",),
        "agreement": ("before_after",),
        "accuracy": ("network",),
    }

    step: np.ndarray
    loss: np.ndarray
    directions: np.ndarray
    refit_step: np.ndarray
    refit_loss: np.ndarray
    reduced_at: int
    width: int
    reduced_width: int
    agreement: np.ndarray
    accuracy: np.ndarray
    cosine: float
    loss_name: str
