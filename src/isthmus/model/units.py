"""Exchangeable hidden units of a traced module: which tensors a permutation of them moves.

Found here: units of a linear layer (module or `functional.linear`) that reach only other linear layers, through
functions that act on each unit alone. Layers that are used twice or share their tensors, residual sums, and norms that
mix units have no such units and are left out.
"""

import operator
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn import functional

from isthmus._core.errors import UnsupportedLayer
from isthmus.model.network import Network

_POINTWISE_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus,
    nn.Softsign, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid, nn.Tanhshrink, nn.Identity, nn.Dropout,
)  # fmt: skip
_POINTWISE_FUNCTIONS = {
    torch.relu, torch.tanh, torch.sigmoid, torch.erf, torch.sin, torch.cos, torch.exp, torch.abs, torch.square,
    functional.relu, functional.gelu, functional.silu, functional.tanh, functional.sigmoid, functional.leaky_relu,
    functional.elu, functional.selu, functional.softplus, functional.mish, functional.hardtanh, functional.dropout,
}  # fmt: skip
_POINTWISE_METHODS = {"relu", "tanh", "sigmoid", "erf", "sin", "cos", "abs", "square", "contiguous", "clone", "float", "double"}
_WITH_NUMBER = {operator.mul, operator.add, operator.sub, operator.truediv, operator.pow, torch.mul, torch.add}


@dataclass(frozen=True)
class UnitGroup:
    """Units of one layer that can be exchanged without changing the function.

    Attributes:
        name: of the layer that computes them.
        size: how many.
        incoming: tensors and axes that feed them: the layer's weight rows and its bias.
        outgoing: tensors and axes that read them: weight columns of the following layers.
    """

    name: str
    size: int
    incoming: tuple[tuple[str, int], ...]
    outgoing: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class _Linear:
    weight: str
    bias: str | None
    source: fx.Node


def exchangeable_units(source: nn.Module | Network) -> list[UnitGroup]:
    """The groups of exchangeable units of a module's linear layers, in order of execution.

    Args:
        source: module or network; traced symbolically in evaluation mode, on a private copy.

    Returns:
        The groups; empty when no layer has exchangeable units.

    Raises:
        UnsupportedLayer: the forward pass branches on its data, so it cannot be traced.
    """
    network = Network.of(source).eval()
    for sub in network.module.modules():
        sub.training = False
    try:
        graph = fx.Tracer().trace(network.module)
    except Exception as fault:
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise UnsupportedLayer(
            f"{type(network.module).__name__} cannot be traced ({reason}), so its exchangeable units are unknown. Write its "
            "forward pass without branches on tensor values."
        ) from fault
    modules = dict(network.module.named_modules())
    layers = {node: found for node in graph.nodes if (found := _linear(node, modules)) is not None}
    shared = _shared(network.module, layers.values())
    sizes = {k: v.shape for k, v in [*network.parameters.items(), *network.buffers.items()]}
    groups = []
    for node, layer in layers.items():
        readers = _readers(node, layers, modules)
        if readers is None or layer.weight in shared or any(layers[reader].weight in shared for reader in readers):
            continue
        bias = ((layer.bias, 0),) if layer.bias is not None else ()
        outgoing = tuple((layers[reader].weight, 1) for reader in readers)
        groups.append(
            UnitGroup(layer.weight.removesuffix(".weight"), sizes[layer.weight][0], ((layer.weight, 0), *bias), outgoing)
        )
    return groups


def _linear(node: fx.Node, modules: dict[str, nn.Module]) -> _Linear | None:
    if node.op == "call_module" and type(modules[str(node.target)]) is nn.Linear:
        layer = modules[str(node.target)]
        return _Linear(
            f"{node.target}.weight", f"{node.target}.bias" if layer.bias is not None else None, node.all_input_nodes[0]
        )
    if node.op == "call_function" and node.target is functional.linear:
        tensors = [*node.args, *(node.kwargs[k] for k in ("weight", "bias") if k in node.kwargs)]
        named = [a for a in tensors[1:] if isinstance(a, fx.Node)]
        if tensors and isinstance(tensors[0], fx.Node) and named and all(a.op == "get_attr" for a in named):
            return _Linear(str(named[0].target), str(named[1].target) if len(named) > 1 else None, tensors[0])
    return None


def _readers(node: fx.Node, layers: dict[fx.Node, _Linear], modules: dict[str, nn.Module]) -> list[fx.Node] | None:
    """The linear layers that read a node's units; None when something else reads them too."""
    found, stack = [], list(node.users)
    while stack:
        user = stack.pop()
        if user in layers:
            found.append(user)
        elif _pointwise(user, modules):
            stack.extend(user.users)
        else:
            return None
    return list(dict.fromkeys(found)) or None


def _pointwise(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if len(node.all_input_nodes) != 1:
        return False
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], _POINTWISE_MODULES)
    if node.op == "call_method":
        return node.target in _POINTWISE_METHODS
    if node.op != "call_function":
        return False
    numbers = all(isinstance(a, int | float) for a in node.args if not isinstance(a, fx.Node))
    return node.target in _POINTWISE_FUNCTIONS or (node.target in _WITH_NUMBER and numbers)


def _shared(module: nn.Module, layers: Iterable[_Linear]) -> set[str]:
    """Weights that two layers use, or that two names hold."""
    holders: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        holders.setdefault(id(parameter), []).append(name)
    uses: dict[str, int] = {}
    for layer in layers:
        uses[layer.weight] = uses.get(layer.weight, 0) + 1
    doubled = {name for names in holders.values() if len(names) > 1 for name in names}
    return doubled | {name for name, count in uses.items() if count > 1}
