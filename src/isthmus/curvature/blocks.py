"""Curvature of each layer by itself: the diagonal blocks of the Hessian or the Gauss-Newton matrix."""

import time
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature.operators import CurvatureOperator, Matrix, curvature_operator
from isthmus.linops.eigen import top_eigenpairs
from isthmus.linops.operator import SymmetricOperator
from isthmus.linops.traces import hutchinson_trace
from isthmus.model.problem import Problem, provenance
from isthmus.results.curvature import BlockEigenvalues
from isthmus.results.provenance import Cost

Per = Literal["layer", "parameter"]


class BlockDiagonal(SymmetricOperator):
    """The matrix ``(p, p)`` with these symmetric blocks on its diagonal and zeros elsewhere.

    Attributes:
        blocks: operators by name.
        places: the indices of each block's rows in the flat vector.
    """

    def __init__(self, blocks: Mapping[str, SymmetricOperator], places: Mapping[str, Tensor]) -> None:
        first = next(iter(blocks.values()))
        super().__init__(sum(len(rows) for rows in places.values()), first.dtype, first.device)
        self.blocks, self.places = dict(blocks), dict(places)

    def _matmat(self, columns: Tensor) -> Tensor:
        product = torch.zeros_like(columns)
        for name, block in self.blocks.items():
            product[self.places[name]] = block @ columns[self.places[name]]
        return product


def curvature_blocks(problem: Problem, *, matrix: Matrix = "hessian", per: Per = "layer") -> BlockDiagonal:
    """The block-diagonal part of the Hessian or the Gauss-Newton matrix of the loss that was given.

    ``B_ll = d^2 L / dw_l^2``: the second derivative in the parameters of one layer (or one parameter tensor), all others
    fixed. Each block is a `CurvatureOperator` of its own, in ``.blocks``, whose products differentiate only with respect
    to the block's parameters; a tied parameter belongs to the layer that names it first.

    Args:
        problem: network (deterministic per example), data and loss.
        matrix: ``"hessian"`` or ``"ggn"``.
        per: one block for each layer (weight and bias together) or for each parameter tensor.

    Returns:
        The operator ``(p, p)``; a product costs about one product of the full matrix for each block, and one kept graph
        for each where they fit in memory.

    Raises:
        InputError: an unknown matrix or grouping.
    """
    groups, network = _groups(problem, per), problem.network
    marks = dict(
        zip(network.parameters, torch.arange(network.size).split([v.numel() for v in network.parameters.values()]), strict=True)
    )
    blocks: dict[str, CurvatureOperator] = {
        name: curvature_operator(problem.with_network(network.restricted(members)), matrix) for name, members in groups.items()
    }
    places = {name: torch.cat([marks[member] for member in members]) for name, members in groups.items()}
    return BlockDiagonal(blocks, places)


def block_eigenvalues(
    problem: Problem,
    k: int = 3,
    *,
    matrix: Matrix = "hessian",
    per: Per = "layer",
    rtol: float = 1e-3,
    probes: int = 8,
    seed: Seed | int = 0,
    verify: bool = True,
) -> BlockEigenvalues:
    """Top eigenvalues and trace of each layer's diagonal block of the Hessian or Gauss-Newton matrix.

    By Cauchy's interlacing, the largest eigenvalue of a block never exceeds that of the full matrix, and the smallest
    is never below it; the traces of the blocks add up to the full trace.

    Args:
        problem: network, data and loss.
        k: how many of each block; a smaller block gives all it has, then NaN.
        matrix: ``"hessian"`` or ``"ggn"``.
        per: ``"layer"`` or ``"parameter"``.
        rtol: bound on each value's error, relative to the block's largest magnitude.
        probes: random signs for each trace, whose standard error is given.
        seed: names the draws.
        verify: check symmetry and one finite difference of the gradient for each block first.

    Returns:
        Values, error bounds and converged flags for each block, traces with standard errors.

    Raises:
        InputError: k, rtol or probes out of range, an unknown matrix or grouping.
        VerificationError: a self-check fails.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    if k < 1:
        raise InputError(f"k = {k} eigenvalues of each block were asked; at least one is needed.")
    whole = curvature_blocks(problem, matrix=matrix, per=per)
    values, errors = np.full((2, len(whole.blocks), k), np.nan)
    converged, traces = np.ones((len(whole.blocks), k), dtype=bool), np.zeros((len(whole.blocks), 2))
    for row, (name, block) in enumerate(whole.blocks.items()):
        if verify and isinstance(block, CurvatureOperator):
            block.verify(seed)
        count = min(k, block.shape[0])
        found = top_eigenpairs(block, count, rtol=rtol, target="values", seed=seed.child("block", name))
        trace = hutchinson_trace(block, probes=probes, seed=seed.child("trace", name))
        values[row, :count], errors[row, :count], converged[row, :count] = found.values, found.errors, found.converged
        traces[row] = trace.value, trace.standard_error
    return BlockEigenvalues(
        values=values,
        errors=errors,
        converged=converged,
        trace=traces[:, 0],
        trace_error=traces[:, 1],
        size=np.array([block.shape[0] for block in whole.blocks.values()]),
        blocks=list(whole.blocks),
        matrix=matrix,
        rtol=rtol,
        status=Status.CONVERGED if converged.all() else Status.MAX_STEPS,
        method=f"thick-restart Lanczos and {probes} random signs on each {per}'s block of the {matrix} of {problem.loss.name}",
        error="bound min(r, r^2 / gap) on each value, standard error of each trace",
        cost=Cost(matvecs=sum(block.matvecs for block in whole.blocks.values()), seconds=time.perf_counter() - started),
        provenance=provenance(problem, seed, verified=verify),
    )


def _groups(problem: Problem, per: Per) -> dict[str, list[str]]:
    if per not in ("layer", "parameter"):
        raise InputError(f"per={per!r} is unknown; write 'layer' or 'parameter'.")
    groups: dict[str, list[str]] = {}
    for name in problem.network.parameters:
        layer = name.rpartition(".")[0] or name
        groups.setdefault(layer if per == "layer" else name, []).append(name)
    return groups
