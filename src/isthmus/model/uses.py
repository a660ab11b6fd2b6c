"""What one use of a parameter contributes to the Jacobian, in five forms that cover all layers with a rule.

A *use* is one operation that takes the parameter. Its contribution for sample n and output c is a sum over positions u
(time steps, pixels, tokens) of a product of what went in and of ``delta = df_c / d(what came out)``:

========== ============================================== ==================================================
form       ``df_c(x_n) / dw``                             layers
========== ============================================== ==================================================
Product    ``w[o, i]: sum_u delta[n,c,u,o] a[n,u,i]``     Linear, matrix products, Conv (a = patches)
Grouped    the same in blocks                             Conv with groups
Lookup     ``w[v, e]: sum_u [t[n,u] = v] delta[n,c,u,e]`` Embedding
Scale      ``w[k]: sum_u delta[n,c,u,k] a[n,u,k]``        affine weights of normalizations, ``x * w``, PReLU
Shift      ``w[k]: sum_u delta[n,c,u,k]``                 biases, ``x + w``
========== ============================================== ==================================================

A parameter used more than once has the sum of its uses as its derivative, so that a kernel holds all cross terms.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Use(ABC):
    """One use of a region of a parameter.

    Attributes:
        deltas: derivatives of the outputs by what came out, ``(n, c, u, ...)``.
    """

    deltas: Tensor

    @property
    @abstractmethod
    def units(self) -> int:
        """Length of the parameter region's first axis, along which `rows` can be cut."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Numbers in the parameter region."""

    @abstractmethod
    def rows(self, part: slice) -> Tensor:
        """Per-sample derivatives of the units in `part`, ``(n, c, numbers in part)``."""

    @abstractmethod
    def _merged(self, deltas: Tensor) -> "Use":
        """All samples as positions of one, with these deltas ``(1, 1, n u, ...)``."""

    @property
    def positions(self) -> int:
        """U."""
        return self.deltas.shape[2]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Deltas and, by name, what went in; samples are the first axis of each."""
        return {field.name: value for field in fields(self) if isinstance(value := getattr(self, field.name), Tensor)}

    def numbers(self, outputs: int) -> int:
        """Numbers held for one sample with so many outputs."""
        given = sum(tensor[0].numel() for name, tensor in self.tensors.items() if name != "deltas")
        return given + outputs * self.deltas[0, 0].numel()

    def prepared(self) -> "Use":
        """The same use with everything computed that `rows` would otherwise compute at each call."""
        return self

    def pulled(self, cotangents: Tensor) -> Tensor:
        """``sum_{n,c} cotangent[n, c] df_c(x_n)/dw`` as a flat vector."""
        one = torch.einsum("nc,ncu...->nu...", cotangents, self.deltas)
        return self._merged(one.flatten(0, 1)[None, None]).prepared().rows(slice(0, self.units)).reshape(-1)


@dataclass(frozen=True)
class Product(Use):
    """Outer products of inputs ``(n, u, in)`` and deltas ``(n, c, u, out)``; the region is ``(out, in)``, or transposed."""

    inputs: Tensor
    transposed: bool = False

    @property
    def units(self) -> int:
        """Rows of the region."""
        return self.inputs.shape[-1] if self.transposed else self.deltas.shape[-1]

    @property
    def size(self) -> int:
        """``out * in``."""
        return self.inputs.shape[-1] * self.deltas.shape[-1]

    def rows(self, part: slice) -> Tensor:
        """Sum over positions by one batched matrix product."""
        if self.transposed:
            return torch.einsum("nui,ncuo->ncio", self.inputs[..., part], self.deltas).flatten(2)
        return torch.einsum("ncuo,nui->ncoi", self.deltas[..., part], self.inputs).flatten(2)

    def _merged(self, deltas: Tensor) -> Self:
        return replace(self, deltas=deltas, inputs=self.inputs.flatten(0, 1)[None])


@dataclass(frozen=True)
class Grouped(Use):
    """Outer products within groups: inputs ``(n, u, g, in)``, deltas ``(n, c, u, g, out)``, region ``(g, out, in)``."""

    inputs: Tensor

    @property
    def units(self) -> int:
        """Groups."""
        return self.inputs.shape[2]

    @property
    def size(self) -> int:
        """``g * out * in``."""
        return self.inputs.shape[2] * self.inputs.shape[3] * self.deltas.shape[4]

    def rows(self, part: slice) -> Tensor:
        """Sum over positions, group by group."""
        return torch.einsum("ncugo,nugi->ncgoi", self.deltas[:, :, :, part], self.inputs[:, :, part]).flatten(2)

    def _merged(self, deltas: Tensor) -> Self:
        return replace(self, deltas=deltas, inputs=self.inputs.flatten(0, 1)[None])


@dataclass(frozen=True)
class Convolution(Use):
    """A convolution before its patches are cut out: deltas ``(n, c, u, out)``.

    Attributes:
        images: inputs with their padding, ``(n, calls, in, *space)``.
        kernel: spatial size of the kernel; `stride`, `dilation` and `groups` as in torch.
    """

    images: Tensor
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def units(self) -> int:
        """Output channels, or groups when there are several."""
        return self.deltas.shape[-1] if self.groups == 1 else self.groups

    @property
    def fan_in(self) -> int:
        """Numbers behind one output channel."""
        return self.images.shape[2] // self.groups * torch.Size(self.kernel).numel()

    @property
    def size(self) -> int:
        """``out * in / groups * kernel``."""
        return self.deltas.shape[-1] * self.fan_in

    def prepared(self) -> Product | Grouped:
        """The same as a product with patches, ``(n, u, in * kernel)``."""
        patches = self._patches()
        if self.groups == 1:
            return Product(self.deltas, patches)
        blocks = patches.unflatten(2, (self.groups, -1))
        return Grouped(self.deltas.unflatten(3, (self.groups, -1)), blocks)

    def rows(self, part: slice) -> Tensor:
        """Through `prepared`."""
        return self.prepared().rows(part)

    def _patches(self) -> Tensor:
        windows = self.images.flatten(0, 1)
        for axis, (size, step, gap) in enumerate(zip(self.kernel, self.stride, self.dilation, strict=True)):
            windows = windows.unfold(2 + axis, gap * (size - 1) + 1, step)[..., ::gap]
        space = len(self.kernel)
        count, calls = self.images.shape[:2]
        inner = windows.permute(0, 1, *range(2 + space, 2 + 2 * space), *range(2, 2 + space))
        columns = inner.reshape(count, calls, inner.shape[1] * torch.Size(self.kernel).numel(), -1)
        return columns.transpose(2, 3).flatten(1, 2)

    def _merged(self, deltas: Tensor) -> Self:
        return replace(self, deltas=deltas, images=self.images.flatten(0, 1)[None])


@dataclass(frozen=True)
class Lookup(Use):
    """Rows picked from a table: tokens ``(n, u)``, deltas ``(n, c, u, e)``, region ``(table, e)``.

    Attributes:
        table: rows of the table.
        ignored: the padding index, whose row has no derivative; -1 for none.
    """

    tokens: Tensor
    table: int
    ignored: int

    @property
    def units(self) -> int:
        """Rows of the table."""
        return self.table

    @property
    def size(self) -> int:
        """``table * e``."""
        return self.table * self.deltas.shape[-1]

    def rows(self, part: slice) -> Tensor:
        """Scatter the deltas into their rows."""
        n, c, _, width = self.deltas.shape
        first, last, _ = part.indices(self.table)
        inside = (self.tokens >= first) & (self.tokens < last) & (self.tokens != self.ignored)
        place = torch.where(inside, self.tokens - first, 0)
        values = self.deltas * inside[:, None, :, None]
        made = torch.zeros(n, c, last - first, width, dtype=values.dtype, device=values.device)
        return made.scatter_add_(2, place[:, None, :, None].expand(values.shape), values).flatten(2)

    def _merged(self, deltas: Tensor) -> Self:
        return replace(self, deltas=deltas, tokens=self.tokens.flatten(0, 1)[None])


@dataclass(frozen=True)
class Scale(Use):
    """Entrywise products of inputs ``(n, u, k)`` and deltas ``(n, c, u, k)``."""

    inputs: Tensor

    @property
    def units(self) -> int:
        """K."""
        return self.deltas.shape[-1]

    @property
    def size(self) -> int:
        """K."""
        return self.deltas.shape[-1]

    def rows(self, part: slice) -> Tensor:
        """Multiply and sum over positions."""
        return torch.einsum("ncuk,nuk->nck", self.deltas[..., part], self.inputs[..., part])

    def _merged(self, deltas: Tensor) -> Self:
        return replace(self, deltas=deltas, inputs=self.inputs.flatten(0, 1)[None])


@dataclass(frozen=True)
class Shift(Use):
    """Deltas alone, ``(n, c, u, k)``."""

    @property
    def units(self) -> int:
        """K."""
        return self.deltas.shape[-1]

    @property
    def size(self) -> int:
        """K."""
        return self.deltas.shape[-1]

    def rows(self, part: slice) -> Tensor:
        """Sum over positions; a view where there is one."""
        chosen = self.deltas[..., part]
        return chosen[:, :, 0] if self.positions == 1 else chosen.sum(2)

    def _merged(self, deltas: Tensor) -> Self:
        return replace(self, deltas=deltas)


def summed_rows(uses: Sequence[Use], part: slice) -> Tensor:
    """Per-sample derivatives of the units in `part` by all uses of a region together, ``(n, c, numbers in part)``."""
    total = uses[0].rows(part)
    for use in uses[1:]:
        total = total + use.rows(part)
    return total


def padded(images: Tensor, padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> Tensor:
    """Images with the zero padding of a convolution: numbers, ``"valid"`` or ``"same"`` (the odd one on the right)."""
    if padding == "valid":
        return images
    if padding == "same":
        totals = [gap * (size - 1) for size, gap in zip(kernel, dilation, strict=True)]
        pairs = [(total // 2, total - total // 2) for total in totals]
    else:
        pairs = [(width, width) for width in padding]
    return F.pad(images, [width for pair in reversed(pairs) for width in pair])
