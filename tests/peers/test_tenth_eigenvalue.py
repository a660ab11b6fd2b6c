"""The last of ten eigenvalues: 178 % off in nngeom 0.2.0, 62 % off at the defaults of hessian-eigenthings 1.0.0a5."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.seeds import Seed
from isthmus.curvature import hessian_eigenvalues
from isthmus.linops.eigen import top_eigenpairs
from isthmus.linops.operator import DenseOperator
from isthmus.model.problem import Problem
from tests.linops.spectra import symmetric
from tests.reference.curvature import dense_hessian


@cache
def classifier() -> tuple[Problem, np.ndarray]:
    """A small classifier and its dense Hessian's eigenvalues, largest first."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 10)).double()
    inputs, labels = torch.randn(60, 8, dtype=torch.float64), torch.randint(0, 10, (60,))
    exact = np.linalg.eigvalsh(dense_hessian(module, inputs, labels, nn.CrossEntropyLoss()).numpy())[::-1]
    return Problem(module, inputs, labels, nn.CrossEntropyLoss()), exact


@pytest.mark.parametrize("seed", range(4))
def test_at_the_defaults_all_ten_are_right_and_say_so(seed: int) -> None:
    problem, exact = classifier()
    found = hessian_eigenvalues(problem, 10, seed=seed)
    assert found.converged.all()
    np.testing.assert_allclose(found.values, exact[:10], rtol=5e-3)


@pytest.mark.parametrize("decay", [0.5, 1.0, 2.0])
def test_slow_and_fast_decay(decay: float) -> None:
    """Ten Lanczos steps, what the peer runs, see only the first few of these."""
    spectrum = np.arange(1, 401) ** -decay
    found = top_eigenpairs(DenseOperator(symmetric(spectrum)), 10, seed=Seed(0))
    assert found.converged.all()
    np.testing.assert_allclose(found.values, spectrum[:10], rtol=0, atol=1e-3)
    assert abs(found.values[9] / spectrum[9] - 1) < 0.02
