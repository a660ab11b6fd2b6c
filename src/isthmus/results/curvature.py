"""Records of the curvature view."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class Eigenvalues(Record):
    """Extreme eigenvalues of the Hessian or Gauss-Newton matrix of the loss that was given.

    Attributes:
        values: eigenvalues, largest first, ``(k,)``.
        residuals: ``|A v - lambda v|`` with ``|v| = 1``: some eigenvalue lies that near to each value.
        errors: bound on each value's error: the residual r, or ``r^2 / gap`` to the rest of the spectrum seen where less.
        converged: error <= rtol * the largest ``|value|``.
        matrix: ``"hessian"`` or ``"ggn"``.
        rtol: the tolerance asked for.
        parameters: number of parameters, the size of the matrix.
    """

    schema: ClassVar[str] = "curvature/eigenvalues"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "values": ("k",),
        "residuals": ("k",),
        "errors": ("k",),
        "converged": ("k",),
    }

    values: np.ndarray
    residuals: np.ndarray
    errors: np.ndarray
    converged: np.ndarray
    matrix: str
    rtol: float
    parameters: int


@dataclass(frozen=True, kw_only=True)
class BlockEigenvalues(Record):
    """Top eigenvalues and traces of the diagonal blocks of the Hessian or Gauss-Newton matrix, one block a layer.

    Attributes:
        values: eigenvalues of each block, largest first, ``(block, k)``, NaN where a block is smaller than k.
        errors: bound on each value's error.
        converged: error <= rtol * the block's largest ``|value|``; true where there is no value.
        trace: estimate of each block's trace, ``(block,)``.
        trace_error: its standard error.
        size: parameters of each block.
        blocks: names of the blocks.
        matrix: ``"hessian"`` or ``"ggn"``.
        rtol: the tolerance asked for.
    """

    schema: ClassVar[str] = "curvature/blocks"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "values": ("block", "k"),
        "errors": ("block", "k"),
        "converged": ("block", "k"),
        "trace": ("block",),
        "trace_error": ("block",),
        "size": ("block",),
    }

    values: np.ndarray
    errors: np.ndarray
    converged: np.ndarray
    trace: np.ndarray
    trace_error: np.ndarray
    size: np.ndarray
    blocks: list[str]
    matrix: str
    rtol: float


@dataclass(frozen=True, kw_only=True)
class SpectralDensity(Record):
    """Spectral density of the Hessian by stochastic Lanczos quadrature.

    Attributes:
        grid: eigenvalue axis, ``(g,)``.
        density: smoothed density, integrates to one.
        standard_error: over probe vectors, pointwise.
        nodes: Ritz values of every probe, ``(probe, step)``, padded with NaN after a breakdown.
        weights: their quadrature weights, zero where padded.
        bandwidth: standard deviation of the Gaussian that smooths, in eigenvalue units.
        trace: estimate of the trace and its standard error.
        outliers: largest-magnitude Ritz values that stand apart from the bulk, ``(o,)``.
        parameters: size of the matrix.
        matrix: ``"hessian"`` or ``"ggn"``.
    """

    schema: ClassVar[str] = "curvature/density"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "grid": ("g",),
        "density": ("g",),
        "standard_error": ("g",),
        "nodes": ("probe", "step"),
        "weights": ("probe", "step"),
        "outliers": ("o",),
    }

    grid: np.ndarray
    density: np.ndarray
    standard_error: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray
    outliers: np.ndarray
    bandwidth: float
    trace: tuple[float, float]
    parameters: int
    matrix: str


@dataclass(frozen=True, kw_only=True)
class LossLine(Record):
    """The loss along a straight line in parameter space.

    Attributes:
        position: coordinate on the line, ``(a,)``.
        train_loss: loss as given, on the training data.
        train_error: share of wrong argmax labels; NaN when the targets are not classes.
        test_loss: the same on the test data; NaN without test data.
        test_error: the same on the test data.
    """

    schema: ClassVar[str] = "curvature/line"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "position": ("a",),
        "train_loss": ("a",),
        "train_error": ("a",),
        "test_loss": ("a",),
        "test_error": ("a",),
    }

    position: np.ndarray
    train_loss: np.ndarray
    train_error: np.ndarray
    test_loss: np.ndarray
    test_error: np.ndarray


@dataclass(frozen=True, kw_only=True)
class ErrorBarrier(Record):
    """Error barriers on the straight line between two networks, one row per quantity.

    Attributes:
        alpha: ``w_a = a w + (1 - a) w'``, ``(a,)``, refined near the maxima.
        values: the quantities along the line, ``(quantity, a)``.
        mean: ``max_a R(w_a) - (R(w) + R(w')) / 2``, ``(quantity,)``.
        chord: ``max_a [R(w_a) - a R(w) - (1 - a) R(w')]``.
        quantities: names of the rows, of train_loss, train_error, test_loss, test_error those that exist.
    """

    schema: ClassVar[str] = "curvature/barrier"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "alpha": ("a",),
        "values": ("quantity", "a"),
        "mean": ("quantity",),
        "chord": ("quantity",),
    }

    alpha: np.ndarray
    values: np.ndarray
    mean: np.ndarray
    chord: np.ndarray
    quantities: list[str]


@dataclass(frozen=True, kw_only=True)
class SharpnessTimeline(Record):
    """Top Hessian eigenvalues along a training run, against the limit of the step size.

    Attributes:
        step: optimizer steps at the checkpoints, ``(t,)``.
        epoch: the same in epochs.
        values: top eigenvalues, ``(t, k)``, largest first.
        residuals: their error bounds.
        converged: whether each met the tolerance.
        learning_rate: at each checkpoint, ``(t,)``; NaN when unknown.
        momentum: heavy-ball coefficient at each checkpoint, zero for none.
        limit: full-batch stability limit ``2 (1 + momentum) / lr`` of heavy ball on a quadratic, ``(t,)``.
        samples: examples of the training loss whose Hessian this is.
        final_ratio: sharpness x lr / 2 at the end, and its error bound.
    """

    schema: ClassVar[str] = "curvature/timeline"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "step": ("t",),
        "epoch": ("t",),
        "values": ("t", "k"),
        "residuals": ("t", "k"),
        "converged": ("t", "k"),
        "learning_rate": ("t",),
        "momentum": ("t",),
        "limit": ("t",),
    }

    step: np.ndarray
    epoch: np.ndarray
    values: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    learning_rate: np.ndarray
    momentum: np.ndarray
    limit: np.ndarray
    samples: int
    final_ratio: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class TwinBarriers(Record):
    """Barriers between the run and twins: same initialization, other mini-batch order.

    Attributes:
        alpha: positions on the line, ``(a,)``; 1 is the run, 0 the twin.
        values: ``(pair, quantity, a)``.
        mean: barrier over the mean of the ends, ``(pair, quantity)``.
        chord: barrier over the chord.
        control_chord: the same between the run and networks of another initialization, ``(control, quantity)``.
        quantities: names of the rows.
        headline: mean over pairs of the train-loss chord barrier and its standard error.
    """

    schema: ClassVar[str] = "curvature/twin_barriers"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "alpha": ("a",),
        "values": ("pair", "quantity", "a"),
        "mean": ("pair", "quantity"),
        "chord": ("pair", "quantity"),
        "control_chord": ("control", "quantity"),
    }

    alpha: np.ndarray
    values: np.ndarray
    mean: np.ndarray
    chord: np.ndarray
    control_chord: np.ndarray
    quantities: list[str]
    headline: tuple[float, float]
