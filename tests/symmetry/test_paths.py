"""Zero-loss paths: constant function, the fewest segments, and refusals."""

import itertools

import pytest
import torch
from torch import nn

from isthmus._core.errors import HypothesisError, ShapeError
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.papers.simsek2021.students import grid, student_problem, teacher, teacher_row
from isthmus.symmetry.expansion import expansion_manifold
from isthmus.symmetry.layers import hidden_layers, select_units
from isthmus.symmetry.paths import zero_loss_path
from isthmus.symmetry.profile import path_profile
from tests.symmetry.networks import dense, inputs

X = inputs()


def pair(network: Network, widths: list[int], seed: int) -> tuple[Network, Network]:
    manifold = expansion_manifold(network, widths, X)
    return tuple(manifold.sample(manifold.random_pieces(s), seed=s) for s in (seed, seed + 1000))


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "gelu", "g"])
@pytest.mark.parametrize("widths", [[5], [4, 3], [6, 6]])
def test_random_points_of_the_manifold_are_joined(name: str, widths: list[int]) -> None:
    network = dense([3, *([3] if len(widths) == 1 else [3, 2]), 2], name)
    for seed in range(2):
        first, second = pair(network, widths, seed)
        path = zero_loss_path(first, second, X)
        assert torch.equal(path.knots[0], first.flat)
        assert torch.equal(path.knots[-1], second.flat)
        for low, high in itertools.pairwise(path.knots):
            for t in (0.25, 0.6):
                torch.testing.assert_close(first.at(low + t * (high - low))(X), network(X), rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_signs_and_scales_are_changed_on_the_way(name: str) -> None:
    first, second = pair(dense([3, 4, 3, 2], name), [5, 4], 0)
    state = second.state
    for index, layer in enumerate(hidden_layers(second, X)):
        drawn = torch.rand(layer.size, 1, generator=torch.Generator().manual_seed(index), dtype=torch.float64)
        factor = torch.where(drawn < 0.5, -1.0, 1.0) if name == "tanh" else drawn + 0.5
        state = layer.with_incoming(state, layer.incoming(state) * factor)
        state = layer.with_outgoing(state, layer.outgoing(state) / factor)
    turned = second.at_state(state)
    torch.testing.assert_close(turned(X), second(X), rtol=0, atol=1e-12)
    path = zero_loss_path(first, turned, X)
    assert torch.equal(path.knots[-1], turned.flat)
    assert path.change <= 1e-12


def test_sigmoid_units_of_opposite_sign_are_turned_through_the_next_bias() -> None:
    first, second = pair(dense([3, 4, 3, 2], "sigmoid"), [5, 4], 0)
    state = dict(second.state)
    for here, there in (("0", "2"), ("2", "4")):  # a sigma(z) = -a sigma(-z) + a
        turn = torch.tensor([-1.0, 1.0, -1.0, 1.0, -1.0], dtype=torch.float64)[: len(state[f"{here}.bias"])]
        out = state[f"{there}.weight"]
        state[f"{there}.bias"] = state[f"{there}.bias"] + out[:, turn < 0].sum(dim=1)
        state |= {f"{there}.weight": out * turn, f"{here}.bias": state[f"{here}.bias"] * turn}
        state[f"{here}.weight"] = state[f"{here}.weight"] * turn[:, None]
    turned = second.at_state(state)
    torch.testing.assert_close(turned(X), second(X), rtol=0, atol=1e-12)
    path = zero_loss_path(first, turned, X)
    assert torch.equal(path.knots[-1], turned.flat)
    assert path.change <= 1e-12
    assert all((path.at(k + 0.3)(X) - first(X)).abs().max() <= 1e-11 for k in range(len(path.steps)))


def test_without_a_bias_to_take_it_an_opposite_sigmoid_unit_is_another_function() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2, bias=False)).double()
    first, second = Network(module), Network(module)
    flipped = {"0.weight": second.parameters["0.weight"].clone(), "0.bias": second.parameters["0.bias"].clone()}
    flipped["0.weight"][0] *= -1
    flipped["0.bias"][0] *= -1
    out = second.parameters["2.weight"] * torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    with pytest.raises(HypothesisError, match="reduce to the same"):
        zero_loss_path(first, second.at(flipped | {"2.weight": out}), X)


def test_the_reference_path_of_five_swaps() -> None:
    x = grid()
    row = teacher_row()
    w, a = row[:8].reshape(2, 4), row[8:]
    parked = torch.tensor([[0.12573022], [-0.13210486]], dtype=torch.float64)
    first = torch.cat([torch.cat([w, parked], dim=1).reshape(-1), a, torch.zeros(1, dtype=torch.float64)])
    problem = student_problem(first, x, teacher(x))
    layer = hidden_layers(problem.network, x)[0]
    second = select_units(problem.network, layer, [3, 0, 4, 1, 2])
    path = zero_loss_path(problem.network, second, x)
    assert len(path.steps) == 2 * 5 + 1 <= 15
    assert (path.widths, path.moved) == ((4,), (4,))
    record = path_profile(problem, path, points=51)
    assert record.loss.max() < 1e-28
    assert record.segment_maximum.max() == record.loss.max()
    assert record.barrier == pytest.approx(2.04, abs=0.01)
    assert record.rise < 1e-28


def test_with_many_free_units_the_number_of_segments_does_not_grow() -> None:
    for r in (4, 8, 16):
        network = dense([3, r, 2])
        manifold = expansion_manifold(network, [2 * r], X)
        first = manifold.sample(next(manifold.pieces()), seed=0)
        layer = hidden_layers(first, X)[0]
        second = select_units(first, layer, list(reversed(range(2 * r))))
        assert len(zero_loss_path(first, second, X).steps) <= 7


def test_a_path_at_positive_loss_has_constant_loss() -> None:
    first, second = pair(dense([3, 3, 2]), [4], 7)
    problem = Problem(first, X, first(X) + 0.3 * torch.sin(X[:, :2]), nn.MSELoss())
    record = path_profile(problem, zero_loss_path(first, second, X), points=3)
    assert record.loss.min() == pytest.approx(record.loss.max(), rel=1e-12)
    assert record.barrier > 0.01


def test_refusals() -> None:
    network = dense([3, 3, 2])
    layer = hidden_layers(network, X)[0]
    with pytest.raises(HypothesisError, match="isolated"):
        zero_loss_path(network, select_units(network, layer, [1, 0, 2]), X)
    other = dense([3, 3, 2], seed=5)
    with pytest.raises(HypothesisError, match="reduce to the same"):
        zero_loss_path(network, other, X)
    with pytest.raises(ShapeError, match="architectures"):
        zero_loss_path(network, dense([3, 4, 2]), X)
    assert len(zero_loss_path(network, network, X).steps) == 0
    odd = dense([3, 3, 2], "tanh")
    state, layer = odd.state, hidden_layers(odd, X)[0]
    flip = torch.tensor([[-1.0], [1.0], [1.0]], dtype=torch.float64)
    turned = odd.at_state(
        layer.with_outgoing(layer.with_incoming(state, layer.incoming(state) * flip), layer.outgoing(state) * flip)
    )
    with pytest.raises(HypothesisError, match="sign or scale"):
        zero_loss_path(odd, turned, X)
