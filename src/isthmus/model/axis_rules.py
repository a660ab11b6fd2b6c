"""How each elementary operation relates the axes of what goes in and what comes out (views: `axis_views`).

A rule sees one call, unifies the axes that must move together, labels the outputs, and notes the roles that parameter
axes play. Operations without a rule fix everything they touch (`tracing.pin`).
"""

from collections.abc import Sequence
from typing import Any

import torch

from isthmus.model.axes import fix, fixed, product, split, unify
from isthmus.model.axis_views import VIEW_RULES, meet, plain
from isthmus.model.tracing import Call, Label, Read, Rule, Value, pin

_LINEAR = {
    "add",
    "sub",
    "rsub",
    "mul",
    "div",
    "neg",
    "clone",
    "_to_copy",
    "detach",
    "alias",
    "lift_fresh",
    "copy",
    "fill",
    "zero",
    "positive",
}
_ADDITIVE = {"add", "sub", "rsub", "copy"}


def pointwise(call: Call) -> None:
    """Entry by entry, with broadcasting: axes that meet move together."""
    values, outputs = call.values, call.outputs
    shape = outputs[0].shape
    labels = [meet([v.labels[i - len(shape)] for v in values if len(v.labels) >= len(shape) - i], n) for i, n in enumerate(shape)]
    if call.kind == "data":
        _note_pointwise(call, values, labels)
    for output in outputs:
        call.put(output, plain(call, labels))


def _note_pointwise(call: Call, values: list[Value], labels: list[Label]) -> None:
    sizes = [label.axis.size for label in labels]
    full = [[v.labels[i] for i in range(-1, -len(v.labels) - 1, -1) if v.labels[i].axis.size == sizes[i]] for v in values]
    data = [own for value, own in zip(values, full, strict=True) if value.kind == "data"]
    for value, own in zip(values, full, strict=True):
        if value.kind == "weight":
            for label in own:
                call.trace.assign(label, "incoming" if call.name in _ADDITIVE else "state")
    if call.name not in _LINEAR:
        for label in labels:
            call.note("activation", label)
    if len(data) > 1:
        what = "addition" if call.name in _ADDITIVE else "multiplication"
        for label in data[0]:
            if any(label.axis.root is other.axis.root for other in data[1]):
                call.note(what, label)


def _product(call: Call, one: Value, other: Value, mine: Label, theirs: Label) -> None:
    """Contract two axes, and give the parameter axes of both sides their roles."""
    unify(mine.axis, theirs.axis)
    kinds = {one.kind, other.kind}
    if kinds == {"data"}:
        call.note("contraction", mine)
    if "data" not in kinds:
        call.trace.assign(mine, "incoming")
        call.trace.assign(theirs, "outgoing")
    elif "weight" in kinds:
        for value, contracted in ((one, mine), (other, theirs)):
            if value.kind == "weight":
                _count(call, value)
                call.trace.assign(contracted, "outgoing")
                for label in value.labels:
                    if label is not contracted:
                        call.trace.assign(label, "incoming")
    if kinds == {"data", "constant"}:
        call.note("reduction", mine)


def _count(call: Call, value: Value) -> None:
    for name in {name for label in value.labels for name, _ in label.origins}:
        call.trace.uses[name] = call.trace.uses.get(name, 0) + 1


