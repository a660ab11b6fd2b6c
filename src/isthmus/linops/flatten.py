"""Named tensors as one flat vector, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Self

import torch
from torch import Tensor

from isthmus._core.errors import ShapeError


@dataclass(frozen=True)
class ParameterLayout:
    """Order, names and shapes of the tensors behind a flat vector of length `size`."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @classmethod
    def of(cls, params: Mapping[str, Tensor]) -> Self:
        """The layout of these tensors, in their own order."""
        return cls(tuple(params), tuple(value.shape for value in params.values()))

    @property
    def size(self) -> int:
        """Length p of the flat vector."""
        return sum(prod(shape) for shape in self.shapes)

    def flatten(self, params: Mapping[str, Tensor]) -> Tensor:
        """One vector ``(p,)`` with the tensors in this layout's order."""
        return torch.cat([params[name].reshape(-1) for name in self.names])

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Views into `vector` by name.

        Raises:
            ShapeError: the vector has another length.
        """
        if vector.shape != (self.size,):
            raise ShapeError(f"A flat vector of shape ({self.size},) was needed, found {tuple(vector.shape)}.")
        pieces = vector.split([prod(shape) for shape in self.shapes])
        return {n: piece.view(s) for n, s, piece in zip(self.names, self.shapes, pieces, strict=True)}
