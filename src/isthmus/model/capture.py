"""What a Linear layer's share of a Jacobian is made of: its inputs, and the outputs' derivatives at its output.

For a Linear layer called once or more, ``df_c(x_n)/dW = sum_u delta[c, n, u, :] a[n, u, :]^T`` where u runs over all
positions of all calls. A layer whose product does not reproduce autograd's own gradient (its weight is used elsewhere,
or the layer is bypassed) is not captured.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isthmus._core.numerics import tolerance
from isthmus._core.seeds import Seed
from isthmus.linops.random import rademacher
from isthmus.model.derivatives import exact_kernels, output_vjp
from isthmus.model.network import Network

_FEW = 4


@dataclass(frozen=True)
class LinearFactor:
    """One Linear layer's inputs and output derivatives.

    Attributes:
        name: of the module.
        inputs: a, ``(n, u, in)``.
        deltas: ``df_c / d(layer output)``, ``(n, c, u, out)``.
        bias: whether the layer has a trainable bias.
        weight: whether its weight is trainable.
    """

    name: str
    inputs: Float[Tensor, "n u i"]
    deltas: Float[Tensor, "n c u o"]
    bias: bool
    weight: bool


def linear_factors(network: Network, inputs: Tensor, names: Mapping[str, nn.Linear]) -> list[LinearFactor]:
    """Capture the named Linear layers on these inputs.

    Args:
        network: per-example network.
        inputs: ``(n, ...)``.
        names: module name to layer, as `capturable` gives them.

    Returns:
        One factor per layer. Cost: one forward pass and c backward passes that stop at the layers' outputs.
    """
    if not names:
        return []
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in names}
    with exact_kernels(network), _recording(names, calls):
        outputs = network.apply(network.parameters, inputs)
        watched = [z for name in names for _, z in calls[name]]
        gradients = [_gradients(column, watched) for column in outputs.unbind(1)]
    factors, position = [], 0
    for name in names:
        count = len(calls[name])
        if count == 0:
            continue
        a = torch.cat([_positions(x, len(inputs)) for x, _ in calls[name]], dim=1)
        mine = [torch.cat([_positions(g, len(inputs)) for g in row[position : position + count]], dim=1) for row in gradients]
        position += count
        free = network.parameters
        factors.append(LinearFactor(name, a, torch.stack(mine, dim=1), f"{name}.bias" in free, f"{name}.weight" in free))
    return factors


def capturable(network: Network, inputs: Tensor) -> dict[str, nn.Linear]:
    """The Linear layers whose captured factors reproduce autograd's gradient exactly, by name.

    Checked on a few samples with random cotangents, so that no use of a weight goes unnoticed.
    """
    owners: dict[int, int] = {}
    for _, parameter in network.module.named_parameters(remove_duplicate=False):
        owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    found = {
        name: layer
        for name, layer in network.module.named_modules()
        if type(layer) is nn.Linear
        and f"{name}.weight" in {**network.parameters, **network.buffers}
        and all(owners[id(p)] == 1 for p in layer.parameters())
    }
    if not found:
        return {}
    few = inputs[:_FEW]
    cotangents = rademacher(network(few).shape, Seed(0).child("capture"), network.dtype, network.device)
    truth = network.layout.unflatten(output_vjp(network, few, cotangents))
    factors = {factor.name: factor for factor in linear_factors(network, few, found)}
    return {name: layer for name, layer in found.items() if name in factors and _reproduces(factors[name], cotangents, truth)}


def _reproduces(factor: LinearFactor, cotangents: Tensor, truth: Mapping[str, Tensor]) -> bool:
    pulled = torch.einsum("nc,ncuo->nuo", cotangents, factor.deltas)
    mine = {"weight": torch.einsum("nuo,nui->oi", pulled, factor.inputs), "bias": pulled.sum((0, 1))}
    slack = tolerance(pulled.dtype, terms=factor.inputs.shape[-1] * factor.inputs.shape[1], depth=16)
    for kind, value in mine.items():
        exact = truth.get(f"{factor.name}.{kind}")
        if exact is not None and (value - exact).norm() > slack * max(float(exact.norm()), float(value.norm()), 1e-30):
            return False
    return factor.weight or factor.bias


@contextmanager
def _recording(names: Mapping[str, nn.Linear], calls: dict[str, list[tuple[Tensor, Tensor]]]) -> Iterator[None]:
    """Note each call's input and output; the output becomes a point at which to differentiate."""

    def hook(name: str) -> object:
        def note(_: nn.Module, arguments: tuple, output: Tensor) -> Tensor:
            point = output if output.requires_grad else output.detach().requires_grad_()
            calls[name].append((arguments[0].detach(), point))
            return point.clone()

        return note

    handles = [layer.register_forward_hook(hook(name)) for name, layer in names.items()]  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _gradients(column: Tensor, watched: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(column.sum(), watched, retain_graph=True, allow_unused=True, materialize_grads=True)


def _positions(tensor: Tensor, samples: int) -> Tensor:
    """``(n, ..., features)`` as ``(n, u, features)``."""
    return tensor.reshape(samples, -1, tensor.shape[-1])
