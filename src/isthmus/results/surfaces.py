"""Records of the loss on planes in parameter space, and of curved paths between networks."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record

_FRAME: dict[str, tuple[str, ...]] = {"landmarks": ("m", "k"), "path": ("q", "k"), "off": ("q",)}


@dataclass(frozen=True, kw_only=True)
class PlaneFrame(Record):
    """What a plane ``w = w_0 + x d_1 + y d_2`` is, whatever was sampled on it.

    Attributes:
        landmarks: coordinates of named points, ``(m, 2)``.
        path: coordinates of points projected onto the plane, in order, ``(q, 2)``.
        off: distance of each of them from the plane, ``(q,)``.
        landmark_names: names of the landmarks.
        axis_names: what the two directions are.
        lengths: norms of the two directions; a step of 1 along an axis is that far.
        cosine: between the directions.
        loss_name: the loss, as given.
        data: ``"train"`` or ``"test"``.
        origin: loss and share of wrong labels at ``w_0`` with the network's own buffers.
        not_finite: how many of the losses are NaN or infinite; they are kept as they are.
    """

    landmarks: np.ndarray
    path: np.ndarray
    off: np.ndarray
    landmark_names: list[str]
    axis_names: list[str]
    lengths: tuple[float, float]
    cosine: float
    loss_name: str
    data: str
    origin: tuple[float, float]
    not_finite: int


@dataclass(frozen=True, kw_only=True)
class LossPlane(PlaneFrame):
    """Loss and error on a grid of a plane in parameter space.

    Attributes:
        x: grid along the first direction, ``(a,)``.
        y: grid along the second, ``(b,)``.
        loss: as given, at ``(x_i, y_j)``, ``(a, b)``.
        wrong: share of wrong argmax labels there; NaN when the targets are not classes.
    """

    schema: ClassVar[str] = "curvature/plane"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "x": ("a",),
        "y": ("b",),
        "loss": ("a", "b"),
        "wrong": ("a", "b"),
        **_FRAME,
    }

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    wrong: np.ndarray


@dataclass(frozen=True, kw_only=True)
class AdaptiveLossPlane(PlaneFrame):
    """Loss and error at points of a plane that lie denser where the loss changes.

    Attributes:
        x: first coordinates, ``(s,)``, in the order of evaluation.
        y: second coordinates, ``(s,)``.
        loss: as given, ``(s,)``.
        wrong: share of wrong argmax labels; NaN when the targets are not classes.
        generation: 0 for the first grid, then the round that asked for the point, ``(s,)``.
    """

    schema: ClassVar[str] = "curvature/adaptive_plane"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "x": ("s",),
        "y": ("s",),
        "loss": ("s",),
        "wrong": ("s",),
        "generation": ("s",),
        **_FRAME,
    }

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    wrong: np.ndarray
    generation: np.ndarray


@dataclass(frozen=True, kw_only=True)
class CurveProfile(Record):
    """Loss and error along a trained curve between two networks, and along the straight line between them.

    Attributes:
        position: t in [0, 1] on the curve, refined near the maxima, ``(t,)``.
        values: the quantities along the curve, ``(quantity, t)``.
        line_position: the same on the straight line, ``(u,)``.
        line_values: the quantities along the straight line, ``(quantity, u)``.
        chord: ``max_t [R(c(t)) - (1 - t) R(c(0)) - t R(c(1))]`` on the curve, ``(quantity,)``.
        line_chord: the same on the straight line.
        bends: trained control points, ``(bend, p)``.
        quantities: names of the rows, of train_loss, train_error, test_loss, test_error those that exist.
        kind: ``"bezier"`` or ``"polygon"``.
        length: of the curve, and of the straight line, in parameter space.
        steps: optimizer steps that trained it.
    """

    schema: ClassVar[str] = "curvature/curve"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "position": ("t",),
        "values": ("quantity", "t"),
        "line_position": ("u",),
        "line_values": ("quantity", "u"),
        "chord": ("quantity",),
        "line_chord": ("quantity",),
        "bends": ("bend", "p"),
    }

    position: np.ndarray
    values: np.ndarray
    line_position: np.ndarray
    line_values: np.ndarray
    chord: np.ndarray
    line_chord: np.ndarray
    bends: np.ndarray
    quantities: list[str]
    kind: str
    length: tuple[float, float]
    steps: int
