"""Records of the kernel view."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class Ntk(Record):
    """An empirical tangent kernel.

    Attributes:
        kernel: ``(n, c, m, d)`` for ``outputs="full"``; ``(n, 1, m, 1)`` for every reduction over outputs.
        outputs: the reduction over outputs in words: ``"full"``, ``"trace"``, ``"sum"``, ``"index k"``, ...
        layers: parameter-bearing module name to the rule that served it.
    """

    schema: ClassVar[str] = "kernel/ntk"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"kernel": ("n", "c", "m", "d")}

    kernel: np.ndarray
    outputs: str
    layers: dict[str, str]

    @property
    def matrix(self) -> np.ndarray:
        """The kernel flattened to two axes, ``(n c, m d)``; ``(n, m)`` for the trace."""
        n, c, m, d = self.kernel.shape
        return self.kernel.reshape(n * c, m * d)


@dataclass(frozen=True, kw_only=True)
class KernelDistance(Record):
    """How far two kernels on the same points are apart.

    Attributes:
        cosine_distance: S = 1 - <K, K'> / (|K| |K'|), in [0, 1] for PSD kernels.
        angle: arccos(1 - S) in radians, a metric.
        scale: |K'| / |K|.
        relative_change: |K' - K| / |K|.
    """

    schema: ClassVar[str] = "kernel/distance"

    cosine_distance: float
    angle: float
    scale: float
    relative_change: float


@dataclass(frozen=True, kw_only=True)
class KernelDistanceEstimate(Record):
    """How far two kernels are apart, by Monte Carlo: every number with its standard error.

    Attributes:
        cosine_distance: S = 1 - <K, K'> / (|K| |K'|).
        scale: |K'| / |K|.
        relative_change: |K' - K| / |K|.
        norms: |K| and |K'|.
        traces: of K and K'.
        probes: independent draws.
    """

    schema: ClassVar[str] = "kernel/distance_estimate"

    cosine_distance: tuple[float, float]
    scale: tuple[float, float]
    relative_change: tuple[float, float]
    norms: tuple[tuple[float, float], tuple[float, float]]
    traces: tuple[tuple[float, float], tuple[float, float]]
    probes: int


@dataclass(frozen=True, kw_only=True)
class NtkEigenvalues(Record):
    """Extreme eigenvalues of a tangent kernel.

    Attributes:
        values: best first, ``(k,)``.
        residuals: ``|K v - lambda v|`` with ``|v| = 1``, an error bound for each value.
        converged: residual <= rtol * the largest ``|value|``.
        rtol: the tolerance asked for.
        size: of the kernel.
    """

    schema: ClassVar[str] = "kernel/eigenvalues"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"values": ("k",), "residuals": ("k",), "converged": ("k",)}

    values: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    rtol: float
    size: int


@dataclass(frozen=True, kw_only=True)
class NtkSketch(Record):
    """Random sketches ``J R`` of a Jacobian.

    Attributes:
        sketch: ``(repeat, n c, k)``; R has variance 1/k and is the same for equal seeds.
    """

    schema: ClassVar[str] = "kernel/sketch"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"sketch": ("repeat", "row", "column")}

    sketch: np.ndarray


@dataclass(frozen=True, kw_only=True)
class KernelTimeline(Record):
    """The kernel along a training run, on several disjoint probe sets of training inputs.

    Every quantity has dims ``(probe_set, t)``; the spread over probe sets is its error bar.

    Attributes:
        step: optimizer steps at the checkpoints, ``(t,)``.
        epoch: the same in epochs.
        distance: S(K_0, K_t), cosine distance from initialization.
        angle: the angle of it, radians.
        scale: |K_t| / |K_0|.
        relative_change: |K_t - K_0| / |K_0|.
        label_alignment: centered alignment CKA(K_t, Y Y^T) of the trace kernel with the labels.
        effective_rank: exp(entropy) of the trace kernel's spectrum.
        velocity_step: start steps of the velocity pairs, ``(v,)``.
        velocity_epoch: the same in epochs.
        velocity_interval: the actual dt of each pair, epochs.
        velocity: S(K_t, K_{t+dt}) / dt, per epoch, ``(probe_set, v)``.
        angular_velocity: arccos(1 - S) / dt, radians per epoch, ``(probe_set, v)``.
        scan_epoch: starts at which the velocity is measured over several lengths, ``(w,)``; empty without such checkpoints.
        scan_interval: the lengths dt, epochs (about 0.2, 0.4, 0.8), ``(k,)``.
        scan_velocity: S(K_t, K_{t+dt}) / dt over each length, ``(probe_set, k, w)``.
        pairwise: S(K_t, K_s), ``(t, t)``, mean over probe sets.
        samples: examples in each probe set.
        outputs: reduction over outputs of the kernel behind the distances.
        early_velocity: mean velocity of the first pair and its standard error over probe sets.
        late_velocity: median over pairs in the last half of training, mean over probe sets, and its standard error.
        final_distance: S(K_0, K_T) and its standard error.
    """

    schema: ClassVar[str] = "kernel/timeline"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "step": ("t",),
        "epoch": ("t",),
        "distance": ("probe_set", "t"),
        "angle": ("probe_set", "t"),
        "scale": ("probe_set", "t"),
        "relative_change": ("probe_set", "t"),
        "label_alignment": ("probe_set", "t"),
        "effective_rank": ("probe_set", "t"),
        "velocity_step": ("v",),
        "velocity_epoch": ("v",),
        "velocity_interval": ("v",),
        "velocity": ("probe_set", "v"),
        "angular_velocity": ("probe_set", "v"),
        "scan_epoch": ("w",),
        "scan_interval": ("k",),
        "scan_velocity": ("probe_set", "k", "w"),
        "pairwise": ("t", "s"),
    }

    step: np.ndarray
    epoch: np.ndarray
    distance: np.ndarray
    angle: np.ndarray
    scale: np.ndarray
    relative_change: np.ndarray
    label_alignment: np.ndarray
    effective_rank: np.ndarray
    velocity_step: np.ndarray
    velocity_epoch: np.ndarray
    velocity_interval: np.ndarray
    velocity: np.ndarray
    angular_velocity: np.ndarray
    scan_epoch: np.ndarray
    scan_interval: np.ndarray
    scan_velocity: np.ndarray
    pairwise: np.ndarray
    samples: int
    outputs: str
    early_velocity: tuple[float, float]
    late_velocity: tuple[float, float]
    final_distance: tuple[float, float]
