"""How the units of two networks are matched: by weights, by activations, or by weights with soft permutations."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.plan import Plan
from isthmus._core.seeds import Seed
from isthmus.engine.memory import available_bytes
from isthmus.model.network import Network
from isthmus.model.units import Slot, UnitStructure, unit_rows
from isthmus.symmetry.matching import Assignment, Matcher, Pairing, best_assignment, best_of

_FAINT = 1e-3
_MEMORY_SHARE = 0.25


@dataclass(frozen=True)
class MatchingTask:
    """Two networks of one architecture to be matched.

    Attributes:
        structure: their groups of exchangeable units.
        weights: their parameters, paired.
        odd: for each group, whether a unit may change its sign.
        networks: the one that stays, and the one whose units move.
        inputs: ``(n, ...)``, for methods that look at activations.
    """

    structure: UnitStructure
    weights: Pairing
    odd: tuple[bool, ...]
    networks: tuple[Network, Network]
    inputs: Tensor


class MatchingMethod(Protocol):
    """A way to match units."""

    def match(self, task: MatchingTask, seed: Seed) -> tuple[Assignment, np.ndarray]:
        """The assignment, and the objective that each start reached."""
        ...

    def plan(self, task: MatchingTask) -> Plan:
        """What `match` would cost."""
        ...


@dataclass(frozen=True)
class WeightMatching:
    """Maximize ``sum <a, b aligned>`` over all parameters by coordinate ascent: one assignment problem per group and step.

    Data-free and fast; the choice when two networks are close to copies of one another.

    Attributes:
        starts: the first start compares what meets inputs, outputs or matched groups; the second starts from the order
            as it is, the others from random orders; the best is kept.
        sweeps: limit over all groups.
    """

    starts: int = 4
    sweeps: int = 100

    def __post_init__(self) -> None:
        _require_positive(starts=self.starts, sweeps=self.sweeps)

    def match(self, task: MatchingTask, seed: Seed) -> tuple[Assignment, np.ndarray]:
        """The assignment, and the objective that each start reached."""
        return best_of(task.weights, self.starts, self.sweeps, seed)

    def plan(self, task: MatchingTask) -> Plan:
        """Cost of five sweeps per start, a usual number."""
        return _plan(task.weights, f"weight matching, {self.starts} starts", 5 * self.starts)


@dataclass(frozen=True)
class ActivationMatching:
    """Maximize the correlation of the values that matched units take on the same inputs.

    Correlations are summed over samples, positions and every place where weights read the units. Weights take part with a
    thousandth of the activations' weight: they decide between units that no input tells apart (dead, or read by no product
    with weights). The choice for networks trained apart, when data are at hand.

    Attributes:
        samples: inputs looked at; fewer where the values of all units would fill a quarter of the free memory.
        starts: as in `WeightMatching`; where activations decide, groups do not depend on one another: one start is enough.
        sweeps: limit over all groups.
    """

    samples: int = 512
    starts: int = 1
    sweeps: int = 100

    def __post_init__(self) -> None:
        _require_positive(samples=self.samples, starts=self.starts, sweeps=self.sweeps)

    def match(self, task: MatchingTask, seed: Seed) -> tuple[Assignment, np.ndarray]:
        """The assignment, and the objective that each start reached."""
        return best_of(self._pairing(task), self.starts, self.sweeps, seed)

    def plan(self, task: MatchingTask) -> Plan:
        """Cost of two sweeps per start, beside two forward passes."""
        return _plan(self._pairing(task), f"activation matching on {self.samples} samples", 2 * self.starts)

    def _pairing(self, task: MatchingTask) -> Pairing:
        reads, weights = task.structure.reads, task.weights
        axes = {slot.tensor: slot.axis for slots in reads for slot in slots}
        few = task.inputs[: self._fitting(task)]
        tensors = []
        for network, own in zip(task.networks, (weights.a, weights.b), strict=True):
            values = task.structure.values(network, few)
            values = {name: _standardized(value.cpu(), axes[name]) for name, value in values.items()}
            size, small = (float(sum(t.square().sum() for t in group.values())) for group in (values, own))
            faint = _FAINT * (size / max(small, 1e-30)) ** 0.5 if values else 1.0
            tensors.append({name: faint * value for name, value in own.items()} | values)
        slots = tuple(mine + theirs for mine, theirs in zip(reads, weights.slots, strict=True))
        flips = tuple(
            theirs | (frozenset(mine) if odd else frozenset())
            for mine, odd, theirs in zip(reads, task.odd, weights.flips, strict=True)
        )
        return Pairing(tensors[0], tensors[1], weights.sizes, slots, flips)

    def _fitting(self, task: MatchingTask) -> int:
        """Samples whose values fit: two networks, each as they come and standardized."""
        two = sum(value.nbytes for value in task.structure.values(task.networks[0], task.inputs[:2]).values())
        each = 4 * two / min(2, len(task.inputs))
        return max(2, min(self.samples, int(_MEMORY_SHARE * available_bytes() / max(each, 1))))


@dataclass(frozen=True)
class Sinkhorn:
    """Weight matching through soft permutations: graduated assignment, then coordinate ascent.

    Each group's permutation is relaxed to a doubly stochastic matrix ``P = Sinkhorn(exp(C / T))``, where C holds the inner
    products of units under the soft permutations of the other groups; T falls from sweep to sweep, and the last matrices
    are rounded. Less bound to its start than `WeightMatching`, and slower.

    Attributes:
        sweeps: temperatures, falling by a constant factor.
        hottest: first temperature, in standard deviations of C.
        coldest: last temperature.
        balancing: normalizations of rows and columns at each temperature.
    """

    sweeps: int = 30
    hottest: float = 1.0
    coldest: float = 0.02
    balancing: int = 30

    def __post_init__(self) -> None:
        _require_positive(sweeps=self.sweeps, hottest=self.hottest, coldest=self.coldest, balancing=self.balancing)

    def match(self, task: MatchingTask, seed: Seed) -> tuple[Assignment, np.ndarray]:
        """The assignment, and the objective that it reached."""
        pairing = task.weights
        soft: list[Tensor | None] = [None] * len(pairing.sizes)
        targets: list[tuple[Tensor, Tensor]] = []
        for temperature in np.geomspace(self.hottest, self.coldest, self.sweeps):
            targets = [self._soften(pairing, group, soft, float(temperature)) for group in range(len(pairing.sizes))]
        matcher = Matcher(pairing)
        for group, (kept, flipped) in enumerate(targets):
            matcher.move(group, *best_assignment(kept, flipped))
        matcher.ascend(100, seed.child("order"))
        found = matcher.result()
        return found, np.array([found.objective])

    def plan(self, task: MatchingTask) -> Plan:
        """Cost of all temperatures and five sweeps of the ascent; soft permutations multiply every tensor."""
        return _plan(task.weights, f"Sinkhorn matching, {self.sweeps} temperatures", 3 * self.sweeps + 5)

    def _soften(self, pairing: Pairing, group: int, soft: list[Tensor | None], temperature: float) -> tuple[Tensor, Tensor]:
        """Set one group's soft permutation, and return the inner products that it came from."""
        size = pairing.sizes[group]
        kept, flipped = (torch.zeros(size, size, dtype=next(iter(pairing.a.values())).dtype) for _ in range(2))
        for slot in pairing.slots[group]:
            others = _softly_moved(pairing, slot, soft)
            product = unit_rows(pairing.a[slot.tensor], slot, size) @ unit_rows(others, slot, size).T
            (flipped if slot in pairing.flips[group] else kept).add_(product)
        gain = kept + flipped.abs()
        gain = (gain - gain.mean()) / (gain.std() * temperature + 1e-30)
        for _ in range(self.balancing):
            gain = gain - gain.logsumexp(dim=1, keepdim=True)
            gain = gain - gain.logsumexp(dim=0, keepdim=True)
        soft[group] = gain.exp() * torch.where(flipped < 0, -1.0, 1.0).to(gain.dtype) if pairing.flips[group] else gain.exp()
        return kept, flipped


