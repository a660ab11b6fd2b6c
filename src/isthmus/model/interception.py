"""Watching a forward pass for the operations that take parameters.

torch hands every call of its functions to a `TorchFunctionMode`, whichever module or user code makes it. An operation
with a rule below is recorded: which region of which parameter it takes, what goes in, and its output, which becomes a
point at which to differentiate. Attention and recurrent layers run by their parts (`isthmus.model.expansion`), so that the
products inside them are seen.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from isthmus.model.expansion import CELLS, attention, expandable, recurrent
from isthmus.model.uses import Convolution, Lookup, Product, Scale, Shift, Use, padded

#: from deltas ``(n, c, l, ...)`` and what went in ``(n, l, ...)`` to the use; l counts calls folded into the batch axis
Builder = Callable[[Tensor, Tensor | None], Use]


@dataclass(frozen=True)
class Region:
    """A contiguous part of a parameter, starting at a flat offset; `transposed` when seen through ``.T``."""

    name: str
    start: int
    shape: torch.Size
    transposed: bool


@dataclass(frozen=True)
class Call:
    """A parameter's part in an operation."""

    region: Region
    build: Builder
    data: Tensor | None = None


@dataclass(frozen=True)
class Operation:
    """An operation that takes parameters: its parts, and its output as a point to differentiate at."""

    calls: list[Call]
    point: Tensor


