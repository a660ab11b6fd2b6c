"""A network as a chain of affine maps, gates and fixed maps: what a path runs through.

Levels are the inputs, every gate's units in order, and the outputs; a *hop* is what lies between two levels. Every
affine map but the last is followed by a gate (an open one where the network has no activation), so that a path is one
unit per level and its value the product of one entry per hop.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

GateKind = Literal["open", "relu", "leaky", "max"]


class Affine(nn.Module):
    """A linear or convolutional map with its own weights (a BatchNorm after it is folded in).

    Attributes:
        name: of the layer in the user's module.
        apply: ``(input, weight, bias) -> output``.
        groups: of a convolution; 1 for a linear map.
    """

    def __init__(
        self,
        name: str,
        weight: Tensor,
        bias: Tensor | None,
        apply: Callable[[Tensor, Tensor, Tensor | None], Tensor],
        groups: int,
    ) -> None:
        super().__init__()
        self.name, self.apply_map, self.groups = name, apply, groups
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """The map."""
        return self.apply_map(x, self.weight, self.bias)


class Fixed(nn.Module):
    """A linear map without parameters whose nonzero entries are all equal, times a number: pooling, reshaping, scaling.

    Attributes:
        factor: the number.
        entry: the map's nonzero entries before it: 1 for reshaping, 1 / window size for an average.
    """

    def __init__(self, apply: Callable[[Tensor], Tensor], factor: float = 1.0, entry: float = 1.0) -> None:
        super().__init__()
        self.apply_map, self.factor, self.entry = apply, factor, entry

    def forward(self, x: Tensor) -> Tensor:
        """The map."""
        return self.factor * self.apply_map(x)


class Gate(nn.Module):
    """Each unit times its gate in [0, 1]: 1, the slope of (leaky) ReLU, or whether it is the largest of its window.

    Attributes:
        kind: which.
        slope: of leaky ReLU below zero.
        pool: for ``"max"``: input -> (maxima, indices).
        scale: one number a unit, all ones: the derivative in it is the flow through the unit.
    """

    def __init__(self, kind: GateKind, shape: Sequence[int], *, slope: float = 0.0, pool: Callable | None = None) -> None:
        super().__init__()
        self.kind, self.slope, self.pool, self.shape = kind, slope, pool, tuple(shape)
        self.scale = nn.Parameter(torch.ones(self.shape, dtype=torch.float64))

    def mask(self, x: Tensor) -> Tensor:
        """The gates of each sample, in the shape of `x`."""
        x = x.detach()
        if self.kind == "relu":
            return (x > 0).to(x.dtype)
        if self.kind == "leaky":
            return (x > 0).to(x.dtype) * (1 - self.slope) + self.slope
        if self.kind == "max" and self.pool is not None:
            flat = x.flatten(2)
            chosen = self.pool(x)[1].flatten(2)
            return torch.zeros_like(flat).scatter_(2, chosen, 1.0).reshape(x.shape)
        return torch.ones_like(x)


class Chain(nn.Module):
    """The steps in order; outputs are flattened to ``(n, c)``.

    Attributes:
        steps: `Affine`, `Gate` and `Fixed`.
        shape: of one input.
        inputs: one number per input entry, all ones: the derivative in it is the flow from that input.
        gated: gates act; otherwise all are open.
    """

    def __init__(self, steps: Sequence[nn.Module], shape: Sequence[int], *, gated: bool = True) -> None:
        super().__init__()
        self.steps, self.shape, self.gated = nn.ModuleList(steps), tuple(shape), gated
        self.inputs = nn.Parameter(torch.ones(self.shape, dtype=torch.float64))

    @property
    def affines(self) -> list[Affine]:
        """The affine maps, in order."""
        return [step for step in self.steps if isinstance(step, Affine)]

    @property
    def gates(self) -> list[Gate]:
        """The gates, in order."""
        return [step for step in self.steps if isinstance(step, Gate)]

    @property
    def linear(self) -> bool:
        """Whether every gate is open by kind."""
        return all(gate.kind == "open" for gate in self.gates)

    @property
    def dense(self) -> bool:
        """Whether every unit of a level feeds every unit of the next."""
        return all(
            (isinstance(step, Affine) and step.weight.ndim == 2) or (isinstance(step, Fixed) and step.entry == 1)
            for step in self.steps
            if not isinstance(step, Gate)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Outputs ``(n, c)``."""
        return self.run(x)

    def run(self, x: Tensor, masks: Sequence[Tensor] | None = None, seen: list[Tensor] | None = None) -> Tensor:
        """The chain with its own gates, or with given ones ``(n, units)``; `seen` collects the gates used."""
        x, index = x * self.inputs, 0
        for step in self.steps:
            if not isinstance(step, Gate):
                x = step(x)
                continue
            mask = masks[index].reshape(x.shape) if masks is not None else (step.mask(x) if self.gated else torch.ones_like(x))
            if seen is not None:
                seen.append(mask.flatten(1))
            x, index = x * mask * step.scale, index + 1
        return x.flatten(1)

    def masks(self, x: Tensor) -> list[Tensor]:
        """The gates of each sample, one ``(n, units)`` per gate."""
        seen: list[Tensor] = []
        with torch.no_grad():
            self.run(x, seen=seen)
        return seen

    def with_weights(self, change: Callable[[Tensor], Tensor]) -> "Chain":
        """The ungated chain with every weight, bias and fixed entry changed, number by number; for path sums."""
        steps: list[nn.Module] = []
        for step in self.steps:
            if isinstance(step, Affine):
                bias = None if step.bias is None else change(step.bias.detach())
                steps.append(Affine(step.name, change(step.weight.detach()), bias, step.apply_map, step.groups))
            elif isinstance(step, Gate):
                steps.append(Gate("open", step.shape))
            elif isinstance(step, Fixed):
                entry = float(change(torch.tensor(step.factor * step.entry, dtype=torch.float64)))
                steps.append(Fixed(step.apply_map, entry / step.entry, step.entry))
        return Chain(steps, self.shape, gated=False)

    def hops(self) -> list[list[nn.Module]]:
        """The maps between consecutive levels, one list for each hop."""
        found: list[list[nn.Module]] = [[]]
        for step in self.steps:
            if isinstance(step, Gate):
                found.append([])
            else:
                found[-1].append(step)
        return found

    def level_shapes(self) -> list[tuple[int, ...]]:
        """Shape of one sample at every level but the outputs."""
        return [self.shape, *(gate.shape for gate in self.gates)]

    def hop_matrix(self, index: int) -> tuple[Tensor, Tensor]:
        """One hop as a matrix ``(units out, units in)`` and a bias ``(units out,)``, signs included."""
        hop, shape = self.hops()[index], self.level_shapes()[index]
        only = hop[0] if len(hop) == 1 else None
        if isinstance(only, Affine) and only.weight.ndim == 2 and len(shape) == 1:
            bias = only.bias if only.bias is not None else only.weight.new_zeros(len(only.weight))
            return only.weight.detach(), bias.detach()
        size = int(torch.tensor(shape).prod())
        with torch.no_grad():
            x = torch.cat([torch.zeros(1, size, dtype=torch.float64), torch.eye(size, dtype=torch.float64)])
            x = x.reshape(size + 1, *shape)
            for step in hop:
                x = step(x)
        flat = x.flatten(1)
        return (flat[1:] - flat[0]).T, flat[0]


def linear_map(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer over the last axis."""
    return functional.linear(x, weight, bias)
