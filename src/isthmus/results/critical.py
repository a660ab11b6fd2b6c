"""Records of critical points: inertia, full spectrum, certificate."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, order=True)
class Inertia:
    """How many eigenvalues of a symmetric matrix are negative, zero and positive."""

    negative: int
    zero: int
    positive: int

    def __add__(self, other: "Inertia") -> "Inertia":
        return Inertia(self.negative + other.negative, self.zero + other.zero, self.positive + other.positive)

    def __str__(self) -> str:
        return f"({self.negative}, {self.zero}, {self.positive})"


@dataclass(frozen=True, kw_only=True)
class Spectrum(Record):
    """All eigenvalues of the Hessian of the loss that was given.

    Attributes:
        values: ascending, ``(p,)``.
        inertia: counts of negative, zero and positive eigenvalues.
        cutoff: magnitudes up to here count as zero.
        gap: smallest magnitude above the cut-off over the largest below it (or over rounding).
        resolved: whether the gap is wide enough for the counts to be meant.
    """

    schema: ClassVar[str] = "curvature/spectrum"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"values": ("p",)}

    values: np.ndarray
    inertia: Inertia
    cutoff: float
    gap: float
    resolved: bool


@dataclass(frozen=True, kw_only=True)
class Certificate(Record):
    """What kind of critical point the parameters are.

    Attributes:
        values: all Hessian eigenvalues, ascending, ``(p,)``.
        flat_change: lowest and highest change of the loss along zero directions after relaxing the others, or NaN.
        loss: at the point.
        loss_name: which loss, with its reduction.
        gradient_norm: Euclidean.
        relative_gradient: ``|g| / (|H| |w|)``, the relative size of the parameter change that would explain it.
        inertia: counts of negative, zero and positive eigenvalues.
        cutoff: magnitudes up to here count as zero.
        gap: smallest magnitude above the cut-off over the largest below it (or over rounding).
        uncertainty: how far eigenvalues may move before the point is exactly critical.
        label: ``strict minimum``, ``minimum with flat directions``, ``strict saddle``, ``higher-order saddle``,
            ``undecided``, ``unresolved`` or ``not critical``.
        reason: why, in words.
    """

    schema: ClassVar[str] = "curvature/certificate"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"values": ("p",), "flat_change": ("end",)}

    values: np.ndarray
    flat_change: np.ndarray
    loss: float
    loss_name: str
    gradient_norm: float
    relative_gradient: float
    inertia: Inertia
    cutoff: float
    gap: float
    uncertainty: float
    label: str
    reason: str
