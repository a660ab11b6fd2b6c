"""The parts of a Jacobian, parameter by parameter: which operations took it, what went in, and the outputs' derivatives.

What the rules of `isthmus.model.interception` see is believed only when it reproduces autograd's own gradient on a few
samples with random cotangents; a parameter for which it does not (an operation without a rule took it, or examples are
mixed) is left to the caller, by name.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from isthmus._core.errors import UnsupportedLayer
from isthmus._core.numerics import tolerance
from isthmus._core.seeds import Seed
from isthmus.engine.memory import chunks
from isthmus.linops.allocation import uninitialized
from isthmus.linops.random import gaussian
from isthmus.model.derivatives import default_chunk, exact_kernels
from isthmus.model.interception import Call, Interception, Operation, Region, overlapping
from isthmus.model.network import Network
from isthmus.model.uses import Use

_TRIES = 16


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
    """

    layouts: dict[int, Layout]
    served: dict[str, list[int]]
    left: list[str]
    sample: "list[Part]"
    outputs: int


@dataclass(frozen=True)
class Part:
    """One region of a parameter with all its uses; their sum is its share of the Jacobian."""

    region: Region
    uses: list[Use]
    points: tuple[int, ...]


def understand(network: Network, inputs: Tensor) -> Capture:
    """Find the operations that take parameters, and check them against autograd.

    Args:
        network: per-example network.
        inputs: ``(n, ...)``; a few of them are used.

    Returns:
        What can be captured. Cost: two forward passes of two and three samples, and two backward passes of three, from
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
    left = [name for name in network.parameters if name not in served]
    return Capture(chosen, served, left, _sample(served, chosen, recorder.operations, stacked, len(three)), raw.shape[1])


def capture(network: Network, inputs: Tensor, plan: Capture) -> list[Part]:
    """The uses of every served parameter on these inputs.

    Args:
        network: the network that `plan` was made for.
        inputs: ``(n, ...)``.
        plan: from `understand`.

    Returns:
        Parts in the order of the parameters; deltas ``(n, c, ...)`` of one operation are shared by its parts. Cost: one
        forward pass and c backward passes that stop at the first layer.

    Raises:
        UnsupportedLayer: the network ran other operations than when `plan` was made.
    """
    numbers = sorted(plan.layouts)
    deltas: dict[int, list[Tensor]] = {i: [] for i in numbers}
    data: dict[tuple[int, int], list[Tensor | None]] = {}
    calls: dict[tuple[int, int], Call] = {}
    for rows in chunks(len(inputs), default_chunk(network, inputs)):
        recorder, outputs = _record(network, inputs[rows], set(numbers))
        count = rows.stop - rows.start
        if any(i >= len(recorder.operations) for i in numbers):
            raise UnsupportedLayer("The network's operations change with its inputs; use method=JacobianContraction().")
        points = [recorder.operations[i].point for i in numbers]
        for i, raw in zip(numbers, _collected(outputs, points, [plan.layouts[i] for i in numbers]), strict=True):
            deltas[i].append(raw)
            for k, call in enumerate(recorder.operations[i].calls):
                given = None if call.data is None else plan.layouts[i].samples_first(call.data, count)
                calls[i, k] = replace(call, data=None)
                data.setdefault((i, k), []).append(given)
    joined = {i: pieces.pop() if len(pieces) == 1 else torch.cat(pieces) for i, pieces in deltas.items()}
    built = {key: calls[key].build(joined[key[0]], _joined(pieces)) for key, pieces in data.items()}
    return _parts(plan.served, calls, built)


def _sample(
    served: dict[str, list[int]],
    layouts: dict[int, Layout],
    operations: list[Operation],
    stacked: Mapping[int, Tensor],
    samples: int,
) -> list[Part]:
    """The parts from what the check has already computed."""
    calls, built = {}, {}
    for i, layout in layouts.items():
        deltas = torch.stack([layout.samples_first(column, samples) for column in stacked[i]], dim=1)
        for k, call in enumerate(operations[i].calls):
            calls[i, k] = call
            built[i, k] = call.build(deltas, None if call.data is None else layout.samples_first(call.data, samples))
    return _parts(served, calls, built)


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


def _collected(outputs: Tensor, points: list[Tensor], layouts: list[Layout]) -> list[Tensor]:
    """Deltas ``(n, c, l, ...)`` of every point, written output by output so that nothing is held twice."""
    count, width = outputs.shape
    shapes = [layout.samples_first(point, count).shape for layout, point in zip(layouts, points, strict=True)]
    made = [uninitialized((shape[0], width, *shape[1:]), outputs) for shape in shapes]
    for index, gradients in enumerate(_gradients(outputs, points)):
        for store, layout, gradient in zip(made, layouts, gradients, strict=True):
            store[:, index] = layout.samples_first(gradient, count)
    return made


def _stacked(outputs: Tensor, points: list[Tensor]) -> list[Tensor]:
    """Deltas ``(c, ...)`` of every point as they come."""
    columns = list(_gradients(outputs, points))
    return [torch.stack([column[k] for column in columns]) for k in range(len(points))]


def _gradients(outputs: Tensor, points: list[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    if not points:
        return
    last = outputs.shape[1] - 1
    for index, column in enumerate(outputs.unbind(1)):
        if not column.requires_grad:
            yield tuple(torch.zeros_like(point) for point in points)
            continue
        yield _pulled_back(column.sum(), points, None, keep=index < last)


def _pulled_back(outputs: Tensor, points: list[Tensor], cotangents: Tensor | None, *, keep: bool = True) -> tuple[Tensor, ...]:
    return torch.autograd.grad(outputs, points, cotangents, retain_graph=keep, allow_unused=True, materialize_grads=True)


def _joined(pieces: list[Tensor | None]) -> Tensor | None:
    whole = [piece for piece in pieces if piece is not None]
    return None if not whole else whole[0] if len(whole) == 1 else torch.cat(whole)
