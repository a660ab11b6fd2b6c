"""Model rank and the optimistic sample size: how few samples could determine the function that a network has."""

import time

import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.numerics import EPSILON
from isthmus._core.status import Status
from isthmus.curvature.spectrum import InertiaCount, count_inertia
from isthmus.embedding.shrink import shrink
from isthmus.engine.memory import require_memory
from isthmus.model.derivatives import jacobian
from isthmus.model.network import Network
from isthmus.model.problem import Problem, provenance
from isthmus.results.provenance import Cost
from isthmus.results.regimes import ModelRank


def model_rank(problem: Problem, *, inputs: Tensor | None = None, tolerance: float = 1e-6) -> ModelRank:
    """Rank of the network's derivatives as functions, and the sample size at which its function could just be recovered.

    ``R(w) = dim span {df/dw_i}`` is the rank of the Jacobian over enough inputs; the least rank of all parameters with the
    same function is the number of numbers that determine it locally, whatever the width: ``k (d + 1)`` for a two-layer
    network without biases whose function needs k units of d inputs. It is bounded from above by the rank after `shrink`.

    Args:
        problem: network and data; taken to float64.
        inputs: unlabeled inputs ``(n, ...)`` for the rank; those of the problem by default. With fewer outputs than
            parameters in all, the answer may be limited by them, and says so.
        tolerance: at which units are joined before the second rank.

    Returns:
        Both ranks; status UNRESOLVED where no gap separates zero from the rest.

    Raises:
        InputError: no inputs.
        BudgetError: the Jacobian does not fit in memory.

    References:
        Zhang et al. 2022 (optimistic estimate), 2023: rank bounds by embeddings; the estimate from `shrink` is made here.
    """
    started, problem = time.perf_counter(), problem.eval().to(torch.float64)
    inputs = problem.inputs if inputs is None else inputs.to(problem.inputs)
    if len(inputs) == 0:
        raise InputError("The rank is counted over inputs, and none were given.")
    small = shrink(problem, tolerance=tolerance)
    values, whole = _rank(problem.network, inputs)
    _, least = _rank(small.problem.network, inputs)
    rank, minimal = whole.inertia.positive, min(whole.inertia.positive, least.inertia.positive)
    resolved, limited = whole.resolved and least.resolved, rank >= len(inputs) * problem.outputs
    return ModelRank(
        values=values.cpu().numpy(),
        rank=rank,
        minimal=minimal,
        samples=-(-minimal // problem.outputs),
        cutoff=whole.cutoff,
        gap=whole.gap,
        resolved=resolved,
        limited=limited,
        widths=[f"{name}: {before} -> {after}" for name, (before, after) in small.widths.items()],
        parameters=problem.network.size,
        status=Status.EXACT if resolved and not limited else Status.UNRESOLVED,
        method=f"singular values of the Jacobian over {len(inputs)} inputs, float64; least rank after shrinking at {tolerance:g}",
        error="the least rank is an upper bound: another network of this function could have a smaller one",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem),
    )


def _rank(network: Network, inputs: Tensor) -> tuple[Tensor, InertiaCount]:
    """Singular values of the Jacobian, descending, and their count with a gap; singular values carry the square root's error."""
    rows = len(inputs) * network(inputs[:1]).shape[1]
    require_memory(
        24 * rows * network.size, what=f"The Jacobian of {rows} outputs by {network.size} parameters", instead="fewer inputs"
    )
    values = torch.linalg.svdvals(jacobian(network, inputs).reshape(rows, network.size))
    cutoff = max(rows, network.size) * EPSILON["float64"]
    return values, count_inertia(values.cpu().numpy(), cutoff=max(cutoff, 1e-12))
