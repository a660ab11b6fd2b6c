"""Taylor models of a network in its parameters, the only ones of the package.

``T_k(theta) = sum_{j<=k} 1/j! d^j/dh^j f(theta_0 + h (theta - theta_0)) |_{h=0}``: order 0 is the network at its anchor
``theta_0``, order 1 its linearization (whose tangent kernel is constant), order 2 adds the quadratic part. Truncated
polynomials in h go through the network's operations (`isthmus.model.jets`): 3 to 8 forward passes at order 3 for dense
and convolutional networks, 13 for a transformer. Where an operation cannot be followed, nested forward mode does the
whole (20 to 60); a layer without a forward rule goes by transposing the backward pass twice, at every order. Layer and
instance norm run by their composed formula.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, NotTwiceDifferentiable
from isthmus.engine.memory import chunks
from isthmus.model.composed import ComposedNorms
from isthmus.model.derivatives import default_chunk, exact_kernels
from isthmus.model.jets import Curve, Jet, NoJet
from isthmus.model.network import Network
from isthmus.model.problem import Problem

MAX_ORDER = 3
_UNFOLLOWED = (RuntimeError, TypeError, ValueError, AttributeError, IndexError)  # a fault of the network's own comes again below

Parameters = Mapping[str, Tensor]
_Function = Callable[[Any], tuple[Any, ...]]


class TaylorModel(nn.Module):
    """The order-k Taylor model of a network, as a module whose parameters are the displaced ones.

    Its trainable parameters have the names and shapes of the network's own and start at the anchor, so `train`,
    `Problem`, `empirical_ntk` and checkpoints of the network work on it; the anchor and everything else of the network
    (buffers, frozen parameters) are its buffers, in evaluation mode. At order 0 the gradient is zero.

    Attributes:
        order: 0 to 3.
        centered: whether the network's output at the anchor is subtracted.
    """

    def __init__(self, base: Network, order: int, centered: bool) -> None:
        super().__init__()
        self.order, self.centered = order, centered
        self._base = base
        self._anchor, self._held = nn.Module(), nn.Module()
        for name, value in base.parameters.items():
            _owner(self, name)._parameters[name.rpartition(".")[2]] = nn.Parameter(value.clone())
        for holder, tensors in ((self._anchor, base.parameters), (self._held, base.buffers)):
            for name, value in tensors.items():
                _owner(holder, name).register_buffer(name.rpartition(".")[2], value)

    @property
    def anchor(self) -> dict[str, Tensor]:
        """The expansion point by name."""
        return dict(self._anchor.named_buffers())

    def forward(self, inputs: Tensor) -> Tensor:
        """``T_k`` at the present parameters, in the network's own output shape; differentiable in them."""
        anchor, held = self.anchor, dict(self._held.named_buffers())
        displacement = {name: value - anchor[name] for name, value in self.named_parameters()}
        terms = _terms(self._base, anchor, held, inputs, displacement, self.order)
        total = torch.stack(terms).sum(0)
        if self.order == 0:
            total = total + 0.0 * sum(value.sum() for value in displacement.values())
        return total - terms[0].detach() if self.centered else total

    def extra_repr(self) -> str:
        """Order, centering and network."""
        return f"order={self.order}, centered={self.centered}, of={self._base.module!r}"


def _owner(root: nn.Module, name: str) -> nn.Module:
    """The submodule that holds the tensor of this dotted name, made where it is missing."""
    for part in name.split(".")[:-1]:
        root = cast(nn.Module, root._modules.setdefault(part, nn.Module()))
    return root


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
        A module that maps a batch as the network does. Cost of a call: a few forward passes of the network, see the module.

    Raises:
        InputError: the order is not 0, 1, 2 or 3.
        ShapeError: the anchor does not fit the network.
        NotTwiceDifferentiable: when called, a layer has no derivatives of this order.

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
            terms = torch.stack(_terms(quiet, quiet.parameters, quiet.buffers, inputs[part], dict(displacement), order))
            parts.append(terms.reshape(order + 1, terms.shape[1], -1))
    return torch.cat(parts, dim=1)


def _terms(
    base: Network, anchor: Parameters, held: Parameters, inputs: Tensor, displacement: dict[str, Tensor], order: int
) -> tuple[Tensor, ...]:
    """Values ``f^(j) / j!`` along the displacement, j = 0..order; differentiable in it."""
    record = torch.is_grad_enabled()

    def function(parameters: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return (base.forward(parameters, inputs, held),)

    with exact_kernels(base), ComposedNorms():
        try:
            with torch.enable_grad():
                terms = _carried(lambda curves: base.forward(curves, inputs, held), anchor, displacement, order)
            return terms if record else tuple(term.detach() for term in terms)
        except _UNFOLLOWED:
            pass
        try:
            with torch.set_grad_enabled(record):
                series = _series(function, displacement, order, _forward_mode)(dict(anchor))
        except RuntimeError:
            series = _transposed(function, anchor, displacement, order)
            series = series if record else tuple(value.detach() for value in series)
    return tuple(value / math.factorial(j) for j, value in enumerate(series))


def _transposed(function: _Function, anchor: Parameters, displacement: dict[str, Tensor], order: int) -> tuple[Tensor, ...]:
    """By transposing the backward pass; a layer whose backward pass has no derivative is named by torch's own words."""
    try:
        return _series(function, displacement, order, _transposed_twice)(dict(anchor))
    except RuntimeError as fault:
        function(dict(anchor))  # a fault of the forward pass itself speaks for itself
        raise NotTwiceDifferentiable(
            f"A Taylor model of order {order} needs derivatives that a layer of this network does not have: {fault}. Give that "
            "layer's autograd function a jvp, or a backward pass that can be differentiated, or take a lower order."
        ) from fault


def _carried(function: Callable[[Any], Tensor], anchor: Parameters, displacement: Parameters, order: int) -> tuple[Tensor, ...]:
    """The terms, by polynomials through the network's operations."""
    output = function({name: Jet((value, displacement[name]), order, _expand) for name, value in anchor.items()})
    if not isinstance(output, Jet):
        raise NoJet("the output is no polynomial")
    return (*output.terms, *(torch.zeros_like(output.terms[0]) for _ in range(order + 1 - len(output.terms))))


def _expand(curve: Curve, degree: int, at: Tensor) -> Sequence[tuple[Tensor, ...]]:
    """``(f, f', ..., f^(degree))`` of a function of one number, each a tuple of its outputs."""
    return _series(lambda h: (curve(h),), torch.ones_like(at), degree, _forward_mode)(at)


def _series(function: _Function, direction: Any, order: int, derive: Callable[..., Any]) -> _Function:
    """The function ``p -> (f, f', ..., f^(order))`` along the direction: each level differentiates the last entry below."""
    if order == 0:
        return function
    below = _series(function, direction, order - 1, derive)

    def climbed(parameters: Any) -> tuple[Any, ...]:
        values, moved = derive(below, parameters, direction)
        return (*values, moved[-1])

    return climbed


def _forward_mode(function: _Function, parameters: Any, direction: Any) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, while it loads its forward rules
        values, moved = torch.func.jvp(function, (parameters,), (direction,))  # pyright: ignore[reportAssignmentType]
        return values, moved


def _transposed_twice(function: _Function, parameters: dict[str, Tensor], direction: dict[str, Tensor]) -> tuple[Any, Any]:
    values, pull = torch.func.vjp(function, parameters)  # pyright: ignore[reportAssignmentType]
    _, push = torch.func.vjp(pull, tuple(torch.zeros_like(value) for value in values))  # pyright: ignore[reportAssignmentType]
    return values, push((direction,))[0]
