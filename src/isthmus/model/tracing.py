"""Running a network once and following, operation by operation, what each axis of each tensor is made of.

The network runs on real inputs under a dispatch mode, so that every module is followed into its elementary operations:
attention, recurrent layers and functional calls need no case of their own. A value-dependent branch is refused.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from isthmus._core.errors import UnsupportedLayer
from isthmus.model.axes import Axis, fix, fixed, free, free_roots
from isthmus.model.derivatives import exact_kernels
from isthmus.model.network import Network

Kind = Literal["data", "weight", "constant"]
Role = Literal["incoming", "outgoing", "state"]
_CONSTANT_ENTRIES = 1 << 20
FACTORIES = ("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty")
_READERS = {"_local_scalar_dense", "is_nonzero", "equal"}


Rule = Callable[["Call"], None]
RuleBook = Callable[[Any, str], Rule]


class Label(NamedTuple):
    """An axis of a value, and the parameter axes that it is a view of (none for data)."""

    axis: Axis
    origins: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True)
class Value:
    """What is known of a tensor: one label per axis, and whether it depends on the inputs or on parameters alone."""

    labels: tuple[Label, ...]
    kind: Kind


class Output(NamedTuple):
    """A tensor that came out of an operation, and its shape at that time (later operations may change it in place)."""

    tensor: Tensor
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Event:
    """Something that an operation did along an axis.

    Attributes:
        what: ``norm``, ``softmax``, ``reduction``, ``addition``, ``multiplication``, ``contraction``, ``batch`` (of a
            product of data), ``convolution``, ``grouped``, or ``activation``.
        axis: along which it happened.
        operation: its name, an activation's with its options.
        module: path of the module that called it.
    """

    what: str
    axis: Axis
    operation: str
    module: str


class Read(NamedTuple):
    """A product of data with weights: which operation, which argument holds the data, and the axis it contracts."""

    call: int
    argument: str
    dim: int
    axis: Axis


@dataclass
class Trace:
    """The axes of a network's parameters and buffers after one run, and what happened along them.

    Attributes:
        parameters: name to value, of every parameter and buffer that the run used.
        roles: what each parameter axis did: it computes units, reads them, or belongs to single units.
        events: in order of execution.
        uses: number of products each parameter took part in.
        fixed_by: operations without a rule that met exchangeable axes and fixed them, ``(module, operation)``.
        reads: products in which weights read units.
    """

    parameters: dict[str, Value] = field(default_factory=dict)
    roles: dict[tuple[str, int], set[Role]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    uses: dict[str, int] = field(default_factory=dict)
    fixed_by: list[tuple[str, str]] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)

    def note(self, what: str, label: Label, operation: str, module: str) -> None:
        """Remember that something happened along an axis that may be exchanged."""
        if label.axis.root.form != "fixed":
            self.events.append(Event(what, label.axis, operation, module))

    def assign(self, label: Label, role: Role) -> None:
        """Give a role to the parameter axes behind a label."""
        for origin in label.origins:
            self.roles.setdefault(origin, set()).add(role)


class Context:
    """What the rules share: the values of all tensors, and the trace."""

    def __init__(self, names: dict[int, str], mutated: set[int], constants: dict[int, list[Axis]]) -> None:
        self.trace = Trace()
        self._names, self._mutated, self._constants = names, mutated, constants
        self._values: dict[int, Value] = {}
        self._written: dict[int, Kind] = {}

    def get(self, tensor: Tensor) -> Value:
        """The value of a tensor; parameters and constants get theirs when they are first seen."""
        if id(tensor) in self._values:
            value = self._values[id(tensor)]
            written = self._written.get(_storage(tensor), value.kind)
            return value if written == value.kind else Value(value.labels, join([written, value.kind]))
        name = self._names.get(id(tensor))
        if name is None:
            axes = self._constants.get(id(tensor)) or [fixed(size) for size in tensor.shape]
            value = Value(tuple(map(Label, axes)), "constant")
        else:
            value = Value(tuple(Label(free(n), frozenset({(name, i)})) for i, n in enumerate(tensor.shape)), "weight")
            self.trace.parameters[name] = value
        self._values[id(tensor)] = value
        return value

    def put(self, output: Output, labels: Sequence[Label], kind: Kind) -> None:
        """Set the value of an operation's output."""
        sizes = tuple(label.axis.size for label in labels)
        if sizes != output.shape:
            raise ValueError(f"axes of sizes {sizes} were derived for a result of shape {output.shape}")
        self._values[id(output.tensor)] = Value(tuple(labels), kind)

    def write(self, tensor: Tensor, kind: Kind) -> None:
        """Remember what kind of value was written into a tensor's memory, whatever view it was written through."""
        place = _storage(tensor)
        self._written[place] = join([kind, self._written.get(place, "constant")])

    def is_lasting_constant(self, tensor: Tensor) -> bool:
        """Whether a tensor is a constant that nothing ever writes into."""
        return self.get(tensor).kind == "constant" and _storage(tensor) not in self._mutated


