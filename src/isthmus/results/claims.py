"""Records of checked claims."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class ClaimResult(Record):
    """One claim checked at one scale, with its negative control.

    Attributes:
        scale_axis: what was varied, e.g. widths; one entry when nothing was, ``(x,)``.
        measured: the measured quantity per scale point and seed, ``(seed, x)``.
        control_axis: the same axis for the control, ``(cx,)``.
        control_measured: the control's measurements, ``(control_seed, cx)``.
        claim: id of the claim.
        paper: key of the paper that binds it.
        statement: the statement in words.
        source: whose statement it is: the paper's abstract, text, notes at second hand, or derived here.
        axis_name: what the scale axis is, or "" when nothing was varied.
        measured_name: what `measured` holds, in words.
        kind: ``"exact"``, ``"statistical"`` or ``"asymptotic"``.
        verdict: ``holds``, ``consistent``, ``fails``, ``inapplicable`` or ``inconclusive``.
        control_verdict: verdict of the control; the control counts only when this is ``fails``.
        evidence: predicted, measured and the rule that compares them, in one line.
        control_evidence: the same for the control.
        unmet: the hypothesis that did not hold, or "".
        scale: ``smoke``, ``desk`` or ``paper``.
    """

    schema: ClassVar[str] = "claims/result"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "scale_axis": ("x",),
        "measured": ("seed", "x"),
        "control_axis": ("cx",),
        "control_measured": ("control_seed", "cx"),
    }

    scale_axis: np.ndarray
    measured: np.ndarray
    control_axis: np.ndarray
    control_measured: np.ndarray
    axis_name: str
    measured_name: str
    claim: str
    paper: str
    statement: str
    source: str
    kind: str
    verdict: str
    control_verdict: str
    evidence: str
    control_evidence: str
    unmet: str
    scale: str
