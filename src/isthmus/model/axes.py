"""Axes of tensors as terms, and their unification: which permutation acts on which axis.

An axis is free (any permutation of it is a symmetry so far), fixed (none is), a product of axes (a flattened axis: outer
parts first) or a sum of axes (a concatenated one). Two axes that must move together are unified; what cannot be unified
is fixed, which is always sound: the permutations that remain are symmetries.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

Form = Literal["free", "fixed", "product", "sum"]


class Axis:
    """One axis of some tensors; unified axes share one root.

    Attributes:
        size: number of entries.
        form: of the root.
        parts: of a product (outer first) or a sum (in order); empty otherwise.
    """

    __slots__ = ("_link", "form", "parts", "size")

    def __init__(self, size: int, form: Form = "free", parts: "Sequence[Axis]" = ()) -> None:
        self.size = size
        self.form: Form = form
        self.parts: tuple[Axis, ...] = tuple(parts)
        self._link: Axis | None = None

    @property
    def root(self) -> "Axis":
        """The axis that stands for all the axes unified with this one."""
        axis = self
        while axis._link is not None:
            axis = axis._link
        return axis

    def become(self, other: "Axis") -> None:
        """Let `other` stand for this root."""
        if self is not other:
            self._link = other

    def refine(self, form: Form, sizes: Sequence[int]) -> "list[Axis] | None":
        """This root as a product or sum of new axes; None when it is already composed otherwise."""
        if self.form not in {"free", "fixed"}:
            return None
        kind: Form = self.form
        parts = [Axis(size, kind if size > 1 else "fixed") for size in sizes]
        if kind == "free":
            self.form, self.parts = form, tuple(parts)
        return parts


def free(size: int) -> Axis:
    """An axis whose entries may be exchanged, until something fixes it."""
    return Axis(size, "free" if size > 1 else "fixed")


def fixed(size: int) -> Axis:
    """An axis whose entries have their places."""
    return Axis(size, "fixed")


def fix(axis: Axis) -> None:
    """Let no entry of the axis move."""
    root = axis.root
    for part in root.parts:
        fix(part)
    root.form, root.parts = "fixed", ()


def product(parts: Sequence[Axis]) -> Axis:
    """The flattened axis, outer part first."""
    return _compose("product", [part for axis in parts for part in _parts(axis, "product")], math.prod(a.size for a in parts))


def concatenation(parts: Sequence[Axis]) -> Axis:
    """The concatenated axis."""
    return _compose("sum", [part for axis in parts for part in _parts(axis, "sum")], sum(a.size for a in parts))


def split(axis: Axis, form: Form, sizes: Sequence[int]) -> list[Axis]:
    """The axis as a product or sum of axes of these sizes; refines free axes, and fixes the axis where that is impossible."""
    queue, found = [axis], []
    for size in sizes:
        taken = _take(queue, form, size)
        if taken is None:
            fix(axis)
            return [fixed(size) for size in sizes]
        found.append(product(taken) if form == "product" else concatenation(taken))
    return found


def unify(one: Axis, other: Axis) -> None:
    """Let both axes move together from now on."""
    a, b = one.root, other.root
    if a is b:
        return
    if a.size != b.size:
        raise ValueError(f"axes of sizes {a.size} and {b.size} cannot move together")
    if "fixed" in {a.form, b.form}:
        fix(a)
        fix(b)
    elif a.form == "free":
        a.become(b)
    elif b.form == "free":
        b.become(a)
    elif a.form == b.form:
        _unify_parts(a, b)
    else:
        fix(a)
        fix(b)


def free_roots(axis: Axis) -> Iterator[Axis]:
    """The free axes that a term is made of, from left to right, repetitions included."""
    root = axis.root
    if root.form == "free":
        yield root
    for part in root.parts:
        yield from free_roots(part)


def occurrences(axis: Axis) -> Iterator[tuple[Axis, int, int, int]]:
    """Where the free axes lie in a term: ``(root, offset, outer, inner)``.

    Entry ``i`` of the root sits at ``offset + (o n + i) inner + k`` for all ``o < outer`` and ``k < inner``; blocks of
    a repeated sum are given one by one, so that this holds for every term.
    """
    yield from _occurrences(axis.root, [0], 1)


def _occurrences(root: Axis, starts: list[int], stride: int) -> Iterator[tuple[Axis, int, int, int]]:
    """Occurrences in copies of a term that start at `starts`, where neighbors lie `stride` apart."""
    if root.form == "free":
        yield from _runs(root, starts, stride)
    elif root.form == "sum":
        offset = 0
        for part in root.parts:
            yield from _occurrences(part.root, [s + offset * stride for s in starts], stride)
            offset += part.size
    elif root.form == "product":
        inner = root.size
        for position, part in enumerate(root.parts):
            inner //= part.size
            outer = math.prod(p.size for p in root.parts[:position])
            jump = part.size * inner * stride
            yield from _occurrences(part.root, [s + o * jump for s in starts for o in range(outer)], stride * inner)


def _runs(root: Axis, starts: list[int], stride: int) -> Iterator[tuple[Axis, int, int, int]]:
    """Copies at equal distances of one period become one occurrence with an outer count."""
    period = root.size * stride
    begin = 0
    for i in range(1, len(starts) + 1):
        if i == len(starts) or starts[i] != starts[i - 1] + period:
            yield root, starts[begin], i - begin, stride
            begin = i


def _parts(axis: Axis, form: Form) -> Iterator[Axis]:
    root = axis.root
    if root.form != form:
        if root.size != (1 if form == "product" else 0):
            yield root
        return
    for part in root.parts:
        yield from _parts(part, form)


def _compose(form: Form, parts: list[Axis], size: int) -> Axis:
    if all(part.form == "fixed" for part in parts):
        return fixed(size)
    return parts[0] if len(parts) == 1 else Axis(size, form, parts)


def _quotient(whole: int, part: int, form: Form) -> int | None:
    """What is missing of `whole` when `part` is there; None when nothing fits."""
    if form == "sum":
        return whole - part if whole > part else None
    return whole // part if part and whole % part == 0 and whole != part else None


def _front(queue: list[Axis], form: Form) -> Axis | None:
    """The first part of a queue of axes, composed ones opened."""
    while queue:
        root = queue[0].root
        if root.form == form:
            queue[:1] = root.parts
        elif root.size == (1 if form == "product" else 0):
            queue.pop(0)
        else:
            return root
    return None


def _take(queue: list[Axis], form: Form, size: int) -> list[Axis] | None:
    """Parts off the front of a queue that make up `size`; None when no refinement gives it."""
    taken, missing, nothing = [], size, 1 if form == "product" else 0
    while missing != nothing:
        part = _front(queue, form)
        if part is None:
            return None
        if part.size != missing and _quotient(missing, part.size, form) is None:
            rest = _quotient(part.size, missing, form)
            pieces = None if rest is None else part.refine(form, [missing, rest])
            if pieces is None:
                return None
            queue[:1] = pieces
            part = pieces[0]
        queue.pop(0)
        taken.append(part)
        missing = missing // part.size if form == "product" else missing - part.size
    return taken


def _unify_parts(a: Axis, b: Axis) -> None:
    """Unify two products, or two sums, over their common refinement."""
    form, one, other = a.form, [a], [b]
    while (x := _front(one, form)) is not None and (y := _front(other, form)) is not None:
        long, short, queue = (x, y, one) if x.size > y.size else (y, x, other)
        if long.size != short.size:
            rest = _quotient(long.size, short.size, form)
            pieces = None if rest is None else long.refine(form, [short.size, rest])
            if pieces is None:
                fix(a)
                fix(b)
                return
            queue[:1] = pieces
            continue
        one.pop(0)
        other.pop(0)
        unify(x, y)
    a.become(b)