def join(kinds: list[Kind]) -> Kind:
    """The kind of what is computed from values of these kinds."""
    return "data" if "data" in kinds else "weight" if "weight" in kinds else "constant"


def trace(network: Network, inputs: Tensor, rule_for: RuleBook) -> Trace:
    """Run a network once, in evaluation mode, and follow its axes.

    Operations whose results never reach the output are left out.

    Args:
        network: the network.
        inputs: a few examples ``(n, ...)``; their values are irrelevant, their shape is not.
        rule_for: gives the rule of an elementary operation.

    Returns:
        The trace; axes that reach inputs or outputs are fixed.

    Raises:
        UnsupportedLayer: the forward pass branches on tensor values, or uses an operation in a way that is not understood.
    """
    network = network.eval()
    recorder = _Recorder()
    named = {**network.buffers, **network.parameters}
    recorder.known |= {id(inputs), *map(id, named.values())}
    with exact_kernels(network), torch.no_grad(), _where(network, recorder.modules), recorder:
        outputs = network.forward(network.parameters, inputs)
    calls = _live(recorder.calls, outputs)
    mutated = {_storage(call.tensors[0]) for call in calls if call.mutates}
    context = Context({id(tensor): name for name, tensor in named.items()}, mutated, recorder.constants)
    context.put(Output(inputs, tuple(inputs.shape)), [Label(fixed(size)) for size in inputs.shape], "data")
    for call in calls:
        call.follow(context, rule_for)
    for label in context.get(outputs).labels:
        fix(label.axis)
    return context.trace


