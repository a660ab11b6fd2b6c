"""The parts of a Jacobian, parameter by parameter: which operations took it, what went in, and the outputs' derivatives.

What the rules of `isthmus.model.interception` see is believed only when it reproduces autograd's own gradient on a few
samples with random cotangents; a parameter for which it does not (an operation without a rule took it, or examples are
mixed) is left to the caller, by name.
"""

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from isthmus._core.errors import UnsupportedLayer
from isthmus._core.numerics import tolerance
from isthmus._core.seeds import Seed
from isthmus.engine.memory import chunks
from isthmus.linops.allocation import uninitialized
from isthmus.linops.random import gaussian
from isthmus.model.derivatives import exact_kernels, graph_bytes, samples_at_once
from isthmus.model.interception import Call, Interception, Operation, Region, overlapping
from isthmus.model.network import Network
from isthmus.model.uses import Shift, Use, summed_rows

_TRIES = 16
_BUDGET = 2**26


@dataclass(frozen=True)
class Layout:
    """Where the samples are in an operation's output.

    Attributes:
        axis: of the samples.
        outer: whether the batch axis holds ``positions * samples`` with the positions outside (else inside).
    """

    axis: int
    outer: bool = False

    def samples_first(self, tensor: Tensor, samples: int) -> Tensor:
        """``(n, l, ...)`` where l counts what is folded into the batch axis."""
        if self.axis > 0:
            return tensor.movedim(self.axis, 0).unsqueeze(1)
        if self.outer:
            return tensor.unflatten(0, (-1, samples)).transpose(0, 1)
        return tensor.unflatten(0, (samples, -1))


@dataclass(frozen=True)
class Capture:
    """Which parameters are served by rules, and how to read the operations that take them.

    Attributes:
        layouts: operation number to layout, for the operations to differentiate at.
        served: parameter name to the numbers of the operations that take it.
        left: parameters without a rule.
        sample: the parts on three samples and one combination of the outputs: what shapes they have, so what they cost.
        outputs: of the network.
        graph: bytes that autograd saves for one sample's forward pass.
        points: numbers in the operations' outputs for one sample, so in one output's deltas.
    """

    layouts: dict[int, Layout]
    served: dict[str, list[int]]
    left: list[str]
    sample: "list[Part]"
    outputs: int
    graph: int
    points: int


@dataclass(frozen=True)
class Part:
    """One region of a parameter with all its uses; their sum is its share of the Jacobian."""

    region: Region
    uses: list[Use]
    points: tuple[int, ...]

    def formed(self) -> "Part":
        """The same with its per-sample derivatives formed: one shift of every number of the region."""
        return replace(self, uses=[Shift(summed_rows(self.uses, slice(0, self.uses[0].size))[:, :, None])])


def understand(network: Network, inputs: Tensor) -> Capture:
    """Find the operations that take parameters, and check them against autograd.

    Args:
        network: per-example network.
        inputs: ``(n, ...)``; a few of them are used.

    Returns:
        What can be captured. Cost: three forward passes of two or three samples, and two backward passes of three, from
        one random combination of the outputs (rules are linear in the deltas, so that one decides for all).
    """
    two, three = (inputs[torch.arange(count) % len(inputs)] for count in (2, 3))
    leaves = {name: value.detach().requires_grad_() for name, value in network.parameters.items()}
    recorder, raw = _record(network, three, None, leaves)
    layouts = _layouts(_record(network, two, set())[0].operations, recorder.operations)
    mixing = gaussian(raw.shape[1:], Seed(0).child("capture", "outputs"), network.dtype, network.device)
    cotangents = gaussian((len(three), 1), Seed(0).child("capture", "samples"), network.dtype, network.device)
    outputs = (raw @ mixing)[:, None]
    truth = dict(zip(leaves, _pulled_back(outputs, list(leaves.values()), cotangents), strict=True))
    whole = math.sqrt(sum(float(part.norm()) ** 2 for part in truth.values()))
    numbers = sorted(layouts)
    stacked = dict(zip(numbers, _stacked(outputs, [recorder.operations[i].point for i in numbers]), strict=True))
    served, chosen = {}, {}
    for name in network.parameters:
        mine = [i for i in numbers if any(call.region.name == name for call in recorder.operations[i].calls)]
        options = [_options(layouts[i], recorder.operations[i].point, len(three)) for i in mine]
        for combination in itertools.islice(itertools.product(*options), _TRIES if mine else 0):
            tried = dict(zip(mine, combination, strict=True))
            if _reproduces(name, recorder.operations, stacked, tried, cotangents, truth[name], whole):
                served[name] = mine
                chosen |= tried
                break
    chosen = dict(sorted(chosen.items()))
    return Capture(
        layouts=chosen,
        served=served,
        left=[name for name in network.parameters if name not in served],
        sample=_sample(served, chosen, recorder.operations, stacked, len(three)),
        outputs=raw.shape[1],
        graph=graph_bytes(network, two),
        points=sum(recorder.operations[i].point.numel() for i in chosen) // len(three),
    )


