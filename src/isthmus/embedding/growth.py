"""What is grown: which units are split with which weights, and which null units are added."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from isthmus._core.errors import InputError
from isthmus.model.resizing import Recipe


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
    def added(self) -> int:
        """How many units wider the layer becomes."""
        return sum(len(weights) - 1 for weights in self.splits.values()) + len(self.nulls)

    def sources(self, size: int) -> tuple[list[int], list[float]]:
        """The old unit behind each new one (-1: null) and its share, old units first, clones after them.

        Raises:
            InputError: a unit that the layer does not have.
        """
        if bad := [unit for unit in self.splits if not 0 <= unit < size]:
            raise InputError(f"{self.layer!r} has units 0..{size - 1}; there is no unit {bad[0]} to split.")
        origin, share = list(range(size)), [self.splits.get(unit, (1.0,))[0] for unit in range(size)]
        for unit, weights in self.splits.items():
            origin += [unit] * (len(weights) - 1)
            share += weights[1:]
        return origin + [-1] * len(self.nulls), share + [0.0] * len(self.nulls)

    def recipe(self, size: int) -> Recipe:
        """The growth of a layer of this size as matrices on its units."""
        origin, share = self.sources(size)
        own = torch.zeros(len(origin), size, dtype=torch.float64)
        for row, unit in enumerate(origin):
            if unit >= 0:
                own[row, unit] = 1
        offset = torch.zeros(len(origin), dtype=torch.float64)
        offset[len(origin) - len(self.nulls) :] = torch.tensor(self.nulls, dtype=torch.float64)
        return Recipe(own, own * torch.tensor(share, dtype=torch.float64)[:, None], offset)
