"""How views, cuts, joins and resampling relate the axes of what goes in and what comes out."""

import math
from collections.abc import Callable, Sequence

import torch

from isthmus.model.axes import concatenation, fix, fixed, free, product, split, unify
from isthmus.model.tracing import FACTORIES, Call, Label, Rule, constant_axes, pin

_SPATIAL = {
    "max_pool2d_with_indices": 2, "max_pool3d_with_indices": 3, "avg_pool1d": 1, "avg_pool2d": 2, "avg_pool3d": 3,
    "_adaptive_avg_pool2d": 2, "_adaptive_avg_pool3d": 3, "adaptive_max_pool2d": 2, "adaptive_max_pool3d": 3,
    "upsample_nearest1d": 1, "upsample_nearest2d": 2, "upsample_nearest3d": 3, "upsample_linear1d": 1,
    "upsample_bilinear2d": 2, "upsample_bicubic2d": 2, "upsample_trilinear3d": 3,
}  # fmt: skip


def meet(labels: Sequence[Label], size: int) -> Label:
    """The label of an output axis of this size; labels of size 1 are broadcast."""
    full = [label for label in labels if label.axis.size == size]
    for label in full[1:]:
        unify(full[0].axis, label.axis)
    axis = full[0].axis if full else free(size)
    return Label(axis, frozenset().union(*(label.origins for label in full)))


def plain(call: Call, labels: Sequence[Label]) -> list[Label]:
    """Labels of an output; what depends on data is no view of a parameter."""
    return [Label(label.axis) for label in labels] if call.kind == "data" else list(labels)


def along_axis(call: Call) -> None:
    """Operations in which the order along one axis matters (cumulative sums, flips, index of the maximum)."""
    labels, dims = call.value("self").labels, call["dim"] if call["dim"] is not None else call["dims"]
    if dims in (None, []) or not labels:
        pin(call)
        return
    chosen = {d % len(labels) for d in ([dims] if isinstance(dims, int) else dims)}
    for d in chosen:
        fix(labels[d].axis)
    for output in call.outputs:
        kept = [label for i, label in enumerate(labels) if len(output.shape) == len(labels) or i not in chosen]
        call.put(
            output, plain(call, [x if x.axis.size == n else Label(fixed(n)) for x, n in zip(kept, output.shape, strict=True)])
        )


def reshape(call: Call) -> None:
    """A view of another shape: axes are split and merged where their sizes say so."""
    labels, shape = list(call.value("self").labels), list(call.outputs[0].shape)
    found: list[Label] = []
    taken: list[Label] = []
    sizes: list[int] = []
    for size in shape:
        if 0 in shape:
            found.append(Label(fixed(size)))
            continue
        sizes.append(size)
        while math.prod(label.axis.size for label in taken) < math.prod(sizes):
            taken.append(labels.pop(0))
        if math.prod(label.axis.size for label in taken) == math.prod(sizes):
            found += _regrouped(taken, sizes)
            taken, sizes = [], []
    call.put(call.outputs[0], plain(call, found))


def _regrouped(labels: list[Label], sizes: list[int]) -> list[Label]:
    origins = frozenset().union(*(label.origins for label in labels))
    parts = split(product([label.axis for label in labels]), "product", sizes)
    return [Label(axis, origins if axis.size > 1 else frozenset()) for axis in parts]


def _moved(order: Callable[[Call, int], list[int]]) -> Callable[[Call], None]:
    def rule(call: Call) -> None:
        labels = call.value("self").labels
        call.put(call.outputs[0], [labels[i] for i in order(call, len(labels))])

    return rule


def _swap(one: int, other: int, ndim: int) -> list[int]:
    order = list(range(ndim))
    if ndim:
        order[one], order[other] = order[other], order[one]
    return order


def unsqueeze(call: Call) -> None:
    """A new axis of size one."""
    labels = list(call.value("self").labels)
    labels.insert(call["dim"] % (len(labels) + 1), Label(fixed(1)))
    call.put(call.outputs[0], labels)


def squeeze(call: Call) -> None:
    """Axes of size one disappear."""
    labels, dims = call.value("self").labels, call["dim"]
    chosen = range(len(labels)) if dims is None else [dims] if isinstance(dims, int) else dims
    gone = {d % len(labels) for d in chosen if labels[d].axis.size == 1} if labels else set()
    call.put(call.outputs[0], [label for i, label in enumerate(labels) if i not in gone])


def expand(call: Call) -> None:
    """Copies along an axis: they are all equal, so their order is free."""
    labels, shape = call.value("self").labels, call.outputs[0].shape
    padded = [Label(fixed(1))] * (len(shape) - len(labels)) + list(labels)
    call.put(call.outputs[0], [x if x.axis.size == n else Label(free(n)) for x, n in zip(padded, shape, strict=True)])


def repeat(call: Call) -> None:
    """Copies of whole axes, one after the other."""
    labels = call.value("self").labels
    padded = [Label(fixed(1))] * (len(call["repeats"]) - len(labels)) + list(labels)
    tiled = [Label(product([fixed(r), x.axis]), x.origins) for r, x in zip(call["repeats"], padded, strict=True)]
    call.put(call.outputs[0], plain(call, tiled))


