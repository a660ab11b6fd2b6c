"""Orders of the expansion along runs whose orders are known."""

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import InputError
from isthmus.learning import order_shares, remainder_orders
from isthmus.model.data import Sgd
from isthmus.model.problem import Problem
from isthmus.model.taylor import taylor_model
from isthmus.training import train
from isthmus.training.trajectory import Trajectory
from tests.model.networks import build


def run_of(module: nn.Module, *, steps: int = 40, lr: float = 0.1, inputs: int = 4) -> Trajectory:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, inputs, generator=generator)
    problem = Problem(module, x[:40], x[:40, :1].sin(), nn.MSELoss(), test=(x[40:], x[40:, :1].sin()))
    return train(problem, Sgd(lr=lr), steps=steps)


def linear(depth: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(*(nn.Linear(4, 4 if i < depth - 1 else 1, bias=False) for i in range(depth)))


def test_a_two_layer_linear_network_has_no_rest() -> None:
    record = order_shares(run_of(linear(2)))
    assert record.parts == ["order 0", "order 1", "order 2", "rest"]
    assert record.share[:, 3].max() < 1e-12
    assert record.unexplained[-1, 2] < 1e-12 < record.unexplained[-1, 1]
    deeper = order_shares(run_of(linear(3)))
    assert deeper.unexplained[-1, 2] > 1e-6
    assert order_shares(run_of(linear(3)), order=3).unexplained[-1, 3] < 1e-12


def test_a_run_of_the_linearized_network_is_all_order_one() -> None:
    module, _, _ = build("mlp")
    model = taylor_model(nn.Sequential(module[0], nn.Tanh(), nn.Linear(9, 1).double()), 1).float()
    record = order_shares(run_of(model, inputs=6))
    assert record.unexplained[-1, 1] < 1e-10
    assert np.isnan(record.reach[0])


def test_shares_and_projections_sum_to_one_and_match_the_definition() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 1))
    run = run_of(module, lr=0.3)
    record = order_shares(run)
    np.testing.assert_allclose(record.share.sum(1), 1)
    np.testing.assert_allclose(record.projection.sum(1), 1)
    assert record.share[0, 0] == 1
    assert np.isnan(record.unexplained[0]).all()
    start, end = run.problem_at(0).to(torch.float64), run.problem_at(40).to(torch.float64)
    x = start.test_inputs
    assert x is not None
    from isthmus.model.network import Network

    linearized = Network(taylor_model(start.network, 1)).at(end.network.parameters)(x)
    f, f0 = end.network(x), start.network(x)
    expected = (f - linearized).square().sum() / (f - f0).square().sum()
    assert record.unexplained[-1, 1] == pytest.approx(float(expected), rel=1e-9)
    low, high = record.share_interval[:, 0], record.share_interval[:, 1]
    assert ((low <= record.share[-1]) & (record.share[-1] <= high)).all()
    size = torch.linalg.vector_norm(end.network.flat - start.network.flat) / torch.linalg.vector_norm(start.network.flat)
    assert record.displacement[-1] == pytest.approx(float(size))


def test_class_labels_are_scored_by_error() -> None:
    module, inputs, targets = build("residual with layer norm", samples=30)
    run = train(Problem(module, inputs, targets, nn.CrossEntropyLoss()), Sgd(lr=0.2), steps=30)
    record = order_shares(run, samples=20)
    assert (record.metric, record.data, record.samples) == ("error", "train", 20)
    assert ((record.scores >= 0) & (record.scores <= 1)).all()


def test_ignored_labels_are_no_errors() -> None:
    module, inputs, targets = build("residual with layer norm", samples=30)
    targets = targets.clone()
    targets[::3] = -100
    run = train(Problem(module, inputs, targets, nn.CrossEntropyLoss()), Sgd(lr=0.2), steps=5)
    record, end = order_shares(run, samples=30), run.problem_at(5)
    wrong = [int(guess) != int(label) for guess, label in zip(end.network(inputs).argmax(1), targets, strict=True) if label >= 0]
    assert record.scores[-1, -1] == pytest.approx(sum(wrong) / 20)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU])
def test_remainder_of_a_smooth_network_has_slope_k_plus_one(activation: type[nn.Module]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 64), activation(), nn.Linear(64, 64), activation(), nn.Linear(64, 1)).double()
        x = torch.randn(50, 4, dtype=torch.float64)
    record = remainder_orders(net, x, lengths=(0.1, 0.05, 0.025, 0.0125))
    np.testing.assert_allclose(record.slope, [1, 2, 3, 4], atol=0.12)
    assert record.smooth.all()


def test_remainder_of_a_relu_network_is_flagged() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)).double()
        x = torch.randn(50, 4, dtype=torch.float64)
    record = remainder_orders(net, x)
    assert record.slope[2] < 2.2
    assert record.smooth.tolist() == [True, False, False, False] or record.smooth.tolist() == [True, True, False, False]


def test_an_exact_expansion_has_rounding_for_a_remainder() -> None:
    record = remainder_orders(
        linear(2).double(), torch.randn(10, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    )
    assert np.isnan(record.slope[2:]).all()
    assert record.smooth.all()


def test_bad_orders_and_runs_are_refused() -> None:
    run = run_of(linear(2), steps=4)
    with pytest.raises(InputError, match="1, 2 or 3"):
        order_shares(run, order=0)
    with pytest.raises(InputError, match="one checkpoint"):
        order_shares(Trajectory(run.problem, {0: run.checkpoint(0)}, 1))
    with pytest.raises(InputError, match="three positive"):
        remainder_orders(linear(2), torch.zeros(2, 4), lengths=(0.1, 0.2))
