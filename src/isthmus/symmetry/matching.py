"""Matching the units of two networks: linear assignment problems, one group at a time, and what they are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from isthmus._core.seeds import Seed
from isthmus.model.units import Slot, moved_state, unit_rows

_GAIN = 1e-9
_SHARE = 0.05


@dataclass(frozen=True)
class Assignment:
    """Which units of the second network stand for the units of the first, group by group.

    Attributes:
        permutations: unit i of the aligned network is unit ``permutations[g][i]`` of the second one.
        signs: +1 or -1 per unit, after the permutation.
        objective: what was maximized, ``sum <a, b aligned>`` over the tensors compared, divided by ``|a| |b|``.
        sweeps: over all groups until nothing changed.
        converged: whether a sweep without change was reached.
    """

    permutations: tuple[Tensor, ...]
    signs: tuple[Tensor, ...]
    objective: float
    sweeps: int
    converged: bool


@dataclass(frozen=True)
class Pairing:
    """Tensors of two networks, and where the units of each group lie in them.

    Attributes:
        a: tensors of the network that stays as it is.
        b: tensors of the same shapes.
        sizes: units per group.
        slots: of each group.
        flips: those slots of a group whose entries change sign with their unit; empty when signs are not free.
        users: the groups and slots that lie in each tensor.
        scale: ``|a| |b|`` over the tensors compared, at least the smallest positive number.
    """

    a: dict[str, Tensor]
    b: dict[str, Tensor]
    sizes: tuple[int, ...]
    slots: tuple[tuple[Slot, ...], ...]
    flips: tuple[frozenset[Slot], ...]
    users: dict[str, list[tuple[int, Slot]]] = field(init=False)
    scale: float = field(init=False)

    def __post_init__(self) -> None:
        users: dict[str, list[tuple[int, Slot]]] = {}
        for group, slots in enumerate(self.slots):
            for slot in slots:
                users.setdefault(slot.tensor, []).append((group, slot))
        norms = [sum(float(t[name].double().square().sum()) for name in users) for t in (self.a, self.b)]
        object.__setattr__(self, "users", users)
        object.__setattr__(self, "scale", max((norms[0] * norms[1]) ** 0.5, 1e-300))

    def agreement(self, b: dict[str, Tensor], names: Sequence[str] | None = None) -> float:
        """``sum <a, b>`` over tensors, added in float64."""
        return sum(float(torch.dot(self.a[n].reshape(-1).double(), b[n].reshape(-1).double())) for n in names or self.users)

    def similarity(self, group: int, b: dict[str, Tensor], slots: Sequence[Slot]) -> tuple[Tensor, Tensor]:
        """Inner products of units of both networks over some slots: those that keep their sign, and those that flip."""
        size = self.sizes[group]
        kept, flipped = (torch.zeros(size, size, dtype=self.a[next(iter(self.a))].dtype) for _ in range(2))
        for slot in slots:
            rows, others = unit_rows(self.a[slot.tensor], slot, size), unit_rows(b[slot.tensor], slot, size)
            (flipped if slot in self.flips[group] else kept).addmm_(rows, others.T)
        return kept, flipped

    def coupled(self, group: int) -> list[str]:
        """Tensors in which the group lies more than once, so that its step is no linear assignment problem."""
        names = [slot.tensor for slot in self.slots[group]]
        return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def best_assignment(kept: Tensor, flipped: Tensor) -> tuple[Tensor, Tensor]:
    """The permutation and signs that maximize ``sum_i kept[i, p_i] + s_i flipped[i, p_i]``."""
    gain = kept + flipped.abs()
    guess = gain.argmax(dim=1)
    if len(torch.unique(guess)) == len(guess):  # every unit has its favorite: no assignment can be better
        order = guess
    else:
        order = torch.from_numpy(linear_sum_assignment(gain.double().numpy(), maximize=True)[1])
    chosen = flipped.gather(1, order[:, None])[:, 0]
    return order, torch.where(chosen < 0, -1.0, 1.0).to(gain.dtype)


def act(pairing: Pairing, group: int, b: dict[str, Tensor], order: Tensor, signs: Tensor) -> dict[str, Tensor]:
    """The second network's tensors after one group's units moved."""
    moved = moved_state(b, pairing.slots[group], order)
    if bool((signs < 0).any()):
        moved = scaled_state(moved, pairing.flips[group], signs)
    return moved


def scaled_state(tensors: dict[str, Tensor], slots: Sequence[Slot] | frozenset[Slot], factors: Tensor) -> dict[str, Tensor]:
    """The tensors with what belongs to unit i at each slot multiplied by ``factors[i]``."""
    scaled = dict(tensors)
    for slot in slots:
        tensor = scaled[slot.tensor]
        along = torch.ones(tensor.shape[slot.axis], dtype=tensor.dtype, device=tensor.device)
        entries = slot.entries(len(factors)).to(tensor.device)
        along[entries] = factors.to(tensor)[:, None].expand_as(entries)
        scaled[slot.tensor] = tensor * along.reshape([-1 if i == slot.axis else 1 for i in range(tensor.ndim)])
    return scaled


class Matcher:
    """One search for the best assignment: the second network's tensors as they are now, and how they got there."""

    def __init__(self, pairing: Pairing) -> None:
        self.pairing, self.b = pairing, dict(pairing.b)
        self.orders = [torch.arange(size) for size in pairing.sizes]
        self.signs = [torch.ones(size, dtype=next(iter(pairing.a.values())).dtype) for size in pairing.sizes]
        self.sweeps, self.converged = 0, not pairing.sizes

    def move(self, group: int, order: Tensor, signs: Tensor) -> None:
        """Move one group's units, relative to where they are."""
        self.b = act(self.pairing, group, self.b, order, signs)
        self.orders[group] = self.orders[group][order]
        self.signs[group] = self.signs[group][order] * signs

    def shuffle(self, seed: Seed) -> None:
        """Start from random permutations."""
        for group, size in enumerate(self.pairing.sizes):
            order = torch.from_numpy(seed.child(group).numpy().permutation(size))
            self.move(group, order, torch.ones_like(self.signs[group]))

    def propagate(self) -> None:
        """Start from what can be compared already: groups whose weights meet inputs, outputs or matched groups first.

        A tensor counts for a group when no other unmatched group lies in it. A group that has next to nothing to
        compare is matched by the sorted entries of its units, which no permutation of the others changes.
        """
        pairing = self.pairing
        weight = {name: float(pairing.a[name].square().sum()) for name in pairing.users}
        waiting = set(range(len(pairing.sizes)))
        while waiting:
            ready = {g: self._comparable(g, waiting) for g in waiting}
            share = {g: _share(pairing.slots[g], ready[g], weight) for g in waiting}
            group = max(waiting, key=lambda g: (share[g] > _SHARE, share[g], -g))
            kept, flipped = pairing.similarity(group, self.b, ready[group])
            if share[group] <= _SHARE:
                kept = kept + self._sorted_similarity(group, ready[group])
            self.move(group, *best_assignment(kept, flipped))
            waiting.discard(group)

    def _comparable(self, group: int, waiting: set[int]) -> list[Slot]:
        pairing = self.pairing
        found = []
        for slot in pairing.slots[group]:
            others = [(g, s) for g, s in pairing.users[slot.tensor] if s != slot]
            if all(g not in waiting for g, s in others if s.axis != slot.axis or self._overlap(group, slot, g, s)):
                found.append(slot)
        return found

    def _overlap(self, group: int, slot: Slot, other: int, theirs: Slot) -> bool:
        """Whether two slots of one axis share entries (factors of one flattened axis do, neighbors do not)."""
        ends = [s.offset + s.outer * s.inner * self.pairing.sizes[g] for g, s in ((group, slot), (other, theirs))]
        return slot.offset < ends[1] and theirs.offset < ends[0]

    def _sorted_similarity(self, group: int, done: list[Slot]) -> Tensor:
        pairing, size = self.pairing, self.pairing.sizes[group]
        total = torch.zeros(size, size, dtype=self.signs[group].dtype)
        for slot in pairing.slots[group]:
            if slot not in done:
                one, other = (unit_rows(t[slot.tensor], slot, size) for t in (pairing.a, self.b))
                if slot in pairing.flips[group]:
                    one, other = one.abs(), other.abs()
                total.addmm_(one.sort(dim=1).values, other.sort(dim=1).values.T)
        return total

    def ascend(self, limit: int, seed: Seed) -> None:
        """Move one group after the other to its best assignment, the others held, until nothing improves."""
        pairing, scale = self.pairing, self.pairing.scale
        while self.sweeps < limit and not self.converged:
            self.sweeps += 1
            self.converged = True
            for group in seed.child(self.sweeps).numpy().permutation(len(pairing.sizes)):
                kept, flipped = pairing.similarity(int(group), self.b, pairing.slots[group])
                order, signs = best_assignment(kept, flipped)
                before = float((kept + flipped).diagonal().double().sum())
                after = float(
                    (kept.gather(1, order[:, None])[:, 0] + signs * flipped.gather(1, order[:, None])[:, 0]).double().sum()
                )
                if after - before > _GAIN * scale and self._improves(int(group), order, signs):
                    self.move(int(group), order, signs)
                    self.converged = False

    def _improves(self, group: int, order: Tensor, signs: Tensor) -> bool:
        if not self.pairing.coupled(group):
            return True
        names = list(dict.fromkeys(slot.tensor for slot in self.pairing.slots[group]))
        moved = act(self.pairing, group, self.b, order, signs)
        gain = self.pairing.agreement(moved, names) - self.pairing.agreement(self.b, names)
        return gain > _GAIN * self.pairing.scale

    def result(self) -> Assignment:
        """What was found."""
        agreement = self.pairing.agreement(self.b) / self.pairing.scale
        return Assignment(tuple(self.orders), tuple(self.signs), agreement, self.sweeps, self.converged)


def _share(slots: Sequence[Slot], ready: Sequence[Slot], weight: dict[str, float]) -> float:
    total = sum(weight[slot.tensor] for slot in slots)
    return sum(weight[slot.tensor] for slot in ready) / total if total else 0.0


def best_of(pairing: Pairing, starts: int, sweeps: int, seed: Seed) -> tuple[Assignment, np.ndarray]:
    """The best of several coordinate ascents, and the objective each one reached.

    The first starts from what can be compared (`Matcher.propagate`), the second from the identity, the others from
    random permutations; a perfect agreement ends the search.
    """
    found: list[Assignment] = []
    for start in range(starts):
        matcher = Matcher(pairing)
        if start == 0:
            matcher.propagate()
        elif start > 1:
            matcher.shuffle(seed.child("start", start))
        matcher.ascend(sweeps, seed.child("order", start))
        found.append(matcher.result())
        if found[-1].objective > 1 - 1e-6:
            break
    return max(found, key=lambda one: one.objective), np.array([one.objective for one in found])
