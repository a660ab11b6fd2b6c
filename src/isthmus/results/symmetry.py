"""Records of the symmetry view."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record

#: what a unit can be; `UnitTaxonomy.kind` holds positions in this list
UNIT_KINDS = ("distinct", "copy", "parked", "zero group", "dead", "constant", "channel", "opposite")


@dataclass(frozen=True, kw_only=True)
class UnitTaxonomy(Record):
    """What every hidden unit is, the irreducible network behind them, and how many copies of the minimum there are.

    Attributes:
        layer: number of each unit's layer, ``(unit,)``.
        kind: position in `UNIT_KINDS`.
        group: the irreducible unit that it belongs to, zero-type groups after those; -1 for dead and constant units.
        factor: its value over that of its group's first unit.
        strength: root mean square value times the norm of the outgoing vector, over the layer's largest.
        tolerance: relative distances at which joining units was tried, ``(attempt,)``.
        attempt_width: total number of hidden units that came out.
        attempt_change: relative output change by joining alone.
        attempt_loss: loss after the refit.
        accepted: whether that loss is not above the given network's, and the outputs are the same.
        layers: names.
        activations: symmetry class of each layer's activation, in words.
        widths: units of each layer.
        minimal: units of each layer of the reduced network.
        loss: of the network.
        refit_loss: of the reduced network.
        change: relative output change of the reduced network.
        loss_name: which loss.
        log10_orders: decimal logarithm of the number of equivalent minima of the reduced network: orders of its units, and
            signs where the activation has them.
        log10_minima: of the number of subspaces of equivalent minima at the present widths, ``prod T``.
        log10_critical: of the number of symmetry-induced critical subspaces at the present widths, one critical point
            counted for every narrower width; minus infinity when there is none.
        log10_joined: of the number of subspaces with one more unit in each layer, all connected.
        samples: training examples on which units were compared.
        left_out: groups of exchangeable units that cannot be joined or split one by one, with the reason.
    """

    schema: ClassVar[str] = "symmetry/taxonomy"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "layer": ("unit",),
        "kind": ("unit",),
        "group": ("unit",),
        "factor": ("unit",),
        "strength": ("unit",),
        "tolerance": ("attempt",),
        "attempt_width": ("attempt",),
        "attempt_change": ("attempt",),
        "attempt_loss": ("attempt",),
        "accepted": ("attempt",),
    }

    layer: np.ndarray
    kind: np.ndarray
    group: np.ndarray
    factor: np.ndarray
    strength: np.ndarray
    tolerance: np.ndarray
    attempt_width: np.ndarray
    attempt_change: np.ndarray
    attempt_loss: np.ndarray
    accepted: np.ndarray
    layers: list[str]
    activations: list[str]
    widths: list[int]
    minimal: list[int]
    loss: float
    refit_loss: float
    change: float
    loss_name: str
    log10_orders: float
    log10_minima: float
    log10_critical: float
    log10_joined: float
    samples: int
    left_out: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """Number of units of each kind that occurs."""
        return {name: int(n) for i, name in enumerate(UNIT_KINDS) if (n := (self.kind == i).sum())}


@dataclass(frozen=True, kw_only=True)
class PathProfile(Record):
    """The loss along a path of constant function, against the straight line between its ends.

    Attributes:
        position: along the path, in segments, ``(a,)``.
        loss: on the training data.
        segment_maximum: largest loss on each segment, ``(segment,)``.
        line_position: on the straight line, 0 at the start, ``(b,)``.
        line_loss: there.
        steps: what each segment does.
        length: of each segment in parameter space, ``(segment,)``.
        moved: units of each layer that end in another slot.
        free: free units of each layer.
        minimal: irreducible units of each layer.
        rise: largest loss on the path minus the larger end's.
        barrier: largest loss on the straight line minus the larger end's.
        change: largest relative output change along the path.
        loss_name: which loss.
        samples: training examples.
    """

    schema: ClassVar[str] = "symmetry/path"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "position": ("a",),
        "loss": ("a",),
        "segment_maximum": ("segment",),
        "length": ("segment",),
        "line_position": ("b",),
        "line_loss": ("b",),
    }

    position: np.ndarray
    loss: np.ndarray
    segment_maximum: np.ndarray
    length: np.ndarray
    line_position: np.ndarray
    line_loss: np.ndarray
    steps: list[str]
    moved: list[int]
    free: list[int]
    minimal: list[int]
    rise: float
    barrier: float
    change: float
    loss_name: str
    samples: int


@dataclass(frozen=True, kw_only=True)
class StudentRuns(Record):
    """Students of several widths trained on the outputs of a teacher, and what the units of those that succeed are.

    Attributes:
        width: hidden units of the students, ``(width,)``.
        loss: mean squared error where training ended, ``(width, run)``.
        kind_count: units of each of `UNIT_KINDS` in the students of `examined` that reach zero loss, ``(kind,)``.
        reduced: width to which each of these reduces, ``(student,)``.
        teacher: units of the teacher.
        examined: width of the students whose units were examined.
        zero: loss below which a run counts as at zero.
        inputs: number of training inputs.
        steps: evaluations allowed for each run.
        scale: `smoke`, `desk` or `paper`.
    """

    schema: ClassVar[str] = "symmetry/students"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "width": ("width",),
        "loss": ("width", "run"),
        "kind_count": ("kind",),
        "reduced": ("student",),
    }

    width: np.ndarray
    loss: np.ndarray
    kind_count: np.ndarray
    reduced: np.ndarray
    teacher: int
    examined: int
    zero: float
    inputs: int
    steps: int
    scale: str


@dataclass(frozen=True, kw_only=True)
class SubspaceGraph(Record):
    """The subspaces of networks of equal function as nodes, joined where they have a common point.

    Attributes:
        x: position of each node in the plane, by classical scaling of the graph's distances, ``(node,)``.
        y: the other coordinate.
        zero_groups: zero-type groups of each subspace.
        first: one end of each edge, ``(edge,)``.
        second: the other end.
        minimal: irreducible units.
        width: of the layer.
        components: connected components.
        diameter: largest number of edges between two nodes; infinite when there are several components.
    """

    schema: ClassVar[str] = "symmetry/graph"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "x": ("node",),
        "y": ("node",),
        "zero_groups": ("node",),
        "first": ("edge",),
        "second": ("edge",),
    }

    x: np.ndarray
    y: np.ndarray
    zero_groups: np.ndarray
    first: np.ndarray
    second: np.ndarray
    minimal: int
    width: int
    components: int
    diameter: float


@dataclass(frozen=True, kw_only=True)
class CountRatios(Record):
    """Symmetry-induced critical subspaces per subspace of minima, over widths.

    Attributes:
        minimal: minimal widths, ``(minimal,)``.
        extra: units more than needed, ``(extra,)``.
        log10_ratio: decimal logarithm of the ratio, ``(minimal, extra)``.
        crossover: extra units at which minima outnumber critical subspaces, ``(minimal,)``.
    """

    schema: ClassVar[str] = "symmetry/ratios"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "minimal": ("minimal",),
        "extra": ("extra",),
        "log10_ratio": ("minimal", "extra"),
        "crossover": ("minimal",),
    }

    minimal: np.ndarray
    extra: np.ndarray
    log10_ratio: np.ndarray
    crossover: np.ndarray
