"""One problem at many points of a line or plane in parameter space: ``w = w_0 + sum_k c_k d_k``.

An operation that applies a parameter to data that no parameter has touched (the first layer, mostly) is linear in w: its
values at ``w_0`` and along each ``d_k`` are computed once, and at every point they are summed instead of the product. Small
networks are evaluated many points at a time along a leading axis.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from isthmus._core.errors import ShapeError
from isthmus._core.numerics import tolerance
from isthmus.engine.memory import available_bytes, chunks
from isthmus.model.derivatives import exact_kernels, graph_bytes
from isthmus.model.normalization import Recalibration, has_running_statistics
from isthmus.model.problem import Problem

_LINEAR = (F.linear, torch.conv1d, torch.conv2d, torch.conv3d)
_ROWS = 8192
_STORED_BYTES = 2**25
_BATCHED_WORK = 1_000_000
_TOGETHER = 64


class AffineSlice:
    """Loss and 0-1 error at points ``w_0 + sum_k c_k d_k``, where ``w_0`` are the problem's own parameters.

    Args:
        problem: its network is evaluated in evaluation mode.
        directions: ``(k, p)``, at least one, in the network's dtype.
        recalibrate: measure BatchNorm's running statistics anew at every point, over the training inputs; otherwise the
            network's own stay in use.
        test: evaluate on the test data.

    Attributes:
        served: parameters whose products with the data are computed once; empty where many points are taken together.
        batched: whether many points are taken together.

    Raises:
        ShapeError: directions of another network.
        InputError: test data were asked for and the problem has none.
        BatchCoupled: outputs depend on the rest of the batch, and the data do not fit in one.
    """

    def __init__(self, problem: Problem, directions: Tensor, *, recalibrate: bool = True, test: bool = False) -> None:
        self.problem = problem = problem.eval()
        network = problem.network
        if directions.ndim != 2 or directions.shape[1] != network.size or not len(directions):
            raise ShapeError(f"Directions of shape (k, {network.size}) are needed, found {tuple(directions.shape)}.")
        measured = problem.on_test_data() if test else problem
        self.inputs, self.targets = measured.inputs, measured.targets
        self.directions = directions.detach().to(network.device, network.dtype)
        self.recalibration = Recalibration(problem) if recalibrate and has_running_statistics(network) else None
        self.batched = self.recalibration is None and len(self.inputs) * network.size <= _BATCHED_WORK
        self._first, self._bytes = (_FirstLayers({}), 0) if self.batched else self._understood()
        self.served = tuple(self._first.names.values())
        self._rows = len(self.inputs) if self.batched else self._samples_at_once()

    def scores(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses as given and shares of wrong labels (NaN without class labels) at coefficients ``(s, k)``, both ``(s,)``.

        Values that are not finite are returned as they are. Cost: one forward pass a point, without the products in
        `served`; with BatchNorm to recalibrate, two.

        Raises:
            ShapeError: the coefficients have another number of columns.
        """
        coefficients = np.asarray(coefficients, dtype=np.float64)
        if coefficients.ndim != 2 or coefficients.shape[1] != len(self.directions):
            raise ShapeError(f"Coefficients of shape (s, {len(self.directions)}) are needed, found {coefficients.shape}.")
        with torch.no_grad():
            totals, wrong = self._many(coefficients) if self.batched else self._one_by_one(coefficients)
        loss = totals / self.problem.loss.normalizer(self.targets)
        if not self.problem.classification:
            return loss, np.full(len(loss), np.nan)
        counted = int(self.problem.loss.counted(self.targets).sum())
        return loss, wrong / counted if counted else np.full(len(loss), np.nan)

    def _one_by_one(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        order = np.lexsort(coefficients.T[::-1])
        walker, totals, wrong = _Walker(self.problem, self.directions), np.zeros(len(order)), np.zeros(len(order))
        buffers = self._buffers(walker, coefficients)
        for rows in chunks(len(self.inputs), self._rows):
            inputs, targets = self.inputs[rows], self.targets[rows]
            self._first.begin()
            for i in order:
                walker.move(coefficients[i])
                outputs = self._first.forward(walker, inputs, buffers[i])
                totals[i] += float(self.problem.loss.total(outputs, targets))
                wrong[i] += float(self._wrong(outputs, targets))
        return totals, wrong

    def _many(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A block of points along a leading axis; point by point where the module cannot be mapped."""
        network, loss = self.problem.network, self.problem.loss

        def of_one(point: Tensor) -> tuple[Tensor, Tensor]:
            outputs = network.forward(network.layout.unflatten(point), self.inputs)
            return loss.total(outputs, self.targets), self._wrong(outputs, self.targets)

        parts = []
        for rows in chunks(len(coefficients), _TOGETHER):
            steps = torch.from_numpy(coefficients[rows]).to(self.directions)
            points = network.flat + steps @ self.directions
            try:
                with exact_kernels(network), warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "There is a performance drop")  # torch maps some operations one by one
                    parts.append(torch.func.vmap(of_one)(points))
            except RuntimeError:
                parts.append([torch.stack(column) for column in zip(*map(of_one, points), strict=True)])
        totals, wrong = (torch.cat(column).double().cpu().numpy() for column in zip(*parts, strict=True))
        return totals, wrong

    def _wrong(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if not self.problem.classification:
            return outputs.new_zeros(())
        return ((outputs.argmax(dim=1) != targets) & self.problem.loss.counted(targets)).sum()

    def _buffers(self, walker: "_Walker", coefficients: np.ndarray) -> Sequence[Mapping[str, Tensor]]:
        if self.recalibration is None:
            return [self.problem.network.buffers] * len(coefficients)
        return [self.recalibration.at(walker.move(c).parameters) for c in coefficients]

    def _samples_at_once(self) -> int:
        """Samples whose activations and stored products stay in bounds."""
        each = max(graph_bytes(self.problem.network, self.inputs), 1)
        most = max(1, min(_ROWS, int(available_bytes() / 8 / each), _STORED_BYTES // max(self._bytes, 1)))
        parts = -(-len(self.inputs) // most)
        if parts > 1:
            self.problem.network.require_per_example(self.inputs)
        return -(-len(self.inputs) // parts)

    def _understood(self) -> tuple["_FirstLayers", int]:
        """What can be served, checked at a generic point, and the bytes it stores for one sample."""
        walker, few = _Walker(self.problem, self.directions), self.inputs[:3]
        generic = np.linspace(0.3, 0.7, len(self.directions))
        watches = []
        with torch.no_grad():
            for place in (0 * generic, generic):
                walker.move(place)
                with _Watch(walker) as watch:
                    truth = walker.forward(few)
                watches.append(watch.calls)
            names = _untouched(*watches)
            for channels_last in (True, False):
                first = _FirstLayers(names, channels_last)
                if self._reproduces(first, walker, few, truth):
                    return first, first.bytes // len(few)
        return _FirstLayers({}), 0

    def _reproduces(self, first: "_FirstLayers", walker: "_Walker", few: Tensor, truth: Tensor) -> bool:
        if first.channels_last and not (few.device.type == "cpu" and few.dtype == torch.float32):
            return False
        first.begin()
        try:
            found = first.forward(walker, few, self.problem.network.buffers)
        except RuntimeError:  # e.g. view() of an output whose channels lie last
            return False
        scale = truth.abs().max().clamp_min(1e-30)
        return bool((found - truth).abs().max() <= tolerance(truth.dtype, terms=4096, depth=16) * scale)


class _Walker:
    """The parameters at a point that moves along a slice; neighbors that share all but the last coefficient cost one sum."""

    def __init__(self, problem: Problem, directions: Tensor) -> None:
        network = problem.network
        self.network, self.directions, self.origin = network, directions, network.flat
        self.flat = self.origin.clone()
        self.parameters = network.layout.unflatten(self.flat)
        self.names = {id(value): name for name, value in self.parameters.items()}
        self.starts = network.layout.unflatten(self.origin)
        self.slopes = [network.layout.unflatten(row) for row in directions]
        self.head: tuple[float, ...] | None = None
        self.last = 0.0
        self.base = self.origin

    def move(self, coefficients: np.ndarray) -> "_Walker":
        *head, self.last = map(float, coefficients)
        if self.head != tuple(head):
            self.head = tuple(head)
            self.base = _along(self.origin, self.head, list(self.directions))
        torch.add(self.base, self.directions[-1], alpha=self.last, out=self.flat)
        return self

    def forward(self, inputs: Tensor, buffers: Mapping[str, Tensor] | None = None) -> Tensor:
        return self.network.forward(self.parameters, inputs, buffers)


@dataclass
class _Product:
    """An operation's output at the origin and along each direction."""

    input: Tensor
    version: int
    origin: Tensor
    slopes: list[Tensor]
    head: tuple[float, ...] | None = None
    base: Tensor = field(init=False)

    def same_input(self, input: Tensor) -> bool:
        mine = self.input
        if input.data_ptr() == mine.data_ptr() and input.shape == mine.shape and input.stride() == mine.stride():
            return input._version == self.version
        return input.shape == mine.shape and torch.equal(input, mine)

    def at(self, walker: _Walker) -> Tensor:
        if self.head != walker.head:
            self.head = walker.head
            self.base = _along(self.origin, walker.head or (), self.slopes)
        return torch.add(self.base, self.slopes[-1], alpha=walker.last)


class _FirstLayers:
    """Serves the chosen operations (by their number in a pass) from stored products."""

    def __init__(self, names: Mapping[int, str], channels_last: bool = False) -> None:
        self.names, self.channels_last = dict(names), channels_last
        self.stored: dict[int, _Product | None] = {}

    @property
    def bytes(self) -> int:
        """Held by the stored products."""
        products = (product for product in self.stored.values() if product is not None)
        return sum(p.origin.nbytes * (2 + len(p.slopes)) for p in products)

    def begin(self) -> None:
        """Other samples follow: nothing stored is of use."""
        self.stored = {}

    def forward(self, walker: _Walker, inputs: Tensor, buffers: Mapping[str, Tensor]) -> Tensor:
        if not self.names:
            return walker.forward(inputs, buffers)
        with _Serve(self, walker):
            return walker.forward(inputs, buffers)

    def output(self, number: int, walker: _Walker, function: Any, args: tuple) -> Tensor | None:
        """The operation's output, or None where it has to be computed."""
        input, weight, bias, *rest = args if len(args) > 2 else (*args, None)
        if number not in self.stored:
            self.stored[number] = self._product(walker, function, input, weight, bias, rest)
        product = self.stored[number]
        if product is None or not product.same_input(input):
            self.stored[number] = None
            return None
        return product.at(walker)

    def _product(
        self, walker: _Walker, function: Any, input: Tensor, weight: Tensor, bias: Tensor | None, rest: Sequence
    ) -> _Product:
        def of(values: Mapping[str, Tensor]) -> Tensor:
            made = function(input, *(None if t is None else values[walker.names[id(t)]] for t in (weight, bias)), *rest)
            return made.contiguous(memory_format=torch.channels_last) if self.channels_last and made.ndim == 4 else made

        return _Product(input, input._version, of(walker.starts), [of(values) for values in walker.slopes])


class _Numbered(TorchFunctionMode):
    """Hands every linear operation with a parameter as weight (and as bias, if any) to `call`, with its number."""

    def __init__(self, walker: _Walker) -> None:
        super().__init__()
        self.walker, self.count = walker, 0

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run the function, or `call` in its place."""
        known = self.walker.names
        weight, bias = (*args[1:3], None, None)[:2]
        if func not in _LINEAR or kwargs or id(weight) not in known or not (bias is None or id(bias) in known):
            return func(*args, **(kwargs or {}))
        self.count += 1
        return self.call(self.count - 1, func, args)

    def call(self, number: int, function: Any, args: tuple) -> Tensor:
        raise NotImplementedError


class _Watch(_Numbered):
    """Notes what goes into each operation."""

    def __init__(self, walker: _Walker) -> None:
        super().__init__(walker)
        self.calls: list[tuple[str, Tensor]] = []

    def call(self, number: int, function: Any, args: tuple) -> Tensor:
        self.calls.append((self.walker.names[id(args[1])], args[0].clone()))
        return function(*args)


class _Serve(_Numbered):
    """Answers the operations that `first` serves."""

    def __init__(self, first: _FirstLayers, walker: _Walker) -> None:
        super().__init__(walker)
        self.first = first

    def call(self, number: int, function: Any, args: tuple) -> Tensor:
        output = self.first.output(number, self.walker, function, args) if number in self.first.names else None
        return function(*args) if output is None else output


def _untouched(here: list[tuple[str, Tensor]], there: list[tuple[str, Tensor]]) -> dict[int, str]:
    """Numbers and weights of the operations whose input is the same at two points."""
    pairs = enumerate(zip(here, there, strict=False))
    return {i: a for i, ((a, x), (b, y)) in pairs if a == b and x.shape == y.shape and torch.equal(x, y)}


def _along(origin: Tensor, coefficients: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    """``origin + sum_k c_k slope_k`` over the coefficients that are given."""
    base = origin
    for c, slope in zip(coefficients, slopes, strict=False):
        base = torch.add(base, slope, alpha=c)
    return base
