"""Records of a run beyond its kernel: flows of the network itself, and where its curvature stands against the step size."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class GradientFlow(Record):
    """The limiting equation of an optimizer, integrated on the network itself.

    Attributes:
        step: optimizer steps at whose times the flow is kept, ``(t,)``.
        time: the flow's own time there, ``(t,)``.
        loss: as given, ``(t,)``.
        gradient_norm: ``|grad L|``, ``(t,)``.
        sharpness: largest eigenvalue of the loss's Hessian (plus weight decay), ``(t,)``; NaN when it was not asked for.
        margin: lr x sharpness over the optimizer's limit, ``(t,)``: the flow speaks of the optimizer while it is below 1.
        weights: the flat parameters, ``(t, parameter)``.
        edge_step: first kept step at which the margin reaches 1; -1 when it does not.
        optimizer: in words.
        equation: what was integrated, and the map of time.
        rtol: relative tolerance of the integrator.
        evaluations: gradients computed.
    """

    schema: ClassVar[str] = "dynamics/gradient_flow"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "step": ("t",),
        "time": ("t",),
        "loss": ("t",),
        "gradient_norm": ("t",),
        "sharpness": ("t",),
        "margin": ("t",),
        "weights": ("t", "parameter"),
    }

    step: np.ndarray
    time: np.ndarray
    loss: np.ndarray
    gradient_norm: np.ndarray
    sharpness: np.ndarray
    margin: np.ndarray
    weights: np.ndarray
    edge_step: int
    optimizer: str
    equation: str
    rtol: float
    evaluations: int


@dataclass(frozen=True, kw_only=True)
class CentralFlow(Record):
    """The path of an optimizer's time average, at and beyond the edge of stability.

    Effective curvature is that of ``P^{-1/2} H P^{-1/2}`` with ``w' = -P^{-1} grad L``: lr x H for gradient descent, whose edge is 2.

    Attributes:
        step: optimizer steps, ``(t,)``.
        loss: of the averaged weights, ``(t,)``.
        mean_loss: predicted time average of the loss, oscillation included, ``(t,)``.
        effective: largest eigenvalues of the effective curvature, ``(t, k)``; the flow keeps them at most 2.
        variance: predicted time average of ``|w - averaged w|^2``, ``(t,)``; 0 below the edge.
        unstable: directions that oscillate, ``(t,)``.
        weights: the averaged flat parameters, ``(t, parameter)``.
        edge_step: first kept step with an oscillation; -1 when there is none.
        optimizer: in words.
        substeps: Euler steps of the flow for one optimizer step.
        overshoot: how far the effective curvature ever exceeded 2 after the first step: the error of the discretization.
    """

    schema: ClassVar[str] = "dynamics/central_flow"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "step": ("t",),
        "loss": ("t",),
        "mean_loss": ("t",),
        "effective": ("t", "k"),
        "variance": ("t",),
        "unstable": ("t",),
        "weights": ("t", "parameter"),
    }

    step: np.ndarray
    loss: np.ndarray
    mean_loss: np.ndarray
    effective: np.ndarray
    variance: np.ndarray
    unstable: np.ndarray
    weights: np.ndarray
    edge_step: int
    optimizer: str
    substeps: int
    overshoot: float


@dataclass(frozen=True, kw_only=True)
class EdgeOfStability(Record):
    """Sharpness of a run against the limit that its step size sets, and what the run does about it.

    Attributes:
        step: checkpoints measured, ``(t,)``.
        epoch: the same in epochs.
        loss: of the measured samples, as given, ``(t,)``.
        sharpness: largest eigenvalue of the loss's Hessian, plus coupled weight decay; behind an adaptive optimizer's
            preconditioner of ``P^{-1/2} H P^{-1/2}``, ``(t,)``.
        residual: error bound of that eigenvalue, ``(t,)``.
        learning_rate: in force, ``(t,)``.
        limit: the value of lr x sharpness at which the optimizer's step stops shrinking that direction, ``(t,)``.
        margin: lr x sharpness / limit, ``(t,)``: 1 is the edge.
        turn: cosine between the steps into and out of the checkpoint, ``(t,)``: -1 is an oscillation of period two; NaN
            where a neighboring step was not kept.
        sharpening: largest sharpness up to the edge (or the end) over the first.
        edge_step: first measured step with a margin of at least 0.95; -1 when there is none.
        after: mean margin from there on; NaN without an edge.
        phase: ``stable``, ``progressive sharpening``, ``edge of stability``, ``catapult``, ``unstable`` or ``flattening``.
        explanation: how the phase was told.
        samples: training samples measured.
        optimizer: in words.
        preconditioned: what P is, in words; "" without one.
    """

    schema: ClassVar[str] = "dynamics/edge_of_stability"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "step": ("t",),
        "epoch": ("t",),
        "loss": ("t",),
        "sharpness": ("t",),
        "residual": ("t",),
        "learning_rate": ("t",),
        "limit": ("t",),
        "margin": ("t",),
        "turn": ("t",),
    }

    step: np.ndarray
    epoch: np.ndarray
    loss: np.ndarray
    sharpness: np.ndarray
    residual: np.ndarray
    learning_rate: np.ndarray
    limit: np.ndarray
    margin: np.ndarray
    turn: np.ndarray
    sharpening: float
    edge_step: int
    after: float
    phase: str
    explanation: str
    samples: int
    optimizer: str
    preconditioned: str
