"""Records of the embedding view: units, growth, escape, census, plateaus."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.critical import Inertia
from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class UnitCurvature(Record):
    """The split matrices of every unit: what growing it would do.

    Attributes:
        layer: index into `layers`, ``(unit,)``.
        unit: index within its layer, ``(unit,)``.
        lowest: smallest eigenvalue of S, ``(unit,)``: a split with a share in (0, 1) loses ``alpha (1 - alpha) |lowest|
            eps^2 / 2`` of the loss along it when negative.
        highest: largest eigenvalue of S.
        lowest_error: standard error over parts of the data plus the eigenvalue's residual.
        highest_error: the same for the largest.
        coupling: largest singular value of D; above zero the split is a saddle for every share.
        escape: lowest Hessian eigenvalue that an equal split adds, ``min eig [[S/2, D^T], [D, 0]]``.
        escape_error: its standard error over parts of the data plus residual.
        missing: per layer, norm of ``sum e (x) input``, the matrix that a null unit would open; NaN where not a Linear.
        layers: names.
        own: trainable own parameters of one unit, by layer.
        outgoing: its outgoing weights, by layer.
        verdicts: of an equal split of each unit, ``label; shares``; empty when the point is not critical.
        gradient_norm: of the whole loss at this point.
        exact: whether S and D were formed as matrices (by layer), else Lanczos.
        batches: parts of the data behind the standard errors.
        products: Hessian products of the frozen-error functional, over all layers.
        loss: at this point.
        loss_name: which loss.
    """

    schema: ClassVar[str] = "embedding/unit_curvature"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "layer": ("unit",),
        "unit": ("unit",),
        "lowest": ("unit",),
        "highest": ("unit",),
        "lowest_error": ("unit",),
        "highest_error": ("unit",),
        "coupling": ("unit",),
        "escape": ("unit",),
        "escape_error": ("unit",),
        "missing": ("layer",),
    }

    layer: np.ndarray
    unit: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    lowest_error: np.ndarray
    highest_error: np.ndarray
    coupling: np.ndarray
    escape: np.ndarray
    escape_error: np.ndarray
    missing: np.ndarray
    layers: list[str]
    own: list[int]
    outgoing: list[int]
    verdicts: list[str]
    gradient_norm: float
    exact: list[bool]
    batches: int
    products: int
    loss: float
    loss_name: str


@dataclass(frozen=True, kw_only=True)
class GrowthPrediction(Record):
    """Inertia after growth, from the small network alone.

    Attributes:
        added: negative, zero and positive eigenvalues that each grown unit adds, ``(unit, 3)``.
        units: what each row is, in words.
        narrow: inertia of the small network.
        wide: predicted inertia of the grown network.
        cutoff: the one cut-off for all matrices, absolute.
        label: ``strict minimum``, ``minimum with flat directions``, ``strict saddle``, ``undecided`` or ``unresolved``.
        reason: why.
        shares: for each split unit, the shares alpha for which an equal statement holds.
        gradient_norm: of the small network; the law holds at any point, the label only at a critical one.
        resolved: whether every count has a gap.
    """

    schema: ClassVar[str] = "embedding/growth_prediction"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"added": ("unit", "inertia")}

    added: np.ndarray
    units: list[str]
    narrow: Inertia
    wide: Inertia
    cutoff: float
    label: str
    reason: str
    shares: list[str]
    gradient_norm: float
    resolved: bool


@dataclass(frozen=True, kw_only=True)
class Escape(Record):
    """Leaving a grown critical point.

    Attributes:
        size: step lengths, ``(s,)``.
        predicted: loss change to second order at each, ``(s,)``.
        measured: the loss change found.
        layer: that was grown.
        unit: that was split.
        alpha: share of the clone.
        eigenvalue: of the wide Hessian along the direction (a Rayleigh quotient).
        time_constant: ``1 / |eigenvalue|`` in units of steps times learning rate.
        loss_before: at the grown point.
        loss_after: lowest loss reached, with noise or without.
        loss_locked: of the highest saddle at which a pure push came to rest; NaN when none did.
        locked: whether there is one: the pure direction was held by a symmetry that noise broke.
        escaped: whether a lower loss was found at all.
    """

    schema: ClassVar[str] = "embedding/escape"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"size": ("s",), "predicted": ("s",), "measured": ("s",)}

    size: np.ndarray
    predicted: np.ndarray
    measured: np.ndarray
    layer: str
    unit: int
    alpha: float
    eigenvalue: float
    time_constant: float
    loss_before: float
    loss_after: float
    loss_locked: float
    locked: bool
    escaped: bool


@dataclass(frozen=True, kw_only=True)
class Census(Record):
    """Critical points of two-layer networks by width, and which of them come from narrower ones.

    Attributes:
        width: hidden units, ``(class,)``.
        loss: ``(class,)``.
        inertia: negative, zero, positive Hessian eigenvalues, ``(class, 3)``.
        resolved: whether that count has a gap.
        gradient: norm at the representative.
        hits: searches that ended in the class.
        core_width: units left after joining clones and dropping silent ones.
        parent: the class of that core at its own width, or -1 (not met there, or genuine).
        core_gradient: gradient norm of the core in the narrow network; NaN when genuine.
        steep: largest own-weight norm times the input spread.
        points: flat parameters of the representative, padded with NaN, ``(class, p)``.
        kinds: composition of the units, in words, by class.
        widths: searched.
        starts: searches at each width.
        converged: searches that ended at a critical point.
        output_range: largest absolute output difference between class and parent; NaN without parent.
        loss_name: which loss.
    """

    schema: ClassVar[str] = "embedding/census"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "width": ("class",),
        "loss": ("class",),
        "inertia": ("class", "sign"),
        "resolved": ("class",),
        "gradient": ("class",),
        "hits": ("class",),
        "core_width": ("class",),
        "parent": ("class",),
        "core_gradient": ("class",),
        "steep": ("class",),
        "points": ("class", "p"),
        "output_range": ("class",),
    }

    width: np.ndarray
    loss: np.ndarray
    inertia: np.ndarray
    resolved: np.ndarray
    gradient: np.ndarray
    hits: np.ndarray
    core_width: np.ndarray
    parent: np.ndarray
    core_gradient: np.ndarray
    steep: np.ndarray
    points: np.ndarray
    output_range: np.ndarray
    kinds: list[str]
    widths: list[int]
    starts: list[int]
    converged: list[int]
    loss_name: str


@dataclass(frozen=True, kw_only=True)
class PlateauTimeline(Record):
    """Which narrower network's critical point a run is near, checkpoint by checkpoint.

    Attributes:
        step: optimizer steps, ``(t,)``.
        loss: of the run.
        joined: units left in each layer after joining those that point the same way, ``(t, layer)``.
        level: loss of the narrow critical point; NaN when there is none.
        gap: ``loss - level``, signed.
        distance: root mean square output difference between the run and the narrow critical function.
        parameter_distance: from the run to the nearest copy-and-share image of the narrow point, relative to the norm of
            the run's parameters; NaN for more than one hidden layer.
        rate: lowest Hessian eigenvalue that the image has at equal shares; negative where it can be left.
        exit_steps: ``1 / (lr |rate|)``, the e-folding time of leaving along it; NaN without a learning rate.
        inertia: of the narrow point, ``(t, 3)``; -1 when there is none.
        near: whether the run is near it: ``|gap|`` and the mean squared output distance within 5 % of the level.
        layers: names.
        widths: units of each layer.
        reasons: the verdict in words, by checkpoint.
        nearest: index of the near checkpoint with the smallest output distance, or -1.
        loss_name: which loss.
    """

    schema: ClassVar[str] = "embedding/plateau"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "step": ("t",),
        "loss": ("t",),
        "joined": ("t", "layer"),
        "level": ("t",),
        "gap": ("t",),
        "distance": ("t",),
        "parameter_distance": ("t",),
        "rate": ("t",),
        "exit_steps": ("t",),
        "inertia": ("t", "sign"),
        "near": ("t",),
    }

    step: np.ndarray
    loss: np.ndarray
    joined: np.ndarray
    level: np.ndarray
    gap: np.ndarray
    distance: np.ndarray
    parameter_distance: np.ndarray
    rate: np.ndarray
    exit_steps: np.ndarray
    inertia: np.ndarray
    near: np.ndarray
    layers: list[str]
    widths: list[int]
    reasons: list[str]
    nearest: int
    loss_name: str