def matrix_product(call: Call) -> None:
    """``mm, bmm, mv, dot, addmm, baddbmm, addmv``: contract the inner axes, keep the outer ones."""
    names = {"mm": "self mat2", "bmm": "self mat2", "addmm": "mat1 mat2", "baddbmm": "batch1 batch2"}
    names |= {"mv": "self vec", "addmv": "mat vec", "dot": "self tensor", "vdot": "self other"}
    arguments = names[call.name].split()
    one, other = map(call.value, arguments)
    batch: list[Label] = []
    if len(one.labels) == 3:
        batch = [meet([one.labels[0], other.labels[0]], one.labels[0].axis.size)]
        if one.kind == other.kind == "data":
            call.note("batch", batch[0])
    inner = other.labels[-min(2, len(other.labels))]
    _product(call, one, other, one.labels[-1], inner)
    if {one.kind, other.kind} == {"data", "weight"}:
        data = 0 if one.kind == "data" else 1
        dim = len(one.labels) - 1 if data == 0 else len(other.labels) - min(2, len(other.labels))
        call.trace.reads.append(Read(call.index, arguments[data], dim, inner.axis))
    labels = [*batch, *one.labels[len(batch) : -1], *(other.labels[-1:] if len(other.labels) > 1 else ())]
    if call.name.startswith(("addm", "baddb")):
        labels = _with_bias(call, labels, call.value("self"))
    call.put(call.outputs[0], plain(call, labels))


def _with_bias(call: Call, labels: list[Label], bias: Value) -> list[Label]:
    for label, other in zip(labels[::-1], bias.labels[::-1], strict=False):
        if label.axis.size == other.axis.size:
            unify(label.axis, other.axis)
            if bias.kind == "weight" and call.kind == "data":
                call.trace.assign(other, "incoming")
            if bias.kind == "data":
                call.note("addition", label)
    return labels


