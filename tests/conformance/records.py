"""What every record class must do. Suites are parametrized over `catalog.KINDS`, so a registered class inherits them all."""

import types
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import hypothesis
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from isthmus._core.status import Status
from isthmus.results.record import Record

_DTYPES = ("float64", "float32", "int64", "bool")
_SIMPLE: dict[Any, st.SearchStrategy] = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(),
    str: st.text(max_size=12),
    bool: st.booleans(),
    Status: st.sampled_from(Status),
    type(None): st.none(),
}


@st.composite
def records(draw: st.DrawFn, kind: type[Record]) -> Record:
    """Any record of a class: arrays of any bits with its dims, header values of its type hints, NaN and infinities too."""
    names = sorted({dim for dims in kind.dims.values() for dim in dims})
    lengths = {dim: draw(st.integers(0, 3)) for dim in names}
    values: dict[str, Any] = {}
    for name, dims in kind.dims.items():
        shape = tuple(lengths[dim] for dim in dims)
        values[name] = draw(arrays.arrays(np.dtype(draw(st.sampled_from(_DTYPES))), shape))
    hints = get_type_hints(kind)
    for field in fields(kind):
        if field.name not in kind.dims:
            values[field.name] = draw(plain(hints[field.name]))
    return kind(**values)


def plain(hint: Any) -> st.SearchStrategy:
    """Values of a header field's type."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    if is_dataclass(hint):
        return st.builds(hint, **{field.name: plain(get_type_hints(hint)[field.name]) for field in fields(hint)})
    if origin in (Union, types.UnionType):
        return st.one_of(*map(plain, args))
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(plain(args[0]), max_size=3).map(tuple) if args[-1] is Ellipsis else st.tuples(*map(plain, args))
    if origin is list:
        return st.lists(plain(args[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(plain(args[0]), plain(args[1]), max_size=3)
    raise TypeError(f"A header field of type {hint} has no JSON form that the suite knows; use plain data.")


def sample(kind: type[Record]) -> Record:
    """One fixed record of a class, with no array empty."""
    quick = hypothesis.settings(database=None, derandomize=True, phases=[hypothesis.Phase.generate], max_examples=1000)
    return hypothesis.find(records(kind), lambda made: all(a.size for a in made.arrays().values()), settings=quick)
