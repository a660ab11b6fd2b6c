"""Taylor models of a network in its parameters, the only ones of the package.

``T_k(theta) = sum_{j<=k} 1/j! d^j/dh^j f(theta_0 + h (theta - theta_0)) |_{h=0}``: order 0 is the network at its anchor
``theta_0``, order 1 its linearization (whose tangent kernel is constant), order 2 adds the quadratic part. Derivatives
go by nested forward mode, which costs about ``2^k`` forward passes; a layer without a forward rule (LSTM) by
transposing the backward pass twice, at every order. Layer and instance norm run by their composed formula.
"""

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus.engine.memory import chunks
from isthmus.model.composed import ComposedNorms
from isthmus.model.derivatives import default_chunk, exact_kernels
from isthmus.model.network import Network
from isthmus.model.problem import Problem

MAX_ORDER = 3

Parameters = Mapping[str, Tensor]
_Function = Callable[[dict[str, Tensor]], tuple[Tensor, ...]]


class TaylorModel(nn.Module):
    """The order-k Taylor model of a network, as a module whose parameters are the displaced ones.

    Its trainable parameters have the names and shapes of the network's own and start at the anchor, so `train`,
    `Problem`, `empirical_ntk` and checkpoints of the network work on it; everything else of the network (buffers,
    frozen parameters) stays as it is, in evaluation mode. At order 0 the gradient is zero.

    Attributes:
        order: 0 to 3.
        centered: whether the network's output at the anchor is subtracted.
    """

    def __init__(self, base: Network, order: int, centered: bool) -> None:
        super().__init__()
        self.order, self.centered = order, centered
        self._base = base
        for name, value in base.parameters.items():
            owner: nn.Module = self
            *path, leaf = name.split(".")
            for part in path:
                owner = cast(nn.Module, owner._modules.setdefault(part, nn.Module()))
            owner._parameters[leaf] = nn.Parameter(value.clone())

    @property
    def anchor(self) -> dict[str, Tensor]:
        """The expansion point by name."""
        return dict(self._base.parameters)

    def forward(self, inputs: Tensor) -> Tensor:
        """``T_k`` at the present parameters, in the network's own output shape; differentiable in them."""
        displacement = {name: value - self._base.parameters[name] for name, value in self.named_parameters()}
        terms = _terms(self._base, inputs, displacement, self.order)
        total = torch.stack(terms).sum(0)
        if self.order == 0:
            total = total + 0.0 * sum(value.sum() for value in displacement.values())
        return total - terms[0].detach() if self.centered else total

    def extra_repr(self) -> str:
        """Order, centering, anchor and network, so that different models have different architecture hashes."""
        return f"order={self.order}, centered={self.centered}, anchor={self._base.parameter_hash}, of={self._base.module!r}"

    def _apply(self, fn: Callable, recurse: bool = True) -> Self:
        """Move or convert the anchored network along with the parameters."""
        super()._apply(fn, recurse)
        old = self._base
        module = copy.deepcopy(old.module)._apply(fn)
        fresh = Network(module).eval().restricted(old.parameters)
        self._base = fresh.at({k: fn(v) for k, v in old.parameters.items()}, {k: fn(v) for k, v in old.buffers.items()})
        return self