class Interception(TorchFunctionMode):
    """Records operations on the given parameters, in their order.

    Args:
        parameters: the tensors that the network runs with, by name.
        chosen: numbers of the operations to differentiate at; every one when None.
    """

    def __init__(self, parameters: Mapping[str, Tensor], chosen: set[int] | None = None) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._chosen = chosen
        self._tensors = {name: tensor for name, tensor in parameters.items() if tensor.is_contiguous()}
        self._names = {id(tensor): name for name, tensor in parameters.items()}

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run the function; record it when it has a rule and takes a parameter."""
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            with self:
                return attention(*args, **kwargs)
        if func in CELLS and expandable(args):
            with self:
                return recurrent(CELLS[func], *args)
        output = func(*args, **kwargs)
        rule = _RULES.get(func)
        if rule is None or not isinstance(output, Tensor):
            return output
        calls = rule(self, output, *args, **kwargs)
        return self._recorded(calls, output) if calls else output

    def region(self, tensor: Any) -> Region | None:
        """Which part of which parameter a tensor is, if it is one."""
        if not isinstance(tensor, Tensor):
            return None
        if id(tensor) in self._names:
            return Region(self._names[id(tensor)], 0, tensor.shape, False)
        if not tensor._is_view():
            return None
        try:
            address = tensor.data_ptr()
        except RuntimeError:  # a tensor inside a function transform has no storage of its own
            return None
        for name, whole in self._tensors.items():
            start = (address - whole.data_ptr()) // whole.element_size()
            if not 0 <= start < whole.numel():
                continue
            if tensor.is_contiguous():
                return Region(name, start, tensor.shape, False)
            if tensor.ndim == 2 and tensor.shape == whole.shape[::-1] and tensor.stride() == whole.stride()[::-1]:
                return Region(name, 0, whole.shape, True)
        return None

    def _recorded(self, calls: list[Call], output: Tensor) -> Tensor:
        number = len(self.operations)
        if self._chosen is not None and number not in self._chosen:
            self.operations.append(Operation([], output))
            return output
        point = output if output.requires_grad else output.detach().requires_grad_()
        self.operations.append(Operation(calls, point))
        return point.clone()


def _parts(*pairs: tuple[Region | None, Builder, Tensor | None]) -> list[Call]:
    return [Call(region, build, None if data is None else data.detach()) for region, build, data in pairs if region is not None]


def _linear(mode: Interception, output: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> list[Call]:
    region = mode.region(weight)
    turned = region is not None and region.transposed

    def build(deltas: Tensor, data: Tensor | None) -> Use:
        return Product(deltas.flatten(2, -2), _given(data).flatten(1, -2), turned)

    return _parts((region, build, input), (mode.region(bias), _last_axis_shift, None))


def _matmul(mode: Interception, output: Tensor, input: Tensor, other: Tensor) -> list[Call]:
    region = mode.region(other)
    if region is None or other.ndim != 2 or input.ndim < 2:
        return []

    def build(deltas: Tensor, data: Tensor | None) -> Use:
        return Product(deltas.flatten(2, -2), _given(data).flatten(1, -2), not region.transposed)

    return _parts((region, build, input))


def _convolution(
    mode: Interception,
    output: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> list[Call]:
    kernel = tuple(weight.shape[2:])
    steps, gaps = _each(stride, len(kernel)), _each(dilation, len(kernel))
    if output.ndim != weight.ndim:
        return []
    images = padded(input.detach(), padding if isinstance(padding, str) else _each(padding, len(kernel)), kernel, gaps)

    def build(deltas: Tensor, data: Tensor | None) -> Use:
        return Convolution(deltas.movedim(3, -1).flatten(2, -2), _given(data), kernel, steps, gaps, groups)

    return _parts((mode.region(weight), build, images), (mode.region(bias), _channel_shift, None))


def _embedding(
    mode: Interception,
    output: Tensor,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> list[Call]:
    rows, ignored = len(weight), -1 if padding_idx is None else padding_idx % len(weight)

    def build(deltas: Tensor, data: Tensor | None) -> Use:
        return Lookup(deltas.flatten(2, -2), _given(data).flatten(1), rows, ignored)

    return _parts((mode.region(weight), build, input))


def _trailing_norm(
    mode: Interception,
    output: Tensor,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float | None = 1e-5,
) -> list[Call]:
    axes = len(normalized_shape)

    def scale(deltas: Tensor, data: Tensor | None) -> Use:
        return Scale(_flat_end(deltas, axes).flatten(2, -2), _flat_end(_given(data), axes).flatten(1, -2))

    def shift(deltas: Tensor, _: Tensor | None) -> Use:
        return Shift(_flat_end(deltas, axes).flatten(2, -2))

    region = mode.region(weight)
    plain = None if region is None else F.layer_norm(input.detach(), normalized_shape, eps=eps or 1e-5)
    return _parts((region, scale, plain), (mode.region(bias), shift, None))


def _rms_norm(
    mode: Interception,
    output: Tensor,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> list[Call]:
    calls = _trailing_norm(mode, output, input, normalized_shape, weight)
    plain = F.rms_norm(input.detach(), list(normalized_shape), eps=eps)
    return [Call(call.region, call.build, plain) for call in calls]


def _channel_norm(mode: Interception, plain: Callable[[], Tensor], weight: Tensor | None, bias: Tensor | None) -> list[Call]:
    region = mode.region(weight)
    return _parts((region, _channel_scale, None if region is None else plain()), (mode.region(bias), _channel_shift, None))


def _batch_norm(
    mode: Interception,
    output: Tensor,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> list[Call]:
    if training:
        return []
    return _channel_norm(mode, lambda: F.batch_norm(input.detach(), running_mean, running_var, eps=eps), weight, bias)


def _group_norm(
    mode: Interception,
    output: Tensor,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> list[Call]:
    return _channel_norm(mode, lambda: F.group_norm(input.detach(), num_groups, eps=eps), weight, bias)


def _instance_norm(
    mode: Interception,
    output: Tensor,
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> list[Call]:
    def plain() -> Tensor:
        return F.instance_norm(input.detach(), running_mean, running_var, use_input_stats=use_input_stats, eps=eps)

    return _channel_norm(mode, plain, weight, bias)


def _prelu(mode: Interception, output: Tensor, input: Tensor, weight: Tensor) -> list[Call]:
    below = input.detach().clamp(max=0)
    if weight.numel() > 1:
        return _parts((mode.region(weight), _channel_scale, below))

    def build(deltas: Tensor, data: Tensor | None) -> Use:
        return Scale(deltas.flatten(2)[..., None], _given(data).flatten(1)[..., None])

    return _parts((mode.region(weight), build, below))


def _add(mode: Interception, output: Tensor, input: Any, other: Any, *, alpha: float = 1) -> list[Call]:
    if alpha != 1:
        return []
    return [_broadcast(region, tensor, output, None) for tensor in (input, other) if (region := mode.region(tensor))]


def _mul(mode: Interception, output: Tensor, input: Any, other: Any) -> list[Call]:
    pairs = ((input, other), (other, input))
    return [
        _broadcast(region, tensor, output, partner)
        for tensor, partner in pairs
        if (region := mode.region(tensor)) and isinstance(partner, Tensor)
    ]


def _broadcast(region: Region, tensor: Tensor, output: Tensor, partner: Tensor | None) -> Call:
    """A parameter that is added to or multiplied with something along some of the output's axes."""
    wide = (1,) * (output.ndim - tensor.ndim) + tuple(tensor.shape)
    kept = [axis for axis in range(1, output.ndim) if wide[axis] != 1]
    data = None if partner is None else partner.detach().expand(output.shape)

    def spread(made: Tensor, before: int) -> Tensor:
        """Axes along which the parameter varies last and flat, all others as positions."""
        last = [before + axis for axis in kept]
        first = [axis for axis in range(before, made.ndim) if axis not in last]
        moved = made.permute(*range(before), *first, *last)
        return moved.flatten(before + len(first)).flatten(before, -2) if last else moved.flatten(before)[..., None]

    def build(deltas: Tensor, given: Tensor | None) -> Use:
        turned = spread(deltas, 2)
        return Shift(turned) if given is None else Scale(turned, spread(given, 1))

    return Call(region, build, data)


