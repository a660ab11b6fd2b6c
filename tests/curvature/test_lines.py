"""Losses along lines, and error barriers, against closed forms."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, ShapeError
from isthmus.curvature import error_barrier, loss_along_line
from isthmus.model.network import Network
from isthmus.model.problem import Problem


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def regression() -> Problem:
    return Problem(nn.Linear(3, 2).double(), random(9, 3), random(9, 2, seed=1), nn.MSELoss(), test=(random(5, 3), random(5, 2)))


def test_a_linear_model_s_loss_is_the_exact_parabola() -> None:
    problem, start, direction = regression(), random(8, seed=2), random(8, seed=3)
    positions = [-1.5, 0.0, 0.3, 2.0]
    line = loss_along_line(problem, start, direction, positions)

    def loss(flat: np.ndarray, x: Tensor, y: Tensor) -> float:
        weight, bias = flat[:6].reshape(2, 3), flat[6:]
        return float(np.mean((x.numpy() @ weight.T + bias - y.numpy()) ** 2))

    for i, a in enumerate(positions):
        flat = start.numpy() + a * direction.numpy()
        assert line.train_loss[i] == pytest.approx(loss(flat, problem.inputs, problem.targets), rel=1e-12)
        assert line.test_loss[i] == pytest.approx(loss(flat, problem.test_inputs, problem.test_targets), rel=1e-12)
    assert np.isnan(line.train_error).all()
    second = np.polyfit(*np.array([(a, v) for a, v in zip(positions, line.train_loss, strict=True)]).T, 2)[0]
    assert second == pytest.approx(np.polyfit(positions, line.train_loss, 3)[1], rel=1e-6), "no cubic term"


def test_errors_are_shares_of_wrong_labels() -> None:
    x, y = random(40, 3), torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(0))
    problem = Problem(nn.Linear(3, 3, bias=False).double(), x, y, nn.CrossEntropyLoss())
    direction = random(9, seed=4)
    line = loss_along_line(problem, torch.zeros(9, dtype=torch.float64), direction, [1.0, -2.0])
    for error, a in zip(line.train_error, (1.0, -2.0), strict=True):
        labels = (x.numpy() @ (a * direction.numpy()).reshape(3, 3).T).argmax(axis=1)
        assert error == np.mean(labels != y.numpy())
    assert np.isnan(line.test_loss).all()


@pytest.mark.parametrize("which", ["start", "direction"])
def test_a_vector_of_another_network_is_refused(which: str) -> None:
    vectors = {"start": random(8), "direction": random(8)} | {which: random(7)}
    with pytest.raises(ShapeError, match=f"{which} has shape"):
        loss_along_line(regression(), positions=[0.0], **vectors)


def test_a_convex_loss_has_no_chord_barrier_and_half_the_difference_as_mean_barrier() -> None:
    problem, first, second = regression(), random(8, seed=5), random(8, seed=6)
    barrier = error_barrier(problem, first, second)
    assert barrier.quantities == ["train_loss", "test_loss"]
    np.testing.assert_allclose(barrier.chord, 0, atol=1e-12)
    ends = barrier.values[:, [0, -1]]
    np.testing.assert_allclose(barrier.mean, np.abs(ends[:, 0] - ends[:, 1]) / 2, rtol=1e-12)
    assert barrier.values[0, -1] == pytest.approx(float(nn.MSELoss()(problem.at(first).network(problem.inputs), problem.targets)))


class Square(nn.Module):
    """``f(x) = w^2 x``: two minima with a hill between them."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([w], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.w**2 * x


ONE = torch.ones(1, 1, dtype=torch.float64)


def double_well(w: float = 1.0) -> Problem:
    """Loss (w^2 - 1)^2."""
    return Problem(Square(w), ONE, ONE, nn.MSELoss())


def test_between_the_two_minima_stands_a_hill_of_height_one() -> None:
    barrier = error_barrier(double_well(), Square(1.0), Square(-1.0))
    np.testing.assert_allclose([*barrier.mean, *barrier.chord], 1, rtol=1e-12)
    w = 2 * barrier.alpha - 1
    np.testing.assert_allclose(barrier.values[0], (w**2 - 1) ** 2, atol=1e-14)