def capture(
    network: Network,
    inputs: Tensor,
    plan: Capture,
    *,
    formed: Collection[int] = (),
    without: Collection[int] = (),
    budget: float = _BUDGET,
) -> list[Part]:
    """The uses of every served parameter on these inputs.

    Args:
        network: the network that `plan` was made for.
        inputs: ``(n, ...)``.
        plan: from `understand`.
        formed: parts, by their place in `plan.sample`, whose per-sample derivatives are formed at once; what they were
            made of is not kept.
        without: parts that are not wanted.
        budget: bytes held beside what is returned; one sample with one output is taken when that is more.

    Returns:
        Parts in the order of `plan.sample`; those not wanted have no uses. Deltas ``(n, c, ...)`` of one operation are
        shared by its parts when all samples go at once. Cost: one forward pass and c backward passes that stop at the
        first layer.

    Raises:
        UnsupportedLayer: the network ran other operations than when `plan` was made.
    """
    samples, outputs = _at_once(plan, network.flat[:1].element_size(), budget)
    if samples >= len(inputs) and outputs >= plan.outputs:
        ((_, parts),) = _pieces(network, inputs, plan, outputs, formed, without)
        return parts
    made: list[Part] = []
    for rows in chunks(len(inputs), samples):
        for some, parts in _pieces(network, inputs[rows], plan, outputs, formed, without):
            made = made or [_roomy(part, len(inputs), plan.outputs) for part in parts]
            while parts:  # one by one, so that nothing of this piece is held when the next is made
                _write(made[len(parts) - 1], parts.pop(), rows, some)
    return made


def _pieces(
    network: Network, inputs: Tensor, plan: Capture, outputs: int, formed: Collection[int], without: Collection[int]
) -> Iterator[tuple[slice, list[Part]]]:
    """All parts on these samples, for so many outputs at a time; a part's deltas are let go as soon as it is formed."""
    numbers, layouts = list(plan.layouts), list(plan.layouts.values())
    recorder, values = _record(network, inputs, set(numbers))
    if any(i >= len(recorder.operations) for i in numbers):
        raise UnsupportedLayer("The network's operations change with its inputs; use method=JacobianContraction().")
    operations = [recorder.operations[i] for i in numbers]
    for some in chunks(plan.outputs, outputs):
        deltas = _collected(values, some, [operation.point for operation in operations], layouts)
        parts = _parts(plan.served, *_built(operations, numbers, deltas, layouts, len(inputs)))
        del deltas
        for k, part in enumerate(parts):
            parts[k] = replace(part, uses=[]) if k in without else part.formed() if k in formed else part
        yield some, parts


