"""What a run does about its stability limit, told from its sharpness alone."""

import math

import numpy as np

EDGE = 0.95
_RISE = 1.1


def edge_of(margin: np.ndarray, sharpness: np.ndarray) -> tuple[int, float, float]:
    """Index of the first margin of at least 0.95 (-1: none), how much sharpness rose up to there, and the mean margin after.

    Args:
        margin: lr x sharpness over the limit, ``(t,)``.
        sharpness: ``(t,)``.
    """
    reached = np.flatnonzero(margin >= EDGE)
    edge = int(reached[0]) if reached.size else -1
    until = sharpness[: edge + 1] if edge >= 0 else sharpness
    rise = float(np.max(until) / sharpness[0]) if sharpness[0] > 0 else math.nan
    return edge, rise, float(margin[edge:].mean()) if edge >= 0 else math.nan


def diagnose_phase(step: np.ndarray, margin: np.ndarray, sharpness: np.ndarray) -> tuple[str, str]:
    """The phase, and how it was told.

    Args:
        step: measured steps, ``(t,)``.
        margin: lr x sharpness over the limit there; 1 is the edge.
        sharpness: there.
    """
    if not np.isfinite(margin).all():
        return "unstable", "the run left the range of numbers"
    if margin[0] > 1:
        return _from_above(step, margin)
    edge, rise, after = edge_of(margin, sharpness)
    if edge >= 0:
        words = f"sharpness rose by a factor {rise:.3g}, reached the limit of the step size at step {step[edge]}"
        return "edge of stability", f"{words}, and averaged {after:.3g} of it from there on"
    if rise >= _RISE:
        top = float(margin.max())
        return "progressive sharpening", f"sharpness rose by a factor {rise:.3g}, to {top:.3g} of the limit of the step size"
    if sharpness[-1] * _RISE <= sharpness[0]:
        return "flattening", f"sharpness fell to {sharpness[-1] / sharpness[0]:.3g} of its start; the limit was never near"
    return (
        "stable",
        f"sharpness stayed between {sharpness.min():.3g} and {sharpness.max():.3g}, at most {margin.max():.3g} of the limit",
    )


def _from_above(step: np.ndarray, margin: np.ndarray) -> tuple[str, str]:
    below = np.flatnonzero(margin < 1)
    if not below.size:
        return "unstable", f"lr x sharpness began at {margin[0]:.3g} times the limit and never fell below it"
    first = int(below[0])
    return "catapult", (
        f"lr x sharpness began at {margin[0]:.3g} times the limit and fell below it by step {step[first]}, to {margin[first:].min():.3g}"
    )
