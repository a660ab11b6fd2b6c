"""A run is near a narrow critical point by what it computes, not by its loss or by where polishing ends."""

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import InputError
from isthmus.curvature import polish
from isthmus.embedding import Growth, grow, identify_plateau
from isthmus.embedding.condensation import condensed
from isthmus.model.data import Sgd
from isthmus.model.problem import Problem
from isthmus.training import train
from tests.embedding.fixtures import WIDTH_1, WIDTH_1_LOSS, flat, steps_problem
from tests.embedding.networks import problem as built


@pytest.fixture(scope="module")
def record() -> object:
    """Width 50, standard deviation 50^-1.5, gradient descent at .005: the plateau of width 1 begins before step 300."""
    start = steps_problem(50)
    draw = torch.randn(start.network.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    run = train(start.at(draw * 50**-1.5), Sgd(lr=0.005, momentum=0.0), steps=1000, batch=50, checkpoints=[300])
    return identify_plateau(run)


def test_plateau_of_width_1_is_named(record: object) -> None:
    late = record.step >= 300
    assert (record.joined[late, 0] == 1).all() and record.near[late].all()
    np.testing.assert_allclose(record.level[late], WIDTH_1_LOSS, rtol=1e-10)
    assert (record.gap[late] > 0).all() and (np.diff(record.distance[late]) < 0).all()
    assert record.nearest == len(record.step) - 1
    np.testing.assert_allclose(record.exit_steps[late], 20613.1, rtol=1e-4)
    assert record.reasons[0].startswith("near the critical point of width 0 (the zero function)")


def test_image_of_a_narrow_point_is_at_distance_zero() -> None:
    one = polish(steps_problem(1, flat(WIDTH_1))).problem
    image = grow(one, Growth("0", {0: (0.3, 0.5, 0.4, -0.2)})).problem
    found = identify_plateau(image)
    assert found.near.all() and found.distance[0] < 1e-12 and found.parameter_distance[0] < 1e-12
    assert tuple(found.inertia[0]) == (0, 0, 3) and np.isnan(found.exit_steps[0])


def test_a_point_that_only_polishes_there_is_not_near() -> None:
    """Polishing leads from here to the width-1 optimum, yet the outputs are far from it: none."""
    w, b, a = WIDTH_1[0]
    found = identify_plateau(steps_problem(2, flat([(2.2 * w, b + 0.3, 0.5 * a), (2.0 * w, b + 0.2, 0.4 * a)])))
    assert not found.near.any() and found.nearest == -1
    assert "none: the nearest found" in found.reasons[0] and "in outputs" in found.reasons[0]


def test_too_large_a_network_gets_an_honest_none() -> None:
    start, _ = built("dense, first layer")
    found = identify_plateau(start, largest=10)
    assert not found.near.any() and "still has" in found.reasons[0] and np.isnan(found.level).all()


def test_joining_is_exact_for_homogeneous_units_of_one_direction() -> None:
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 2.0], [2.0, 4.0], [0.5, 1.0], [-1.0, 1.0]]))
        net[0].bias.copy_(torch.tensor([0.5, 1.0, 0.25, 0.1]))
        net[2].weight.copy_(torch.tensor([[1.0, -0.4, 0.7, 1.0]]))
    wide = Problem(net, x, net(x).detach(), nn.MSELoss())
    found = condensed(wide)
    assert found.layers[0].count == 2
    torch.testing.assert_close(found.problem.network(x), wide.network(x))


def test_opposite_tanh_units_are_one_direction() -> None:
    w, b, a = WIDTH_1[0]
    wide = steps_problem(3, flat([(w, b, 0.2 * a), (-w, -b, -0.8 * a), (1e-5, 0.0, 1e-5)]))
    found = condensed(wide)
    assert found.layers[0].count == 1 and found.layers[0].group.tolist() == [0, 0, -1]
    torch.testing.assert_close(found.problem.network(wide.inputs), wide.network(wide.inputs), rtol=0, atol=1e-8)


def test_no_steps_is_an_error() -> None:
    with pytest.raises(InputError, match="list of steps is empty"):
        run = train(steps_problem(1), Sgd(lr=0.001), steps=1)
        identify_plateau(run, steps=[])
