"""Reading a user's module as a chain of affine maps, gates and fixed maps; a named error where it is none."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.nn import functional

from isthmus._core.errors import UnsupportedLayer, VerificationError
from isthmus._core.numerics import tolerance
from isthmus.games.chain import Affine, Chain, Fixed, Gate, linear_map
from isthmus.model.network import Network

_FEW = 4
_SAME = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_RESHAPES = {"flatten", "view", "reshape", "contiguous", "squeeze", "unsqueeze", "size"}
_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_WHY = (
    "A path network is a chain of linear or convolutional maps, ReLU-like gates, pooling and reshaping: only there is every "
    "output a sum over paths of products of weights."
)


def as_chain(network: Network, inputs: Tensor) -> Chain:
    """The network in evaluation mode as a chain, in float64, checked to give the same outputs.

    Args:
        network: any network.
        inputs: some real inputs; the first few serve to find shapes and to check.

    Raises:
        UnsupportedLayer: it is no path network (attention, residual sums, smooth activations, multiplicative gates, embeddings).
        VerificationError: the chain computes something else.
    """
    if not inputs.is_floating_point():
        raise UnsupportedLayer(f"The inputs are {inputs.dtype}: looked-up embeddings carry no path flow. {_WHY}")
    network = network.eval().to(torch.float64)
    few = inputs[:_FEW].double()
    reader = _Reader(network, few)
    chain = Chain(reader.steps(), tuple(few.shape[1:]))
    expected, found = network(few), chain(few).detach()
    slack = tolerance(torch.float64, terms=int(1e6), depth=32) * max(float(expected.abs().max()), 1.0)
    if expected.shape != found.shape or float((expected - found).abs().max()) > slack:
        raise VerificationError(
            "The network read as a chain of paths gives other outputs than the network itself; please report the module."
        )
    return chain


class _Reader:
    """Walks the traced graph from the output back to the input."""

    def __init__(self, network: Network, few: Tensor) -> None:
        for sub in network.module.modules():
            sub.training = False
        try:
            graph = fx.Tracer().trace(network.module)
        except Exception as fault:
            reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
            raise UnsupportedLayer(f"{type(network.module).__name__} cannot be traced ({reason}). {_WHY}") from fault
        self.graph, self.few = graph, few
        self.modules = dict(network.module.named_modules())
        self.tensors = {**network.buffers, **network.parameters}
        aliases = {id(p): k for k, p in network.module.named_parameters()}
        for name, parameter in network.module.named_parameters(remove_duplicate=False):
            self.tensors.setdefault(name, self.tensors[aliases[id(parameter)]])

    def steps(self) -> list[nn.Module]:
        """The chain's steps: BatchNorm folded into the map before it, an open gate between maps that have none."""
        made: list[nn.Module] = []
        x = self.few
        for node in self._line():
            step = self._step(node, x, made)
            if isinstance(step, Affine) and _ends_open(made):
                made.append(Gate("open", x.shape[1:]))
            for one in self._with_window_sum(step, node):
                made.append(one)
                with torch.no_grad():
                    x = x * one.mask(x) if isinstance(one, Gate) else one(x)
        return made

    def _with_window_sum(self, step: nn.Module | None, node: fx.Node) -> list[nn.Module]:
        """A max-pooling gate passes one unit of each window; the sum over the window follows."""
        if isinstance(step, Gate) and step.kind == "max":
            return [step, self._window_sum(node)]
        return [] if step is None else [step]

    def _line(self) -> list[fx.Node]:
        node = next(n for n in self.graph.nodes if n.op == "output").all_input_nodes
        line: list[fx.Node] = []
        while True:
            if len(node) != 1:
                where = line[-1] if line else "the output"
                raise UnsupportedLayer(
                    f"{where} joins {len(node)} streams (a residual sum, attention, a product of units or several outputs); path "
                    f"games are built for one stream. {_WHY}"
                )
            if node[0].op == "placeholder":
                return line[::-1]
            line.append(node[0])
            node = [n for n in node[0].all_input_nodes if n.op != "get_attr" and not _is_shape(n)]

    def _step(self, node: fx.Node, x: Tensor, made: list[nn.Module]) -> nn.Module | None:
        if node.op == "call_module":
            return self._module_step(node, x, made)
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        if name in _RESHAPES:
            return self._reshaped(node, x, made)
        if name in ("relu", "relu_"):
            return Gate("relu", x.shape[1:])
        if name in ("mul", "truediv", "div"):
            return Fixed(_same, self._number(node, inverse=name != "mul"))
        if node.target is functional.linear:
            _require_vectors(node.name, x)
            return self._functional_linear(node)
        if name in ("dropout", "identity"):
            return None
        raise UnsupportedLayer(f"{node.name} ({name}) is no map of a path network. {_WHY}")

    def _module_step(self, node: fx.Node, x: Tensor, made: list[nn.Module]) -> nn.Module | None:
        layer, name = self.modules[str(node.target)], str(node.target)
        own = self._own(node)
        if isinstance(layer, _SAME):
            return None
        if type(layer) is nn.Linear:
            _require_vectors(name, x)
            return Affine(name, own["weight"], own.get("bias"), linear_map, 1)
        if type(layer) in (nn.Conv1d, nn.Conv2d):
            return Affine(name, own["weight"], own.get("bias"), _convolution(layer, name), int(layer.groups))  # pyright: ignore
        if isinstance(layer, nn.ReLU):
            return Gate("relu", x.shape[1:])
        if isinstance(layer, nn.LeakyReLU) and 0 <= layer.negative_slope <= 1:
            return Gate("leaky", x.shape[1:], slope=float(layer.negative_slope))
        if isinstance(layer, nn.Flatten) and layer.start_dim == 1 and layer.end_dim == -1:
            return Fixed(lambda t: t.flatten(1))
        if isinstance(layer, _POOLS):
            return Fixed(layer, entry=_average_entry(layer, x, name))
        if isinstance(layer, nn.MaxPool1d | nn.MaxPool2d):
            return Gate("max", x.shape[1:], pool=_indexed_pool(layer, name))
        if self._is_norm(node):
            _fold(layer, own, made, name)
            return None
        where = f"Layer {name!r}" if name else "The module"
        raise UnsupportedLayer(f"{where} ({type(layer).__name__}) is no map of a path network. {_WHY}")

    def _is_norm(self, node: fx.Node) -> bool:
        return node.op == "call_module" and isinstance(self.modules[str(node.target)], _NORMS)

    def _own(self, node: fx.Node) -> dict[str, Tensor]:
        start = f"{node.target}."
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}

    def _functional_linear(self, node: fx.Node) -> Affine:
        names = [n for n in node.all_input_nodes if n.op == "get_attr"]
        if not names:
            raise UnsupportedLayer(f"{node.name} multiplies by a weight that the network computes. {_WHY}")
        tensors = [self.tensors[str(n.target)] for n in names]
        return Affine(
            str(names[0].target).removesuffix(".weight"), tensors[0], tensors[1] if len(names) > 1 else None, linear_map, 1
        )

    def _number(self, node: fx.Node, *, inverse: bool) -> float:
        numbers = [a for a in node.args if isinstance(a, int | float)]
        if len(numbers) != 1 or (inverse and node.args[1] != numbers[0]):
            raise UnsupportedLayer(f"{node.name} multiplies by something that is no number. {_WHY}")
        return 1 / numbers[0] if inverse else float(numbers[0])

    def _reshaped(self, node: fx.Node, x: Tensor, made: list[nn.Module]) -> Fixed:
        """A reshaping; behind the first map it must keep channels apart, or units would have no name."""
        shape = self._shape_after(node, x)
        mixes = len(shape) != 1 and shape[0] != x.shape[1]
        if mixes and any(isinstance(step, Affine) for step in made):
            raise UnsupportedLayer(
                f"{node.name} spreads units {tuple(x.shape[1:])} over {shape}: a channel would be several units. {_WHY}"
            )
        return Fixed(lambda t: t.reshape(len(t), *shape))

    def _shape_after(self, node: fx.Node, x: Tensor) -> tuple[int, ...]:
        """What a reshaping leaves of one sample, found by evaluating it."""
        known: dict[Any, Any] = {}

        def value(a: Any) -> Any:
            if not isinstance(a, fx.Node):
                return a
            if a not in known:
                known[a] = x if not _is_shape(a) else _evaluated(a, value)
            return known[a]

        moved = _evaluated(node, value)
        if not isinstance(moved, Tensor) or len(moved) != len(x):
            raise UnsupportedLayer(f"{node.name} moves samples or drops the tensor. {_WHY}")
        return tuple(moved.shape[1:])

    def _window_sum(self, node: fx.Node) -> Fixed:
        layer: Any = self.modules[str(node.target)]
        pool = functional.avg_pool1d if isinstance(layer, nn.MaxPool1d) else functional.avg_pool2d
        size = _window(layer.kernel_size, 1 if isinstance(layer, nn.MaxPool1d) else 2)
        return Fixed(lambda t: pool(t, layer.kernel_size), float(size), 1 / size)