def _softly_moved(pairing: Pairing, slot: Slot, soft: list[Tensor | None]) -> Tensor:
    """The second network's tensor under all soft permutations but the one at a slot."""
    tensor = pairing.b[slot.tensor]
    for group, other in pairing.users[slot.tensor]:
        matrix = soft[group]
        if other != slot and matrix is not None:
            unsigned = matrix if other in pairing.flips[group] else matrix.abs()
            entries = other.entries(len(matrix))
            rows = tensor.movedim(other.axis, 0).clone()
            rows[entries] = torch.einsum("ij,j...->i...", unsigned, rows[entries])
            tensor = rows.movedim(0, other.axis)
    return tensor


def _standardized(values: Tensor, axis: int) -> Tensor:
    """Values with mean 0 and norm 1 over everything but the axis; constant entries become 0."""
    dims = [d for d in range(values.ndim) if d != axis % values.ndim]
    centered = values - values.mean(dim=dims, keepdim=True)
    norm = centered.square().sum(dim=dims, keepdim=True).sqrt()
    return torch.where(norm > 1e-6 * values.abs().amax(), centered / norm.clamp_min(1e-30), 0.0)


def _plan(pairing: Pairing, method: str, passes: int) -> Plan:
    uses = [(pairing.sizes[g], slot) for g, slots in enumerate(pairing.slots) for slot in slots]
    flops = sum(2.0 * n * pairing.a[slot.tensor].numel() + n**3 for n, slot in uses)
    size = sum(pairing.a[name].nbytes for name in pairing.users)
    return Plan(method, passes * flops, 2.0 * size + 24.0 * max((n * n for n in pairing.sizes), default=0))


def _require_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if value <= 0:
            raise InputError(f"{name} must be positive, found {value}.")