def convolution(call: Call) -> None:
    """Any convolution: channels contract, groups of channels keep together, positions keep their places."""
    x, w, groups = call.value("input"), call.value("weight"), call["groups"]
    batch, channels, *positions = x.labels
    for label in [*positions, *w.labels[2:]]:
        fix(label.axis)
    first, second = w.labels[:2]
    inputs = split(channels.axis, "product", [groups, channels.axis.size // groups])
    blocks = split(first.axis, "product", [groups, first.axis.size // groups])
    unify(inputs[0], blocks[0])
    unify(inputs[1], blocks[1] if call["transposed"] else second.axis)
    out = Label(product([blocks[0], second.axis]) if call["transposed"] else first.axis)
    reads, makes = (first, second) if call["transposed"] else (second, first)
    depthwise = groups > 1 and inputs[1].size == 1 and out.axis.size == groups
    if w.kind == "weight" and x.kind == "data":
        _count(call, w)
        call.trace.assign(first if depthwise else makes, "state" if depthwise else "incoming")
        if not depthwise:
            call.trace.assign(reads, "outgoing")
            call.trace.reads.append(Read(call.index, "input", 1, channels.axis))
    if groups > 1 and not depthwise:
        call.note("grouped", Label(blocks[0]))
    call.note("convolution", out)
    if call["bias"] is not None:
        bias = call.value("bias").labels[0]
        unify(bias.axis, out.axis)
        call.trace.assign(bias, "state" if depthwise else "incoming")
    call.put(call.outputs[0], [Label(batch.axis), out, *(Label(fixed(n)) for n in call.outputs[0].shape[2:])])


def channel_norm(call: Call) -> None:
    """Norms of single channels (BatchNorm, InstanceNorm)."""
    labels = call.value("input").labels
    _norm_state(call, [labels[1]], ("weight", "bias", "running_mean", "running_var"))
    _put_first(call, labels)


def layer_norm(call: Call) -> None:
    """A norm across the last axes."""
    labels = call.value("input").labels
    across = list(labels[-len(call["normalized_shape"]) :])
    for label in across:
        call.note("norm", label)
    _norm_state(call, across, ("weight", "bias"))
    _put_first(call, labels)


def group_norm(call: Call) -> None:
    """A norm across the channels of each group."""
    labels = call.value("input").labels
    count = call["group"]
    parts = split(labels[1].axis, "product", [count, labels[1].axis.size // count])
    if parts[1].size > 1:
        call.note("norm", labels[1])
    _norm_state(call, [labels[1]], ("weight", "bias"))
    _put_first(call, labels)


def _norm_state(call: Call, across: list[Label], names: Sequence[str]) -> None:
    for name in names:
        if call[name] is None:
            continue
        for label, own in zip(across, call.value(name).labels, strict=True):
            unify(label.axis, own.axis)
            call.trace.assign(own, "state")


def _put_first(call: Call, labels: Sequence[Label]) -> None:
    """The first output is like the input; the others (statistics) keep only what has the input's size."""
    call.put(call.outputs[0], plain(call, labels))
    for output in call.outputs[1:]:
        call.put(output, [Label(fixed(n)) for n in output.shape])


def softmax(call: Call) -> None:
    """A softmax along one axis."""
    labels = call.value("self").labels
    if labels:
        call.note("softmax", labels[call["dim"]])
    call.put(call.outputs[0], plain(call, labels))


def reduction(call: Call) -> None:
    """Sums, means, norms, extrema: the reduced axes disappear, whatever their order was."""
    if len(call.tensors) > 1:
        pin(call)
        return
    labels, dims, output = call.values[0].labels, call["dim"], call.outputs[0]
    dims = range(len(labels)) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    gone = {d % len(labels) for d in dims} if labels else set()
    for d in gone:
        call.note("reduction", labels[d])
        if len(call.outputs) > 1:
            fix(labels[d].axis)
    keep = len(output.shape) == len(labels)
    left = [Label(fixed(1)) if i in gone else label for i, label in enumerate(labels) if keep or i not in gone]
    for out in call.outputs:
        call.put(out, plain(call, left))


def embedding(call: Call) -> None:
    """A table's rows, looked up by number."""
    table, indices = call.value("weight"), call.value("indices")
    fix(table.labels[0].axis)
    row = table.labels[1]
    if indices.kind == "data":
        _count(call, table)
        call.trace.assign(row, "incoming")
        row = Label(row.axis)
    kind = "data" if indices.kind == "data" else table.kind
    call.put(call.outputs[0], [*(Label(x.axis) for x in indices.labels), row], kind)


def gated(call: Call) -> None:
    """``glu``: one half of an axis multiplies the other."""
    labels = list(call.value("self").labels)
    d = call["dim"] % len(labels)
    half = labels[d].axis.size // 2
    one, other = split(labels[d].axis, "sum", [half, half])
    unify(one, other)
    labels[d] = Label(one)
    call.note("multiplication", labels[d])
    call.note("activation", labels[d])
    call.put(call.outputs[0], plain(call, labels))


def weight_norm(call: Call) -> None:
    """``w = g v / |v|``, the norm over all axes but one."""
    v, g = call.value("v"), call.value("g")
    merged = [meet([a, b], a.axis.size) if a.axis.size == b.axis.size else a for a, b in zip(v.labels, g.labels, strict=True)]
    _put_first(call, merged)


_REDUCTIONS = (
    "sum",
    "mean",
    "amax",
    "amin",
    "max",
    "min",
    "logsumexp",
    "linalg_vector_norm",
    "norm",
    "var",
    "std",
    "prod",
    "any",
    "all",
)
_COPIES = ("detach", "alias", "lift_fresh", "_to_copy", "copy", "clone", "fill", "zero", "masked_fill", "_prelu_kernel")

RULES: dict[str, Rule] = VIEW_RULES | {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot", "addmm", "baddbmm", "addmv"), matrix_product),
    "convolution": convolution,
    **dict.fromkeys(("native_batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit_no_training"), channel_norm),
    "native_layer_norm": layer_norm,
    "native_group_norm": group_norm,
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), softmax),
    **dict.fromkeys(_REDUCTIONS, reduction),
    "embedding": embedding,
    "glu": gated,
    "_weight_norm_interface": weight_norm,
    **dict.fromkeys(_COPIES, pointwise),
}


def rule_for(func: Any, name: str) -> Rule:
    """The rule of an elementary operation: its own, the pointwise one, or none (`tracing.pin`)."""
    if name in RULES:
        return RULES[name]
    random = torch.Tag.nondeterministic_seeded in func.tags
    return pointwise if torch.Tag.pointwise in func.tags and not random else pin