def _at_once(plan: Capture, itemsize: int, budget: float) -> tuple[int, int]:
    """Samples and outputs whose graphs and deltas fit the budget together; fewer outputs only where one sample is too much."""
    each = plan.points * itemsize
    samples = int(budget // max(plan.graph + each * plan.outputs, 1))
    if samples:
        return min(samples, samples_at_once(plan.graph)), plan.outputs
    return 1, max(1, min(plan.outputs, int((budget - plan.graph) // max(each, 1))))


def _built(
    operations: Sequence[Operation], numbers: Sequence[int], deltas: Sequence[Tensor], layouts: Sequence[Layout], samples: int
) -> tuple[dict[tuple[int, int], Call], dict[tuple[int, int], Use]]:
    """Calls and uses by the operation's number and their place in it."""
    calls, built = {}, {}
    for i, operation, own, layout in zip(numbers, operations, deltas, layouts, strict=True):
        for k, call in enumerate(operation.calls):
            calls[i, k] = call
            built[i, k] = call.build(own, None if call.data is None else layout.samples_first(call.data, samples))
    return calls, built


def _roomy(part: Part, samples: int, outputs: int) -> Part:
    """Memory for the part on all samples and outputs."""

    def room(name: str, tensor: Tensor) -> Tensor:
        shape = (samples, outputs, *tensor.shape[2:]) if name == "deltas" else (samples, *tensor.shape[1:])
        return tensor.new_empty(shape)

    return replace(part, uses=[replace(u, **{k: room(k, t) for k, t in u.tensors.items()}) for u in part.uses])


def _write(whole: Part, part: Part, rows: slice, outputs: slice) -> None:
    for store, use in zip(whole.uses, part.uses, strict=True):
        for name, tensor in use.tensors.items():
            store.tensors[name][(rows, outputs) if name == "deltas" else rows] = tensor


def _sample(
    served: dict[str, list[int]],
    layouts: dict[int, Layout],
    operations: list[Operation],
    stacked: Mapping[int, Tensor],
    samples: int,
) -> list[Part]:
    """The parts from what the check has already computed."""
    deltas = [torch.stack([layout.samples_first(column, samples) for column in stacked[i]], 1) for i, layout in layouts.items()]
    chosen = [operations[i] for i in layouts]
    return _parts(served, *_built(chosen, list(layouts), deltas, list(layouts.values()), samples))


def _parts(
    served: Mapping[str, list[int]], calls: Mapping[tuple[int, int], Call], built: Mapping[tuple[int, int], Use]
) -> list[Part]:
    parts = []
    for name in served:
        keys = [key for key, call in calls.items() if call.region.name == name]
        for start, shape in dict.fromkeys((calls[key].region.start, calls[key].region.shape) for key in keys):
            mine = [key for key in keys if (calls[key].region.start, calls[key].region.shape) == (start, shape)]
            region = Region(name, start, shape, False)
            parts.append(Part(region, [built[key] for key in mine], tuple(i for i, _ in mine)))
    return parts


def _record(
    network: Network, inputs: Tensor, chosen: set[int] | None, leaves: Mapping[str, Tensor] | None = None
) -> tuple[Interception, Tensor]:
    """Run the network under watch; its outputs ``(n, c)`` hang on the recorded points, and on leaves when given."""
    parameters = network.parameters if leaves is None else leaves
    recorder = Interception(parameters, chosen)
    with exact_kernels(network), recorder:
        outputs = network.apply(parameters, inputs)
    return recorder, outputs


def _layouts(of_two: list[Operation], of_three: list[Operation]) -> dict[int, Layout]:
    """Operation number to layout, from what changes between two and three samples; none where nothing or too much does."""
    if len(of_two) != len(of_three):
        return {}
    found = {}
    for number, operations in enumerate(zip(of_two, of_three, strict=True)):
        small, large = (operation.point.shape for operation in operations)
        moved = [axis for axis, (a, b) in enumerate(zip(small, large, strict=True)) if a != b] if len(small) == len(large) else []
        if len(moved) == 1 and small[moved[0]] * 3 == large[moved[0]] * 2 and (moved[0] == 0 or small[moved[0]] == 2):
            found[number] = Layout(moved[0])
    return found


def _options(layout: Layout, point: Tensor, samples: int) -> list[Layout]:
    return [layout, Layout(0, outer=True)] if layout.axis == 0 and len(point) > samples else [layout]


def _reproduces(
    name: str,
    operations: list[Operation],
    stacked: Mapping[int, Tensor],
    layouts: Mapping[int, Layout],
    cotangents: Tensor,
    truth: Tensor,
    whole: float,
) -> bool:
    """Whether the uses, read with these layouts, add up to autograd's gradient, up to rounding of it or of the whole."""
    calls = [(i, call) for i in layouts for call in operations[i].calls if call.region.name == name]
    if overlapping([call.region for _, call in calls]):
        return False
    truth = truth.reshape(-1)
    total, terms = torch.zeros_like(truth), 1
    for i, call in calls:
        deltas = torch.stack([layouts[i].samples_first(column, len(cotangents)) for column in stacked[i]], dim=1)
        given = None if call.data is None else layouts[i].samples_first(call.data, len(cotangents))
        try:
            pulled = call.build(deltas, given).pulled(cotangents)
        except (RuntimeError, IndexError):
            return False
        if pulled.numel() != call.region.shape.numel():
            return False
        total[call.region.start : call.region.start + pulled.numel()] += pulled
        terms += deltas[0, 0].numel()
    gap, scale = float((total - truth).norm()), max(float(truth.norm()), float(total.norm()), 1e-30)
    return gap <= max(tolerance(truth.dtype, terms=terms, depth=16) * scale, tolerance(truth.dtype, terms=terms) * whole)


def _collected(outputs: Tensor, some: slice, points: list[Tensor], layouts: list[Layout]) -> list[Tensor]:
    """Deltas ``(n, c, l, ...)`` of some outputs at every point, written output by output so that nothing is held twice."""
    count, width = len(outputs), some.stop - some.start
    shapes = [layout.samples_first(point, count).shape for layout, point in zip(layouts, points, strict=True)]
    made = [uninitialized((shape[0], width, *shape[1:]), outputs) for shape in shapes]
    for index, gradients in enumerate(_gradients(outputs, points, some)):
        for store, layout, gradient in zip(made, layouts, gradients, strict=True):
            store[:, index] = layout.samples_first(gradient, count)
    return made


def _stacked(outputs: Tensor, points: list[Tensor]) -> list[Tensor]:
    """Deltas ``(c, ...)`` of every point as they come."""
    columns = list(_gradients(outputs, points, slice(0, outputs.shape[1])))
    return [torch.stack([column[k] for column in columns]) for k in range(len(points))]


def _gradients(outputs: Tensor, points: list[Tensor], some: slice) -> Iterator[tuple[Tensor, ...]]:
    """Gradients of the chosen outputs at all points, one by one; the graph is given back with the last output of all."""
    if not points:
        return
    for index in range(some.start, some.stop):
        if not outputs.requires_grad:
            yield tuple(torch.zeros_like(point) for point in points)
            continue
        yield _pulled_back(outputs[:, index].sum(), points, None, keep=index + 1 < outputs.shape[1])


def _pulled_back(outputs: Tensor, points: list[Tensor], cotangents: Tensor | None, *, keep: bool = True) -> tuple[Tensor, ...]:
    return torch.autograd.grad(outputs, points, cotangents, retain_graph=keep, allow_unused=True, materialize_grads=True)
