"""Lifting into a deeper network: outputs on the training data and criticality stay; pruning undoes it."""

import pytest
import torch
from torch import nn

from isthmus._core.errors import InputError, UnsupportedLayer
from isthmus.embedding import lift_depth, plant, prune_layer
from isthmus.model.derivatives import loss_gradient
from isthmus.model.problem import Problem
from isthmus.model.zoo import mlp
from tests.embedding.networks import KINDS
from tests.embedding.networks import problem as built


def _critical(seed: int = 0) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    x, far = (torch.randn(12, 2, generator=generator, dtype=torch.float64) * s for s in (1.0, 30.0))
    net = mlp([2, 2, 1], "relu", seed=2).double()
    point = plant(Problem(net, x, torch.zeros(12, 1).double(), nn.MSELoss()), size=0.2)
    return Problem(point.network, x, point.targets, nn.MSELoss(), test=(far, torch.zeros(12, 1).double()))


@pytest.mark.parametrize("mixing", ["identity", "random"])
def test_lift_keeps_training_outputs_and_criticality(mixing: str) -> None:
    point = _critical()
    lifted = lift_depth(point, "0", mixing=mixing)
    assert lifted.difference < 1e-13 and bool((lifted.margin > 0).all())
    assert float(loss_gradient(lifted.problem).norm()) < 1e-12
    assert len(list(lifted.problem.network.module)) == 5


def test_random_mixing_depends_on_the_data_and_identity_does_not() -> None:
    point = _critical()
    assert lift_depth(point, "0").off_sample < 1e-12
    assert lift_depth(point, "0", mixing="random").off_sample > 1e-3


@pytest.mark.parametrize("mixing", ["identity", "random"])
def test_pruning_undoes_lifting(mixing: str) -> None:
    point = _critical()
    back = prune_layer(lift_depth(point, "0", mixing=mixing).problem, "2")
    assert back.difference < 1e-12
    for name, value in point.network.parameters.items():
        torch.testing.assert_close(back.problem.network.parameters[name], value, rtol=0, atol=1e-12)


def test_refusals() -> None:
    point = _critical()
    with pytest.raises(UnsupportedLayer, match="below their kink"):
        prune_layer(point, "0")
    with pytest.raises(UnsupportedLayer, match="no hidden Linear"):
        lift_depth(point, "2")
    with pytest.raises(UnsupportedLayer, match="Sequential of Linear layers and ReLUs"):
        lift_depth(built(next(iter(KINDS)))[0], "0")
    with pytest.raises(InputError, match="positive margin"):
        lift_depth(point, "0", margin=0.0)
