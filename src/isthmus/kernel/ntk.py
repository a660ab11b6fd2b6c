"""The empirical tangent kernel."""

import time

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, ShapeError, VerificationError
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.kernel.methods import Auto, Method
from isthmus.kernel.outputs import Outputs, reduced
from isthmus.linops.random import rademacher
from isthmus.model.derivatives import output_vjp
from isthmus.model.network import Network
from isthmus.model.problem import Problem, provenance
from isthmus.results.kernel import Ntk
from isthmus.results.provenance import Cost

_AGREEMENT = {torch.float32: 2e-4, torch.float64: 1e-10}


def empirical_ntk(
    network: nn.Module | Network | Problem,
    inputs: Tensor,
    others: Tensor | None = None,
    *,
    outputs: Outputs = "full",
    method: Method = Auto(),  # noqa: B008
    verify: bool = True,
) -> Ntk:
    """The tangent kernel of a network at its present parameters, exactly.

    ``K[n, c, m, d] = sum_p df_c(x_n)/dw_p df_d(x'_m)/dw_p``, without any normalization. The other reductions over outputs
    are stored as ``(n, 1, m, 1)``; never mix them:

    * ``"trace"``: ``sum_c K[n, c, m, c]``, not divided by the number of outputs;
    * ``"sum"``: the kernel of the summed outputs, ``sum_{c,d} K[n, c, m, d]``, c times cheaper;
    * ``OutputIndex(k)``: of one output, ``K[n, k, m, k]``;
    * ``RandomOutputs(q, seed)``: an unbiased estimate of the trace from q random combinations of outputs.

    Args:
        network: module, network or problem; outputs must be per-example functions (eval mode for BatchNorm, dropout).
        inputs: x, ``(n, ...)``, in the network's dtype.
        others: x', ``(m, ...)``; the same as `inputs` when left out, and then only half of the work is done.
        outputs: ``"full"`` when outputs interact (cross-entropy dynamics, distances), ``"trace"`` for kernel regression
            shared over outputs, which needs ``c^2`` times less memory; see above for the others.
        method: `Auto` by default; `Structured`, `JacobianContraction` and `NtkVectorProducts` by name. ``method.plan(...)``
            tells the cost.
        verify: compare one quadratic form ``z^T K z'`` with ``(J^T z).(J'^T z')`` from reverse mode.

    Returns:
        The kernel in the network's dtype, and the rule that served each module.

    Raises:
        InputError: no inputs, or an unknown `outputs`.
        BatchCoupled: one example's output depends on the others.
        BudgetError: the kernel would not fit in memory.
        VerificationError: the self-check fails.

    References:
        Jacot, Gabriel, Hongler 2018; layer products as in Novak, Sohl-Dickstein, Schoenholz 2022.
    """
    started, network = time.perf_counter(), Network.of(network)
    _check(network, inputs, others)
    reduction = reduced(outputs, network, inputs)
    done = method.compute(reduction.network, inputs, others, reduction.kind)
    if verify:
        _verify(done.kernel, reduction.network, inputs, inputs if others is None else others, reduction.kind)
    return Ntk(
        kernel=done.kernel.cpu().numpy(),
        outputs=reduction.label,
        layers=done.layers,
        status=Status.ESTIMATED if reduction.error else Status.EXACT,
        method=done.plan.method,
        error=reduction.error,
        cost=Cost(seconds=time.perf_counter() - started, peak_bytes=int(done.plan.bytes)),
        provenance=provenance(network, reduction.seed, verified=verify),
    )


def _check(network: Network, inputs: Tensor, others: Tensor | None) -> None:
    for name, side in (("inputs", inputs), ("others", others)):
        if side is None:
            continue
        if not isinstance(side, Tensor) or side.ndim == 0 or len(side) == 0:
            raise InputError(f"{name} must be a tensor with at least one sample on its first axis.")
        if side.is_floating_point() and side.dtype != network.dtype:
            raise InputError(f"{name} are {side.dtype} and the network is {network.dtype}; convert one of them.")
        try:
            network.require_per_example(side)
        except RuntimeError as fault:
            raise ShapeError(
                f"The network does not accept {name} of shape {tuple(side.shape)}: {str(fault).splitlines()[0]}"
            ) from fault


def _verify(kernel: Tensor, network: Network, inputs: Tensor, others: Tensor, outputs: str) -> None:
    """``z^T K z' = (J^T z) . (J'^T z')`` for random signs; for the trace, summed over one-hot outputs."""
    c = network(inputs[:1]).shape[1]
    seed = Seed(0).child("ntk")
    if outputs == "full":
        z = rademacher((len(inputs), c), seed.child(0), network.dtype, network.device)
        w = z if others is inputs else rademacher((len(others), c), seed.child(1), network.dtype, network.device)
        pairs = [(z, w)]
        mine = float(torch.einsum("nc,ncmd,md->", z.double(), kernel.double(), w.double()))
    else:
        z = rademacher((len(inputs), 1), seed.child(0), network.dtype, network.device)
        w = z if others is inputs else rademacher((len(others), 1), seed.child(1), network.dtype, network.device)
        units = torch.eye(c, dtype=network.dtype, device=network.device)
        pairs = [(z * unit, w * unit) for unit in units]
        mine = float(z[:, 0].double() @ kernel[:, 0, :, 0].double() @ w[:, 0].double())
    exact, scale = 0.0, 0.0
    for left, right in pairs:
        one = output_vjp(network, inputs, left).double()
        other = one if others is inputs else output_vjp(network, others, right).double()
        exact += float(one @ other)
        scale += float(one.norm() * other.norm())
    if not abs(mine - exact) <= _AGREEMENT.get(network.dtype, 0.05) * max(scale, 1e-300):
        raise VerificationError(
            f"The kernel disagrees with reverse mode: z.Kz' = {mine:.8g}, (J^T z).(J'^T z') = {exact:.8g}. Try "
            "method=JacobianContraction(), and please report the module."
        )