class _Recorder(TorchDispatchMode):
    """Keeps every operation on tensors, in order, and what the constants were when they were first used."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.modules: list[str] = []
        self.known: set[int] = set()
        self.constants: dict[int, list[Axis]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler, one second, to leave this method alone

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        module = next((name for name in reversed(self.modules) if name), "the module itself")
        call = Call(module, func, args, kwargs or {})
        for tensor in call.tensors:
            if id(tensor) not in self.known:
                self.constants[id(tensor)] = constant_axes(tensor)
        result = func(*args, **call.kwargs)
        call.outputs = [Output(tensor, tuple(tensor.shape)) for tensor in _tensors([result])]
        if call.tensors:
            call.index = len(self.calls)
            self.known |= set(map(id, call.tensors))
            if call.name not in FACTORIES:
                self.known |= set(map(id, _tensors([result])))
            self.calls.append(call)
        return result


class Call:
    """One elementary operation: its name, arguments by name, tensors in and out."""

    def __init__(self, module: str, func: Any, args: tuple, kwargs: dict) -> None:
        self.module, self.func, self.kwargs = module, func, kwargs
        packet = func.overloadpacket.__name__
        self.mutates = packet.endswith("_") and not packet.endswith("__")
        self.name = packet.rstrip("_") if self.mutates else packet
        self.arguments = {a.name: a.default_value for a in func._schema.arguments}
        self.arguments |= dict(zip(self.arguments, args, strict=False)) | kwargs
        self.tensors = list(_tensors(self.arguments.values()))
        self.outputs: list[Output] = []
        self.index = -1
        self.context: Context

    def __getitem__(self, name: str) -> Any:
        return self.arguments.get(name)

    @property
    def trace(self) -> Trace:
        """Where roles and events go."""
        return self.context.trace

    @property
    def reads_values(self) -> bool:
        """Whether the program takes a number out of a tensor."""
        return self.name in _READERS

    @property
    def options(self) -> str:
        """Arguments that are numbers or words and differ from their defaults, as ``(name=value, ...)``."""
        defaults = {a.name: a.default_value for a in self.func._schema.arguments}
        shown = [f"{k}={v}" for k, v in self.arguments.items() if isinstance(v, int | float | str) and v != defaults[k]]
        return f"({', '.join(shown)})" if shown else ""

    @property
    def values(self) -> list[Value]:
        """The values of all the tensors that went in."""
        return [self.context.get(tensor) for tensor in self.tensors]

    @property
    def kind(self) -> Kind:
        """The kind of what comes out."""
        return join([value.kind for value in self.values])

    def value(self, name: str) -> Value:
        """The value of a tensor argument."""
        return self.context.get(self.arguments[name])

    def put(self, output: Output, labels: Sequence[Label], kind: Kind | None = None) -> None:
        """Set the value of an output."""
        self.context.put(output, labels, kind or self.kind)

    def note(self, what: str, label: Label) -> None:
        """Remember that this operation did something along an axis."""
        self.trace.note(what, label, f"{self.name}{self.options}", self.module)

    def follow(self, context: Context, rule_for: RuleBook) -> None:
        """Relate the axes of what went in and what came out."""
        self.context = context
        if self.reads_values and self.kind != "constant":
            raise UnsupportedLayer(
                f"{self.module} reads the value of a tensor while it runs (a branch on it, or .item()), so its exchangeable "
                "units cannot be known from one run. Write its forward pass without branches on tensor values."
            )
        try:
            rule_for(self.func, self.name)(self)
            if self.mutates:
                context.write(self.tensors[0], self.kind)
        except (ValueError, IndexError, KeyError, TypeError, AttributeError) as fault:
            shapes = [tuple(tensor.shape) for tensor in self.tensors]
            raise UnsupportedLayer(
                f"{self.module} calls {self.func} on shapes {shapes} in a way that isthmus cannot follow ({fault}), so its "
                "exchangeable units are unknown. Please report the layer."
            ) from fault


def pin(call: Call) -> None:
    """The rule of operations that have none: nothing they touch may move, which is sound for any operation."""
    axes = [label.axis for value in call.values for label in value.labels]
    if any(True for axis in axes for _ in free_roots(axis)):
        call.trace.fixed_by.append((call.module, call.name))
    for axis in axes:
        fix(axis)
    for output in call.outputs:
        call.put(output, [Label(fixed(size)) for size in output.shape])


def _live(calls: list[Call], outputs: Tensor) -> list[Call]:
    """The calls that can reach the outputs (through whatever shares their memory), or whose numbers the program reads."""
    needed, live = {_storage(outputs)}, []
    for call in reversed(calls):
        if call.reads_values or any(_storage(output.tensor) in needed for output in call.outputs):
            needed |= {_storage(tensor) for tensor in call.tensors}
            live.append(call)
    return live[::-1]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def listen(network: Network, inputs: Tensor, wanted: dict[int, set[str]]) -> dict[tuple[int, str], Tensor]:
    """Run a network as `trace` does and keep chosen arguments of its operations.

    Args:
        network: the network that was traced, or one of the same architecture.
        inputs: ``(n, ...)``.
        wanted: number of an operation (`Read.call`) to the names of arguments.

    Returns:
        ``(operation, argument)`` to what it held then.
    """
    network = network.eval()
    listener = _Listener(wanted)
    with exact_kernels(network), torch.no_grad(), listener:
        network.forward(network.parameters, inputs)
    return listener.heard


class _Listener(TorchDispatchMode):
    def __init__(self, wanted: dict[int, set[str]]) -> None:
        super().__init__()
        self.wanted, self.count = wanted, 0
        self.heard: dict[tuple[int, str], Tensor] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if next(_tensors([*args, *kwargs.values()]), None) is not None:
            if self.count in self.wanted:
                call = Call("", func, args, kwargs)
                self.heard |= {(self.count, name): call[name].clone() for name in self.wanted[self.count]}
            self.count += 1
        return func(*args, **kwargs)


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def constant_axes(tensor: Tensor) -> list[Axis]:
    """Axes of a constant: free along those where all its entries agree, so that nothing is changed by moving them."""
    if tensor.numel() > _CONSTANT_ENTRIES or tensor.numel() == 0:
        return [fixed(size) for size in tensor.shape]
    first = [tensor.narrow(i, 0, 1) for i in range(tensor.ndim)]
    return [free(n) if bool((tensor == first[i]).all()) else fixed(n) for i, n in enumerate(tensor.shape)]


@contextmanager
def _where(network: Network, path: list[str]) -> Iterator[None]:
    """Keep the path of the running module up to date."""

    def leave(*_: Any) -> None:
        path.pop()

    handles = []
    for name, sub in network.module.named_modules():
        handles.append(sub.register_forward_pre_hook(lambda _m, _a, name=name: path.append(name)))
        handles.append(sub.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
