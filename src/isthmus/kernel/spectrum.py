"""Extreme eigenvalues of the tangent kernel without the kernel."""

import time

from torch import Tensor, nn

from isthmus._core.seeds import Seed, as_seed
from isthmus.kernel.operator import ntk_operator
from isthmus.kernel.outputs import Outputs
from isthmus.linops.eigen import Which, top_eigenpairs
from isthmus.linops.operator import SymmetricOperator
from isthmus.model.network import Network
from isthmus.model.problem import Problem, provenance
from isthmus.results.kernel import NtkEigenvalues
from isthmus.results.provenance import Cost


def ntk_eigenvalues(
    network: nn.Module | Network | Problem,
    inputs: Tensor,
    k: int = 5,
    *,
    outputs: Outputs = "full",
    rtol: float = 1e-3,
    which: Which = "LA",
    max_steps: int | None = None,
    seed: Seed | int = 0,
) -> NtkEigenvalues:
    """The k extreme eigenvalues of the tangent kernel, matrix-free, with a residual bound for each.

    Args:
        network: module, network or problem; outputs must be per-example functions.
        inputs: ``(n, ...)``.
        k: how many.
        outputs: as in `empirical_ntk`.
        rtol: residual tolerance, relative to the largest magnitude found.
        which: largest (LA) or smallest (SA); LM equals LA, the kernel being positive semidefinite.
        max_steps: products allowed; by default ``20 k + 300``.
        seed: names the start vectors.

    Returns:
        Values, residuals and a converged flag for each; status MAX_STEPS when any did not converge.

    Raises:
        InputError: k or rtol out of range.
        BatchCoupled: one example's output depends on the others.
    """
    started, seed, whole = time.perf_counter(), as_seed(seed), Network.of(network)
    operator = ntk_operator(whole, inputs, outputs=outputs)
    assert isinstance(operator, SymmetricOperator)  # one set of samples
    found = top_eigenpairs(operator, k, rtol=rtol, max_steps=max_steps, seed=seed.child("ntk"), which=which)
    return NtkEigenvalues(
        values=found.values,
        residuals=found.residuals,
        converged=found.converged,
        rtol=rtol,
        size=operator.shape[0],
        status=found.status,
        method=f"thick-restart Lanczos ({which}) on products with the tangent kernel of {len(inputs)} samples",
        error="residual |K v - lambda v| of each pair",
        cost=Cost(matvecs=found.matvecs, seconds=time.perf_counter() - started),
        provenance=provenance(whole, seed),
    )
