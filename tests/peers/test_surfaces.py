"""Wrong loss surfaces of other tools, each on a network like the one it fails on.

loss-landscapes 3.0.6: `distance` acts inversely, the default call leaves the model displaced, parameters of zero norm raise
ZeroDivisionError. pylandscape 0.1.3: the surface is constant. landscaper 1.3.1: the largest loss gets noise added, NaN becomes
the mean.
"""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import isthmus
from isthmus._core.status import Status
from isthmus.model.problem import Problem
from tests.peers.test_the_users_model import normalized, problem_of
from tests.reference import surfaces as reference


@pytest.mark.parametrize("normalize", ["filter", "layer"])
def test_parameters_of_zero_norm_are_not_divided_by(normalize: str) -> None:
    """Biases of BatchNorm and LayerNorm are zero at the start."""
    module = normalized()
    problem = problem_of(module)
    directions = isthmus.random_directions(problem, normalize=normalize)
    assert torch.isfinite(directions.vectors).all()
    for vector in directions.vectors:
        parts = problem.network.layout.unflatten(vector)
        assert not parts["1.bias"].any()
        assert not parts["3.bias"].any()
        assert parts["0.weight"].norm() > 0
    record = isthmus.loss_plane(problem, directions, points=3)
    assert np.isfinite(record.loss).all()


@pytest.mark.parametrize("span", [0.25, 0.5, 1.0, 2.0])
def test_a_larger_distance_goes_farther(span: float) -> None:
    problem = problem_of(normalized())
    directions = isthmus.random_directions(problem)
    record = isthmus.loss_plane(problem, directions, points=3, span=span)
    corner = record.x[-1] * directions.vectors[0] + record.y[-1] * directions.vectors[1]
    assert record.x[-1] * record.lengths[0] == pytest.approx(span * float(directions.vectors[0].norm()))
    gram = record.lengths[0] ** 2 + record.lengths[1] ** 2 + 2 * record.cosine * record.lengths[0] * record.lengths[1]
    assert float(corner.norm()) == pytest.approx(span * gram**0.5, rel=1e-10)


def test_the_surface_is_not_constant_and_is_that_of_the_directions() -> None:
    module = normalized()
    problem = problem_of(module)
    directions = isthmus.random_directions(problem)
    record = isthmus.loss_plane(problem, directions, points=5, bn="keep")
    grid = np.stack(np.meshgrid(record.x, record.y, indexing="ij"), -1).reshape(-1, 2)
    exact, _ = reference.surface(module, problem.inputs, problem.targets, nn.CrossEntropyLoss(), directions.vectors, grid)
    np.testing.assert_allclose(record.loss.reshape(-1), exact, rtol=1e-12)
    assert len(np.unique(record.loss)) == record.loss.size


class Fragile(nn.Module):
    """``f(x) = sqrt(w_0) + w_1 x``: no number for negative w_0."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.3, 1.0], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(self.w[0]) + self.w[1] * x


def test_the_largest_loss_is_exact_and_nan_stays_nan() -> None:
    x = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]
    problem = Problem(Fragile(), x, 0 * x, nn.MSELoss())
    record = isthmus.loss_plane(problem, torch.eye(2, dtype=torch.float64), points=9)
    w0, w1 = 0.3 + record.x[:, None], 1 + record.y[None]
    with np.errstate(invalid="ignore"):
        exact = (np.sqrt(w0) + w1 * x.numpy().reshape(-1, 1, 1)) ** 2
    np.testing.assert_allclose(record.loss, exact.mean(axis=0), rtol=1e-12, equal_nan=True)
    assert np.nanmax(record.loss) == pytest.approx(np.nanmax(exact.mean(axis=0)), rel=1e-14)
    assert record.not_finite == np.isnan(record.loss).sum() == 27
    assert record.status is Status.NOT_FINITE
    again = isthmus.loss_plane(problem, torch.eye(2, dtype=torch.float64), points=9)
    assert again.same_numbers(record)


def test_the_default_call_leaves_the_model_where_it_is() -> None:
    module = normalized()
    state = copy.deepcopy(module.state_dict())
    problem = problem_of(module)
    isthmus.loss_plane(problem, isthmus.random_directions(problem), points=5)
    isthmus.adaptive_loss_plane(problem, isthmus.random_directions(problem), samples=30, start=3)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