def taylor_model(
    network: nn.Module | Network | Problem, order: int = 1, *, at: Parameters | Tensor | None = None, centered: bool = False
) -> TaylorModel:
    """The order-k Taylor model of a network in its parameters, ready to train.

    ``T_k(theta) = sum_{j<=k} 1/j! d^j/dh^j f(theta_0 + h (theta - theta_0)) |_{h=0}``. To evaluate it at the parameters of
    a trained network, write ``Network(taylor_model(net, 2)).at(trained.parameters)``. Parameters with
    ``requires_grad=False`` are not expanded in.

    Args:
        network: any module, `Network`, or the network of a `Problem`.
        order: 0 (the network at the anchor, constant) to 3; 1 is the tangent-kernel regime.
        at: the anchor ``theta_0``, a dict or flat vector; the network's own parameters by default. The model starts there.
        centered: subtract ``f(theta_0)``, so that the model starts at zero.

    Returns:
        A module that maps a batch as the network does. Cost of a call: about ``2^k`` forward passes of the network.

    Raises:
        InputError: the order is not 0, 1, 2 or 3.
        ShapeError: the anchor does not fit the network.

    References:
        Bai et al. 2020, "Taylorized training" (arXiv 2002.04010), for the family.
    """
    if order not in range(MAX_ORDER + 1) or isinstance(order, bool):
        raise InputError(f"The order of a Taylor model is 0, 1, 2 or 3, found {order!r}; 1 is the linearized network.")
    base = Network.of(network)
    base = (base if at is None else base.at(at)).eval()
    return TaylorModel(base, order, centered)


def taylor_terms(network: Network, inputs: Tensor, displacement: Parameters, order: int, *, chunk: int | None = None) -> Tensor:
    """The terms of the expansion along one displacement: ``term_j = 1/j! d^j/dh^j f(theta_0 + h d) |_{h=0}``.

    Since ``T_k(theta_0 + h d) = sum_j h^j term_j``, one call serves every step length.

    Args:
        network: the network; its parameters are the anchor. Evaluated in evaluation mode.
        inputs: ``(n, ...)``.
        displacement: d by name.
        order: the highest order k, 0 to 3.
        chunk: samples per pass; by default as many as fit.

    Returns:
        ``(k + 1, n, c)``, without gradient.
    """
    quiet, parts = network.eval(), []
    rows = chunk or max(1, default_chunk(quiet, inputs) >> order)
    with torch.no_grad():
        for part in chunks(len(inputs), rows):
            terms = torch.stack(_terms(quiet, inputs[part], dict(displacement), order))
            parts.append(terms.reshape(order + 1, terms.shape[1], -1))
    return torch.cat(parts, dim=1)


def _terms(base: Network, inputs: Tensor, displacement: dict[str, Tensor], order: int) -> tuple[Tensor, ...]:
    """Values ``f^(j) / j!`` along the displacement, j = 0..order; differentiable in it."""
    record, anchor = torch.is_grad_enabled(), dict(base.parameters)

    def function(parameters: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return (base.forward(parameters, inputs),)

    with exact_kernels(base), ComposedNorms():
        try:
            with torch.set_grad_enabled(record):
                series = _series(function, displacement, order, _forward_mode)(anchor)
        except RuntimeError:
            series = _series(function, displacement, order, _transposed_twice)(anchor)
            series = series if record else tuple(value.detach() for value in series)
    return tuple(value / math.factorial(j) for j, value in enumerate(series))


def _series(function: _Function, direction: dict[str, Tensor], order: int, derive: Callable[..., Any]) -> _Function:
    """The function ``p -> (f, f', ..., f^(order))`` along the direction: each level differentiates the last entry below."""
    if order == 0:
        return function
    below = _series(function, direction, order - 1, derive)

    def climbed(parameters: dict[str, Tensor]) -> tuple[Tensor, ...]:
        values, moved = derive(below, parameters, direction)
        return (*values, moved[-1])

    return climbed


def _forward_mode(function: _Function, parameters: dict[str, Tensor], direction: dict[str, Tensor]) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, while it loads its forward rules
        values, moved = torch.func.jvp(function, (parameters,), (direction,))  # pyright: ignore[reportAssignmentType]
        return values, moved


def _transposed_twice(function: _Function, parameters: dict[str, Tensor], direction: dict[str, Tensor]) -> tuple[Any, Any]:
    values, pull = torch.func.vjp(function, parameters)  # pyright: ignore[reportAssignmentType]
    _, push = torch.func.vjp(pull, tuple(torch.zeros_like(value) for value in values))  # pyright: ignore[reportAssignmentType]
    return values, push((direction,))[0]