def _channel_scale(deltas: Tensor, data: Tensor | None) -> Use:
    return Scale(deltas.movedim(3, -1).flatten(2, -2), _given(data).movedim(2, -1).flatten(1, -2))


def _channel_shift(deltas: Tensor, _: Tensor | None) -> Use:
    return Shift(deltas.movedim(3, -1).flatten(2, -2))


def _last_axis_shift(deltas: Tensor, _: Tensor | None) -> Use:
    return Shift(deltas.flatten(2, -2))


def _flat_end(tensor: Tensor, axes: int) -> Tensor:
    return tensor.flatten(tensor.ndim - axes)


def _given(data: Tensor | None) -> Tensor:
    assert data is not None  # rules that need data pass it
    return data


def _each(value: int | Sequence[int], count: int) -> tuple[int, ...]:
    values = (value,) * count if isinstance(value, int) else tuple(value)
    return values * count if len(values) == 1 else values


_RULES: dict[Any, Callable[..., list[Call]]] = {
    F.linear: _linear,
    torch.matmul: _matmul,
    torch.Tensor.matmul: _matmul,
    torch.Tensor.__matmul__: _matmul,
    torch.mm: _matmul,
    torch.Tensor.mm: _matmul,
    torch.conv1d: _convolution,
    torch.conv2d: _convolution,
    torch.conv3d: _convolution,
    F.embedding: _embedding,
    F.layer_norm: _trailing_norm,
    F.rms_norm: _rms_norm,
    F.batch_norm: _batch_norm,
    F.group_norm: _group_norm,
    F.instance_norm: _instance_norm,
    torch.prelu: _prelu,
    torch.add: _add,
    torch.Tensor.add: _add,
    torch.mul: _mul,
    torch.Tensor.mul: _mul,
}


def overlapping(regions: Sequence[Region]) -> bool:
    """Whether two different regions of one parameter share entries, so that their uses cannot be told apart."""
    spans = sorted({(r.start, r.start + r.shape.numel(), tuple(r.shape)) for r in regions})
    return any(first[1] > second[0] for first, second in itertools.pairwise(spans))