def _require_vectors(name: str, x: Tensor) -> None:
    if x.ndim != 2:
        raise UnsupportedLayer(
            f"{name} acts on each of several positions {tuple(x.shape[1:-1])} alike. Write it as a convolution with kernel size 1. {_WHY}"
        )


def _same(x: Tensor) -> Tensor:
    return x


def _is_shape(node: fx.Node) -> bool:
    """Whether a node is a size, or computed from sizes only."""
    if node.op == "call_method" and node.target == "size":
        return True
    if node.op == "call_function" and node.target is getattr and node.args[1] == "shape":
        return True
    return node.op == "call_function" and bool(node.all_input_nodes) and all(_is_shape(n) for n in node.all_input_nodes)


def _evaluated(node: fx.Node, value: Callable[[Any], Any]) -> Any:
    args = map_arg(node.args, value)
    kwargs = map_arg(node.kwargs, value)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    return node.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]


def _convolution(layer: Any, name: str) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    if layer.padding_mode != "zeros":
        raise UnsupportedLayer(f"{name} pads by {layer.padding_mode!r}; path games know zero padding. {_WHY}")
    convolve = functional.conv1d if isinstance(layer, nn.Conv1d) else functional.conv2d
    return lambda x, weight, bias: convolve(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def _window(size: Any, dims: int) -> int:
    return math.prod(size) if isinstance(size, tuple) else int(size) ** dims


def _average_entry(layer: Any, x: Tensor, name: str) -> float:
    """One over the window's size, which must be the same everywhere."""
    dims = 1 if isinstance(layer, nn.AvgPool1d | nn.AdaptiveAvgPool1d) else 2
    if isinstance(layer, nn.AvgPool1d | nn.AvgPool2d):
        if (
            layer.ceil_mode
            or getattr(layer, "divisor_override", None)
            or (_window(layer.padding, 1) and not layer.count_include_pad)
        ):
            raise UnsupportedLayer(f"{name} averages over windows of several sizes. {_WHY}")
        return 1 / _window(layer.kernel_size, dims)
    with torch.no_grad():
        after = layer(x).shape[2:]
    if any(a % b for a, b in zip(x.shape[2:], after, strict=True)):
        raise UnsupportedLayer(f"{name} averages {tuple(x.shape[2:])} into {tuple(after)}: windows of several sizes. {_WHY}")
    return math.prod(after) / math.prod(x.shape[2:])


def _indexed_pool(layer: Any, name: str) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    dims = 1 if isinstance(layer, nn.MaxPool1d) else 2
    sides = [side if isinstance(side, tuple) else (side,) * dims for side in (layer.kernel_size, layer.stride)]
    if sides[0] != sides[1] or layer.padding not in (0, (0,) * dims) or layer.dilation not in (1, (1,) * dims) or layer.ceil_mode:
        raise UnsupportedLayer(
            f"{name} pools over windows that overlap or reach over the edge; a unit's gate is defined for windows side by side. "
            f"Use stride equal to kernel_size and no padding. {_WHY}"
        )
    pool = functional.max_pool1d if isinstance(layer, nn.MaxPool1d) else functional.max_pool2d
    return lambda x: pool(x, layer.kernel_size, return_indices=True)


def _fold(layer: Any, own: dict[str, Tensor], made: list[nn.Module], name: str) -> None:
    """Merge an evaluation-mode BatchNorm into the affine map right before it."""
    if not made or not isinstance(made[-1], Affine) or "running_mean" not in own:
        raise UnsupportedLayer(
            f"{name} (BatchNorm) does not follow a linear or convolutional layer directly or keeps no running statistics, so it "
            f"cannot be folded into one. {_WHY}"
        )
    before: Affine = made[-1]
    gain = own.get("weight", torch.ones_like(own["running_mean"])) / torch.sqrt(own["running_var"] + layer.eps)
    bias = before.bias if before.bias is not None else torch.zeros_like(gain)
    shift = (bias - own["running_mean"]) * gain + own.get("bias", torch.zeros_like(gain))
    weight = before.weight * gain.reshape(-1, *[1] * (before.weight.ndim - 1))
    made[-1] = Affine(before.name, weight, shift, before.apply_map, before.groups)


def _ends_open(made: list[nn.Module]) -> bool:
    """Whether the last affine map has no gate after it yet."""
    for step in reversed(made):
        if isinstance(step, Gate):
            return False
        if isinstance(step, Affine):
            return True
    return False