def cut(call: Call) -> None:
    """``split`` in all its forms, and slices with step one: pieces of one axis."""
    labels = call.value("self").labels
    d = (call["dim"] or 0) % len(labels)
    whole, outputs = labels[d], call.outputs
    if call.name == "slice":
        size, length = whole.axis.size, outputs[0].shape[d]
        start = min(max((call["start"] or 0) + (size if (call["start"] or 0) < 0 else 0), 0), size)
        if call["step"] != 1 and length != size:
            fix(whole.axis)
            pieces = [fixed(length)]
        else:
            pieces = split(whole.axis, "sum", [start, length, size - start - length])[1:2] if length != size else [whole.axis]
    else:
        pieces = split(whole.axis, "sum", [output.shape[d] for output in outputs])
    for output, piece in zip(outputs, pieces, strict=True):
        call.put(output, [*labels[:d], Label(piece, whole.origins), *labels[d + 1 :]])


def pick(call: Call) -> None:
    """``select`` and ``unbind``: single entries of an axis, which keeps its order."""
    labels = call.value("self").labels
    d = (call["dim"] or 0) % len(labels)
    fix(labels[d].axis)
    for output in call.outputs:
        if call.context.is_lasting_constant(call.tensors[0]):
            call.put(output, list(map(Label, constant_axes(output.tensor))))  # the layers of a zero initial state share nothing
        else:
            call.put(output, [*labels[:d], *labels[d + 1 :]])


def concatenate(call: Call) -> None:
    """``cat``: axes one after the other."""
    values = [v for v in map(call.context.get, call.tensors) if [x.axis.size for x in v.labels] != [0]]
    ndim = len(call.outputs[0].shape)
    d = (call["dim"] or 0) % ndim
    joined = [
        first if i == d else meet([v.labels[i] for v in values], first.axis.size) for i, first in enumerate(values[0].labels)
    ]
    ends = [v.labels[d] for v in values]
    joined[d] = Label(concatenation([x.axis for x in ends]), frozenset().union(*(x.origins for x in ends)))
    call.put(call.outputs[0], plain(call, joined))


def stack(call: Call) -> None:
    """``stack``: a new axis whose entries keep their places."""
    values = call.values
    labels = [meet([v.labels[i] for v in values], x.axis.size) for i, x in enumerate(values[0].labels)]
    labels.insert((call["dim"] or 0) % (len(labels) + 1), Label(fixed(len(values))))
    call.put(call.outputs[0], plain(call, labels))


def pad(call: Call) -> None:
    """Padding by a constant: the new entries are all equal."""
    labels, widths = list(call.value("self").labels), call["pad"]
    for k in range(len(widths) // 2):
        i, (left, right) = len(labels) - 1 - k, widths[2 * k : 2 * k + 2]
        if left < 0 or right < 0:
            pin(call)
            return
        labels[i] = Label(concatenation([free(left), labels[i].axis, free(right)]), labels[i].origins)
    call.put(call.outputs[0], plain(call, labels))


def spatial(call: Call) -> None:
    """Pooling and resampling: the last axes are positions."""
    labels, count = call.values[0].labels, _SPATIAL[call.name]
    for label in labels[-count:]:
        fix(label.axis)
    for output in call.outputs:
        call.put(output, plain(call, [*labels[:-count], *(Label(fixed(n)) for n in output.shape[-count:])]))


def index(call: Call) -> None:
    """Rows chosen by one tensor of numbers along one axis, which keeps its order."""
    labels = list(call.value("self").labels)
    chosen = call["indices"] if call.name == "index" else [None] * (call["dim"] % max(len(labels), 1)) + [call["index"]]
    places = [i for i, numbers in enumerate(chosen) if numbers is not None]
    if len(places) != 1 or chosen[places[0]].dtype == torch.bool:
        pin(call)
        return
    d, numbers = places[0], call.context.get(chosen[places[0]])
    for label in [labels[d], *numbers.labels]:
        fix(label.axis)
    call.put(call.outputs[0], [*labels[:d], *(Label(fixed(x.axis.size)) for x in numbers.labels), *labels[d + 1 :]])


def triangle(call: Call) -> None:
    """``tril`` and ``triu``: the last two axes keep their order."""
    labels = call.value("self").labels
    for label in labels[-2:]:
        fix(label.axis)
    call.put(call.outputs[0], labels)


def like(call: Call) -> None:
    """New constants in the shape of a tensor: they depend on nothing, and get their axes when they are used."""


VIEW_RULES: dict[str, Rule] = {
    **dict.fromkeys(("view", "_unsafe_view", "_reshape_alias", "reshape"), reshape),
    "t": _moved(lambda _, n: list(range(n))[::-1]),
    "transpose": _moved(lambda call, n: _swap(call["dim0"], call["dim1"], n)),
    "permute": _moved(lambda call, n: [d % n for d in call["dims"]]),
    "unsqueeze": unsqueeze,
    "squeeze": squeeze,
    "expand": expand,
    "repeat": repeat,
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "slice"), cut),
    **dict.fromkeys(("select", "unbind"), pick),
    "cat": concatenate,
    "stack": stack,
    "constant_pad_nd": pad,
    **dict.fromkeys(_SPATIAL, spatial),
    **dict.fromkeys(("index", "index_select"), index),
    **dict.fromkeys(("tril", "triu"), triangle),
    **dict.fromkeys(("cumsum", "cumprod", "flip", "roll", "argmax", "argmin", "sort"), along_axis),
    **dict.fromkeys(FACTORIES, like),
}