@pytest.mark.parametrize("points", [5, 8, 21])
def test_mean_and_chord_follow_their_definitions_between_unequal_ends(points: int) -> None:
    """From w = -1 (a = 0) to w = 1.3 (a = 1): maxima from a fine grid; refinement only raises a lower bound."""
    alpha = np.linspace(0, 1, 200_001)
    values = ((2.3 * alpha - 1) ** 2 - 1) ** 2
    mean = values.max() - (values[0] + values[-1]) / 2
    chord = (values - (values[0] + alpha * (values[-1] - values[0]))).max()
    rough = error_barrier(double_well(), Square(1.3), Square(-1.0), points=points, refine=False)
    fine = error_barrier(double_well(), Square(1.3), Square(-1.0), points=points)
    for name, exact in (("mean", mean), ("chord", chord)):
        assert getattr(rough, name)[0] <= getattr(fine, name)[0] <= exact + 1e-9
        assert getattr(fine, name)[0] == pytest.approx(exact, rel=0.02)
    assert len(rough.alpha) == points
    assert (np.diff(fine.alpha) > 0).all()
    difference = abs(values[0] - values[-1]) / 2
    assert -1e-12 <= fine.mean[0] - fine.chord[0] + difference <= 2 * difference + 1e-12


def test_swapping_the_ends_mirrors_the_line() -> None:
    one = error_barrier(double_well(), Square(1.3), Square(-1.0), refine=False)
    other = error_barrier(double_well(), Square(-1.0), Square(1.3), refine=False)
    np.testing.assert_allclose(one.values, other.values[:, ::-1], atol=1e-13)
    np.testing.assert_allclose(one.chord, other.chord, atol=1e-13)


def test_every_form_of_an_end_is_the_same_end() -> None:
    module = Square(1.3)
    network = Network(module)
    forms = [module, network, Problem(module, ONE, ONE, nn.MSELoss()), network.flat, network.parameters]
    results = [error_barrier(double_well(), form, Square(-1.0)) for form in forms]
    assert all(result.same_numbers(results[0]) for result in results)


def normed(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1)).double()
        for _ in range(5):
            net(torch.randn(30, 2, dtype=torch.float64) * (seed + 1))
    return net.eval()


def by_hand(first: nn.Module, second: nn.Module, x: np.ndarray, y: np.ndarray, statistics: str) -> float:
    """The midpoint's loss with every operation written out."""
    state = [{k: v.double().numpy() for k, v in net.state_dict().items()} for net in (first, second)]
    mid = {k: (state[0][k] + state[1][k]) / 2 for k in state[0]}
    z = x @ mid["0.weight"].T + mid["0.bias"]
    mean, var = mid["1.running_mean"], mid["1.running_var"]
    if statistics == "recalibrate":
        mean, var = z.mean(axis=0), z.var(axis=0, ddof=1)
    h = np.maximum((z - mean) / np.sqrt(var + 1e-5) * mid["1.weight"] + mid["1.bias"], 0)
    return float(np.mean((h @ mid["3.weight"].T + mid["3.bias"] - y) ** 2))


@pytest.mark.parametrize("bn", ["recalibrate", "interpolate"])
def test_batch_norm_statistics_at_the_midpoint(bn: str) -> None:
    first, second, x, y = normed(0), normed(1), random(50, 2), random(50, 1, seed=1)
    before = [copy.deepcopy(net.state_dict()) for net in (first, second)]
    problem = Problem(first, x, y, nn.MSELoss())
    barrier = error_barrier(problem, first, second, points=3, refine=False, bn=bn)
    assert barrier.alpha.tolist() == [0, 0.5, 1]
    assert barrier.values[0, 1] == pytest.approx(by_hand(first, second, x.numpy(), y.numpy(), bn), rel=1e-10)
    with torch.no_grad():
        ends = [float(nn.MSELoss()(net(x), y)) for net in (second, first)]
    np.testing.assert_allclose(barrier.values[0, [0, 2]], ends, rtol=1e-12)
    assert bn in barrier.method
    for net, kept in zip((first, second), before, strict=True):
        assert all(torch.equal(v, kept[k]) for k, v in net.state_dict().items())


def test_training_mode_is_measured_in_evaluation_mode() -> None:
    first, second = normed(0), normed(1)
    x, y = random(50, 2), random(50, 1, seed=1)
    quiet = error_barrier(Problem(first, x, y, nn.MSELoss()), first, second, points=5)
    loud = error_barrier(Problem(first.train(), x, y, nn.MSELoss()), first, second.train(), points=5)
    assert loud.same_numbers(quiet)


def test_bad_requests_are_refused() -> None:
    with pytest.raises(InputError, match="at least 2 points"):
        error_barrier(double_well(), Square(1.0), Square(-1.0), points=1)
    with pytest.raises(ShapeError, match="another network"):
        error_barrier(double_well(), nn.Linear(2, 2).double(), Square(-1.0))
    with pytest.raises(ShapeError):
        error_barrier(double_well(), random(3), Square(-1.0))
