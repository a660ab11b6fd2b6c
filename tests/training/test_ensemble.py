"""Members of an ensemble against torch's own optimizer, one at a time."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import InputError, ShapeError
from isthmus._core.seeds import Seed
from isthmus.model.losses import understand
from isthmus.model.network import Network
from isthmus.model.taylor import taylor_model
from isthmus.model.zoo import relu_net
from isthmus.training.ensemble import Ensemble, Schedule, train_ensemble

LOSS = understand(nn.MSELoss())


def data(count: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, generator=g, dtype=torch.float64)
    return x, x[:, :1].sin()


def one_by_one(
    module: nn.Module, x: torch.Tensor, y: torch.Tensor, rate: float, decay: float, schedule: Schedule, seed: Seed
) -> torch.Tensor:
    """The same training by torch.optim.SGD on a single module."""
    net = copy.deepcopy(module)
    optimizer = torch.optim.SGD(
        [p for p in net.parameters() if p.requires_grad], lr=rate, momentum=schedule.momentum, weight_decay=decay
    )
    for epoch in range(schedule.epochs):
        for group in optimizer.param_groups:
            group["lr"] = rate * (0.1 if epoch >= schedule.epochs / 2 else 1.0)
        order = torch.from_numpy(seed.child("order", epoch).numpy().permutation(len(x)))
        for rows in order.split(schedule.batch):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return torch.cat([p.detach().reshape(-1) for p in net.parameters() if p.requires_grad])


@pytest.mark.parametrize("depth", [2, 3])
def test_every_member_is_a_run_of_torchs_sgd(depth: int) -> None:
    module, (x, y) = relu_net(3, 7, 1, depth, trains="all").double(), data()
    schedule, seed = Schedule(epochs=5, batch=8), Seed(3)
    rates, decays = np.array([0.01, 0.05, 0.02]), np.array([0.0, 1e-2, 1e-1])
    members = train_ensemble(Network(module), LOSS, x, y, rates, decays, schedule=schedule, seed=seed)
    for index in range(3):
        expected = one_by_one(module, x, y, float(rates[index]), float(decays[index]), schedule, seed)
        torch.testing.assert_close(members.points[index], expected, rtol=1e-10, atol=1e-12)
    assert members.outputs(x).shape == (3, 30, 1)
    alone = Network(module).at(members.points[1])(x)
    torch.testing.assert_close(members.outputs(x)[1], alone, rtol=1e-12, atol=1e-12)


def test_own_data_own_starts_and_own_frozen_layers() -> None:
    x, y = data(40)
    modules = [relu_net(3, 5, seed=s).double() for s in (0, 1)]
    networks = [Network(module) for module in modules]
    starts = torch.stack([network.flat for network in networks])
    frozen = {name: torch.stack([network.buffers[name] for network in networks]) for name in networks[0].buffers}
    halves = (torch.stack([x[:20], x[20:]]), torch.stack([y[:20], y[20:]]))
    schedule, seed = Schedule(epochs=3, batch=6), Seed(1)
    members = train_ensemble(
        networks[0],
        LOSS,
        *halves,
        np.array([0.05, 0.05]),
        starts=starts,
        buffers=frozen,
        own_data=True,
        schedule=schedule,
        seed=seed,
    )
    for index, module in enumerate(modules):
        expected = one_by_one(module, halves[0][index], halves[1][index], 0.05, 0.0, schedule, seed)
        torch.testing.assert_close(members.points[index], expected, rtol=1e-10, atol=1e-12)
        alone = networks[index].at(expected)(halves[0][index])
        torch.testing.assert_close(members.outputs(halves[0], own_data=True)[index], alone, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(members.member(index)(halves[0][index]), alone, rtol=1e-10, atol=1e-12)
    twice = Ensemble.joined([members, members])
    torch.testing.assert_close(twice.member(3)(x), members.member(1)(x))


def test_taylor_members_have_their_own_anchors() -> None:
    x, y = data(20)
    networks = [Network(taylor_model(relu_net(3, 5, 1, 3, seed=s).double(), 2)) for s in (0, 1)]
    starts = torch.stack([network.flat for network in networks])
    own = {name: torch.stack([network.buffers[name] for network in networks]) for name in networks[0].buffers}
    schedule, seed = Schedule(epochs=4, batch=8), Seed(2)
    together = train_ensemble(networks[0], LOSS, x, y, np.full(2, 0.05), starts=starts, buffers=own, schedule=schedule, seed=seed)
    for index, network in enumerate(networks):
        alone = train_ensemble(network, LOSS, x, y, np.array([0.05]), schedule=schedule, seed=seed)
        torch.testing.assert_close(together.points[index], alone.points[0], rtol=1e-10, atol=1e-12)


def test_decay_of_a_taylor_model_pulls_to_its_start() -> None:
    x, y = data()
    network = Network(taylor_model(relu_net(3, 6, 1, 3).double(), 2))
    still = torch.zeros_like(y) + network(x)
    members = train_ensemble(
        network,
        LOSS,
        x,
        still,
        np.array([0.01]),
        0.5,
        pull=network.flat,
        starts=network.flat[None] + 0.01,
        schedule=Schedule(epochs=60),
    )
    assert (members.points[0] - network.flat).norm() < 0.2 * 0.01 * network.size**0.5


def test_a_diverging_member_leaves_the_others_alone() -> None:
    network, (x, y) = Network(taylor_model(relu_net(3, 7, 1, 3).double(), 2)), data()
    both = train_ensemble(network, LOSS, x, y, np.array([1e-3, 1e3]), schedule=Schedule(epochs=20))
    alone = train_ensemble(network, LOSS, x, y, np.array([1e-3]), schedule=Schedule(epochs=20))
    assert both.finite.tolist() == [True, False]
    torch.testing.assert_close(both.points[0], alone.points[0], rtol=1e-12, atol=1e-12)


def test_bad_choices_are_refused() -> None:
    network, (x, y) = Network(relu_net(3, 4).double()), data()
    with pytest.raises(InputError, match="positive learning rate"):
        train_ensemble(network, LOSS, x, y, np.array([0.0]))
    with pytest.raises(ShapeError, match="own data"):
        train_ensemble(network, LOSS, x[None], y[None], np.array([0.1, 0.1]), own_data=True)
    with pytest.raises(ShapeError, match="Starts"):
        train_ensemble(network, LOSS, x, y, np.array([0.1]), starts=torch.zeros(2, 3))
    with pytest.raises(InputError, match="epochs"):
        Schedule(epochs=0)
