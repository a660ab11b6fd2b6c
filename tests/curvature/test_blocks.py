"""Blocks of each layer against the dense Hessian and Gauss-Newton matrix."""

import numpy as np
import pytest
import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.status import Status
from isthmus.curvature import block_eigenvalues, curvature_blocks, spectral_density
from isthmus.linops.operator import LinearOperator
from isthmus.model.problem import Problem
from tests.conformance.operators import OperatorSuite
from tests.curvature.test_operators import ggn_of, hessian_of, problem_of


def rows_by(problem: Problem, per: str) -> dict[str, Tensor]:
    """Rows of each block, counted here by hand."""
    rows, at = {}, 0
    for name, value in problem.network.parameters.items():
        key = name if per == "parameter" else ".".join(name.split(".")[:-1])
        rows[key] = torch.cat([rows.get(key, torch.empty(0, dtype=torch.long)), torch.arange(at, at + value.numel())])
        at += value.numel()
    return rows


def diagonal_of(dense: Tensor, rows: dict[str, Tensor]) -> Tensor:
    kept = torch.zeros_like(dense)
    for chosen in rows.values():
        kept[chosen[:, None], chosen] = dense[chosen[:, None], chosen]
    return kept


class TestHessianBlocks(OperatorSuite):
    slack = 1e6  # finite differences of the gradient are good to seven digits

    def operator(self) -> LinearOperator:
        return curvature_blocks(problem_of("residual with layer norm"))

    def dense(self) -> Tensor:
        problem = problem_of("residual with layer norm")
        return diagonal_of(hessian_of("residual with layer norm"), rows_by(problem, "layer"))


class TestGgnBlocksOfParameters(OperatorSuite):
    def operator(self) -> LinearOperator:
        return curvature_blocks(problem_of("mlp"), matrix="ggn", per="parameter")

    def dense(self) -> Tensor:
        return diagonal_of(ggn_of("mlp"), rows_by(problem_of("mlp"), "parameter"))


@pytest.mark.parametrize(
    "name", ["mlp", "cnn with batch norm", "transformer encoder", "embedding tied to output", "linear called twice"]
)
def test_spectra_of_blocks_are_numpy_s(name: str) -> None:
    problem, dense = problem_of(name), hessian_of(name).numpy()
    found, rows = block_eigenvalues(problem, 3, rtol=1e-8, probes=40), rows_by(problem, "layer")
    assert found.blocks == list(rows)
    assert found.status is Status.CONVERGED
    for index, chosen in enumerate(rows.values()):
        exact = np.linalg.eigvalsh(dense[np.ix_(chosen, chosen)])[::-1]
        count = min(3, len(exact))
        np.testing.assert_allclose(found.values[index, :count], exact[:count], atol=2e-6 * max(np.abs(exact).max(), 1e-3))
        assert np.isnan(found.values[index, count:]).all()
        assert found.size[index] == len(chosen)
        assert abs(found.trace[index] - exact.sum()) <= 4.5 * found.trace_error[index] + 1e-6
    whole = np.linalg.eigvalsh(dense)
    assert np.nanmax(found.values) <= whole[-1] + 1e-6, "interlacing"
    assert abs(found.trace.sum() - whole.sum()) <= 4.5 * np.linalg.norm(found.trace_error) + 1e-6


def test_a_block_is_an_operator_of_its_own() -> None:
    blocks = curvature_blocks(problem_of("mlp")).blocks
    name, block = next(iter(blocks.items()))
    rows = rows_by(problem_of("mlp"), "layer")[name]
    exact = hessian_of("mlp")[rows[:, None], rows]
    torch.testing.assert_close(block @ torch.eye(len(rows), dtype=torch.float64), exact, rtol=0, atol=1e-7)
    density = spectral_density(block.problem, steps=8, probes=3, seed=1)
    assert density.parameters == len(rows)


def test_what_cannot_be_asked_is_refused() -> None:
    for bad in ({"per": "neuron"}, {"matrix": "fisher"}, {"k": 0}, {"probes": 1}):
        with pytest.raises(InputError):
            block_eigenvalues(problem_of("mlp"), **bad)
