"""The tangent kernel known by its products alone."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus.kernel.outputs import Outputs, reduced
from isthmus.linops.operator import LinearOperator, SymmetricOperator
from isthmus.model.derivatives import output_jvp, output_vjp
from isthmus.model.network import Network
from isthmus.model.problem import Problem


def ntk_operator(
    network: nn.Module | Network | Problem, inputs: Tensor, others: Tensor | None = None, *, outputs: Outputs = "full"
) -> LinearOperator:
    """The kernel of `empirical_ntk` as an operator ``(n c, m c)``, or ``(n, m)`` for reductions over outputs.

    A product ``K u = J (J'^T u)`` costs one backward pass over `others` and one forward-mode pass over `inputs` (c of
    each for the trace); no kernel and no Jacobian is formed. ``.to_scipy()`` hands it to scipy's solvers;
    `kernel_ridge` and `estimate_kernel_distance` take it as it is.

    Args:
        network: module, network or problem; outputs must be per-example functions.
        inputs: x, ``(n, ...)``.
        others: x', ``(m, ...)``; the same as `inputs` when left out, and then the operator is symmetric.
        outputs: as in `empirical_ntk`.

    Raises:
        InputError: no inputs, or an unknown reduction.
        BatchCoupled: one example's output depends on the others.
    """
    whole = Network.of(network)
    if len(inputs) == 0 or (others is not None and len(others) == 0):
        raise InputError("A kernel needs at least one sample on each side.")
    whole.require_per_example(inputs)
    reduction = reduced(outputs, whole, inputs)
    products = _full if reduction.kind == "full" else _trace
    if others is None:
        return _SquareNtk(reduction.network, inputs, products)
    return _CrossNtk(reduction.network, inputs, others, products)


#: ``(network, left, right, columns) -> K columns``
Products = Callable[[Network, Tensor, Tensor, Tensor], Tensor]


class _SquareNtk(SymmetricOperator):
    """The kernel of some samples with themselves."""

    def __init__(self, network: Network, inputs: Tensor, products: Products) -> None:
        self._network, self._inputs, self._products = network, inputs, products
        super().__init__(_length(network, inputs, products), network.dtype, network.device)

    def _matmat(self, columns: Tensor) -> Tensor:
        return self._products(self._network, self._inputs, self._inputs, columns)


class _CrossNtk(LinearOperator):
    """The kernel between two sets of samples."""

    def __init__(self, network: Network, inputs: Tensor, others: Tensor, products: Products) -> None:
        self._network, self._left, self._right, self._products = network, inputs, others, products
        shape = _length(network, inputs, products), _length(network, others, products)
        super().__init__(shape, network.dtype, network.device)

    def _matmat(self, columns: Tensor) -> Tensor:
        return self._products(self._network, self._left, self._right, columns)

    def _rmatmat(self, columns: Tensor) -> Tensor:
        return self._products(self._network, self._right, self._left, columns)


def _length(network: Network, inputs: Tensor, products: Products) -> int:
    return len(inputs) * (network(inputs[:1]).shape[1] if products is _full else 1)


def _full(network: Network, left: Tensor, right: Tensor, columns: Tensor) -> Tensor:
    images = []
    for column in columns.unbind(1):
        gradient = output_vjp(network, right, column.reshape(len(right), -1))
        images.append(output_jvp(network, left, gradient).reshape(-1))
    return torch.stack(images, dim=1)


def _trace(network: Network, left: Tensor, right: Tensor, columns: Tensor) -> Tensor:
    units = torch.eye(network(left[:1]).shape[1], dtype=network.dtype, device=network.device)
    images = torch.zeros(len(left), columns.shape[1], dtype=network.dtype, device=network.device)
    for k, column in enumerate(columns.unbind(1)):
        for index, unit in enumerate(units):
            gradient = output_vjp(network, right, column[:, None] * unit)
            images[:, k] += output_jvp(network, left, gradient)[:, index]
    return images
