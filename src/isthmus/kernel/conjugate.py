"""The conjugate kernel: the Gram matrix of what enters the last layer."""

import time
from dataclasses import replace

import torch
from torch import Tensor, nn

from isthmus._core.errors import UnsupportedLayer
from isthmus._core.status import Status
from isthmus.model.capture import Capture, Part, capture, understand
from isthmus.model.network import Network
from isthmus.model.problem import Problem, provenance
from isthmus.model.uses import Product
from isthmus.results.kernel import Ntk
from isthmus.results.provenance import Cost


def conjugate_kernel(
    network: nn.Module | Network | Problem, inputs: Tensor, others: Tensor | None = None, *, layer: str | None = None
) -> Ntk:
    """``phi(x) . phi(x')`` for the features phi that enter the last layer, ``+ 1`` when that layer has a bias.

    It is the tangent kernel of one output when only the last layer is trained. Not divided by the number of features.

    Args:
        network: module, network or problem.
        inputs: x, ``(n, ...)``.
        others: x', ``(m, ...)``; the same as `inputs` when left out.
        layer: the layer whose input is meant, by module name; the last matrix product with a trainable weight when None.

    Returns:
        The kernel as ``(n, 1, m, 1)``, with ``outputs="conjugate"``.

    Raises:
        UnsupportedLayer: there is no such layer, or it is applied at several positions of a sample.
        BatchCoupled: one example's output depends on the others.

    References:
        Daniely 2017 (the name); Long 2021 (learned conjugate kernels).
    """
    started, network = time.perf_counter(), Network.of(network)
    network.require_per_example(inputs)
    width = network(inputs[:1]).shape[1]
    single = network.projected(torch.ones(1, width))
    known = understand(single, inputs)
    part, bias = _last(known, layer)
    name = part.region.name
    only = replace(known, layouts={i: known.layouts[i] for i in part.points}, served={name: list(part.points)})
    left = _features(capture(single, inputs, only))
    right = left if others is None else _features(capture(single, others, only))
    gram = left @ right.T + (1 if bias else 0)
    return Ntk(
        kernel=gram[:, None, :, None].cpu().numpy(),
        outputs="conjugate",
        layers={name.rpartition(".")[0] or name: "features"},
        status=Status.EXACT,
        method=f"inputs of {name}" + (", with the bias as one more feature" if bias else ""),
        error=None,
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(network),
    )


def _last(known: Capture, layer: str | None) -> tuple[Part, bool]:
    """The part of the layer asked for, and whether a bias goes with it."""
    products = [part for part in known.sample if isinstance(part.uses[0], Product)]
    named = [part for part in products if layer is None or part.region.name.rpartition(".")[0] == layer]
    if not named:
        there = sorted({part.region.name.rpartition(".")[0] for part in products})
        raise UnsupportedLayer(
            f"The conjugate kernel needs a layer that multiplies by a trainable matrix{'' if layer is None else f' named {layer!r}'}; "
            f"this network has {there or 'none'}. Pass layer= with one of these names."
        )
    part = max(named, key=lambda one: max(one.points))
    if sum(use.positions for use in part.uses) != 1:
        raise UnsupportedLayer(
            f"{part.region.name} is applied at several positions of each sample, so its input is not one vector of features. "
            "Pass layer= with the name of a layer after pooling."
        )
    return part, any(other.points == part.points and other is not part for other in known.sample)


def _features(parts: list[Part]) -> Tensor:
    use = next(part.uses[0] for part in parts if isinstance(part.uses[0], Product))
    assert isinstance(use, Product)  # chosen so above
    return use.inputs[:, 0]
