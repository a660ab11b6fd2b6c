"""What is grown: which units are split with which weights, and which null units are added."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus.model.resizing import Recipe
from isthmus.model.units import UnitGroup


@dataclass(frozen=True)
class Copies:
    """Every unit of a grown layer as a copy of an old one.

    Attributes:
        group: the old units.
        origin: the old unit behind each new one; -1: null.
        share: error ratio of each new unit: its own gradient is this multiple of the old unit's; 0 for null units.
    """

    group: UnitGroup
    origin: tuple[int, ...]
    share: tuple[float, ...]

    @property
    def same(self) -> Tensor:
        """``(m', m)``: 1 where a new unit copies an old one; zero rows are null units."""
        return (torch.tensor(self.origin)[:, None] == torch.arange(self.group.size)).double()

    def shared(self, power: int = 1) -> Tensor:
        """``(m', m)``: the share, to a power, where a new unit copies an old one."""
        return self.same * torch.tensor(self.share, dtype=torch.float64)[:, None] ** power


@dataclass(frozen=True)
class Growth:
    """New units of one layer.

    Attributes:
        layer: name of the group of units.
        splits: unit to the weights ``w_1, .., w_k`` of its copies: own parameters are copied, outgoing weights
            multiplied by ``w_i``; they add up to one. One split with share alpha is ``(1 - alpha, alpha)``.
        nulls: biases of null units: own weights and outgoing weights zero.
    """

    layer: str
    splits: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    nulls: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for unit, weights in self.splits.items():
            if len(weights) < 2 or abs(sum(weights) - 1) > 1e-12:
                raise InputError(
                    f"Unit {unit} of {self.layer!r} was to be split with weights {weights}: at least two are needed and they must "
                    "add up to 1, or the function changes."
                )

    @property
    def layers(self) -> tuple[str, ...]:
        """The one layer that grows."""
        return (self.layer,)

    @property
    def added(self) -> int:
        """How many units wider the layer becomes."""
        return sum(len(weights) - 1 for weights in self.splits.values()) + len(self.nulls)

    def copies(self, group: UnitGroup) -> Copies:
        """The old unit behind each new one and its share, old units first, clones after them, null units last.

        Raises:
            InputError: a unit that the layer does not have.
        """
        size = group.size
        if bad := [unit for unit in self.splits if not 0 <= unit < size]:
            raise InputError(f"{self.layer!r} has units 0..{size - 1}; there is no unit {bad[0]} to split.")
        origin, share = list(range(size)), [self.splits.get(unit, (1.0,))[0] for unit in range(size)]
        for unit, weights in self.splits.items():
            origin += [unit] * (len(weights) - 1)
            share += weights[1:]
        nulls = len(self.nulls)
        return Copies(group, (*origin, *[-1] * nulls), (*share, *[0.0] * nulls))

    def recipe(self, group: UnitGroup) -> Recipe:
        """The growth of a layer as matrices on its units."""
        copies = self.copies(group)
        offset = torch.zeros(len(copies.origin), dtype=torch.float64)
        offset[len(offset) - len(self.nulls) :] = torch.tensor(self.nulls, dtype=torch.float64)
        return Recipe(copies.same, copies.shared(), offset)


def composed(growths: Sequence[Growth], group: UnitGroup) -> Growth:
    """Several growths of one layer, each in the numbering that the one before it left, as one growth.

    Args:
        growths: of one layer, in order.
        group: the old units.

    Raises:
        InputError: a null unit of an earlier step is split, which no single growth describes.
    """
    origin, share, nulls = list(range(group.size)), [1.0] * group.size, {}
    for growth in growths:
        if bad := [unit for unit in growth.splits if not 0 <= unit < len(origin) or origin[unit] < 0]:
            raise InputError(
                f"Unit {bad[0]} of {growth.layer!r} is a null unit or missing; only units of the old layer are split."
            )
        for unit, (first, *rest) in growth.splits.items():
            origin += [origin[unit]] * len(rest)
            share += [share[unit] * weight for weight in rest]
            share[unit] *= first
        for bias in growth.nulls:
            nulls[len(origin)] = bias
            origin.append(-1)
            share.append(0.0)
    parts = {unit: tuple(s for o, s in zip(origin, share, strict=True) if o == unit) for unit in range(group.size)}
    return Growth(group.name, {unit: w for unit, w in parts.items() if len(w) > 1}, tuple(nulls.values()))
