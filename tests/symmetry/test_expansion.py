"""Expansion manifolds: equal function, membership, dimension, nullity, and what is critical when."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import HypothesisError, InputError, ShapeError
from isthmus.combinatorics.pieces import Piece, pieces
from isthmus.model.derivatives import jacobian, loss_gradient, loss_value
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.papers.simsek2021.landmarks import LANDMARKS, landmark
from isthmus.papers.simsek2021.students import grid, student_problem, teacher, teacher_row
from isthmus.symmetry.activations import ActivationClass
from isthmus.symmetry.expansion import expansion_manifold, zero_loss_nullity
from isthmus.symmetry.layers import hidden_layers, select_units
from isthmus.symmetry.membership import locate
from isthmus.symmetry.refitting import refitted
from tests.symmetry.networks import ACTIVATIONS, dense, inputs

X = inputs()
CLASSES = {
    "relu": ActivationClass.POSITIVE_SCALING,
    "tanh": ActivationClass.ODD,
    "sigmoid": ActivationClass.ODD_CONSTANT,
    "gelu": ActivationClass.EVEN_LINEAR,
    "elu": ActivationClass.NONE,
    "g": ActivationClass.NONE,
}


@pytest.mark.parametrize("name", CLASSES)
def test_activation_classes(name: str) -> None:
    assert [layer.activation for layer in hidden_layers(dense([3, 4, 3, 2], name), X)] == [CLASSES[name]] * 2


def test_classes_of_more_activations_and_of_norms_between() -> None:
    made = {nn.SiLU: "EVEN_LINEAR", nn.Softplus: "EVEN_LINEAR", nn.Identity: "ODD", nn.Mish: "NONE", nn.Softsign: "ODD"}
    for kind, expected in made.items():
        network = Network(nn.Sequential(nn.Linear(3, 4), kind(), nn.Linear(4, 2)))
        assert hidden_layers(network, X)[0].activation.name == expected
    for affine, expected in ((True, ActivationClass.ODD), (False, ActivationClass.NONE)):
        shifted = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, affine=affine), nn.Tanh(), nn.Linear(4, 2))
        shifted[1].running_mean.fill_(0.3)
        assert hidden_layers(Network(shifted).eval(), X)[0].activation is expected  # the norm's scale and shift carry the sign


def test_scales_pass_through_pooling_and_opposite_units_do_not() -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2)).double()
    (layer,) = hidden_layers(Network(module), inputs(6, 64).reshape(6, 1, 8, 8))
    assert (layer.activation, layer.function.slope) == (ActivationClass.POSITIVE_SCALING, 0.0)
    (plain,) = hidden_layers(dense([3, 4, 2], "relu"), X)
    assert plain.function.slope == pytest.approx(1)


def test_convolutions_are_rows_too() -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(216, 3),
    )
    network, images = Network(module, dtype=torch.float64).eval(), inputs(4, 64).reshape(4, 1, 8, 8)
    layers = hidden_layers(network, images)
    state = network.state
    assert [(layer.incoming(state).shape[1], layer.outgoing(state).shape[1]) for layer in layers] == [(9 + 1 + 4, 54), (37, 108)]
    for layer in layers:
        rows = layer.incoming(state)
        assert torch.equal(layer.incoming(layer.with_incoming(state, 2 * rows)), 2 * rows)
        rows = layer.outgoing(state)
        assert torch.equal(layer.outgoing(layer.with_outgoing(state, 2 * rows)), 2 * rows)
        order = list(reversed(range(layer.size)))
        torch.testing.assert_close(select_units(network, layer, order)(images), network(images))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("widths", [[6], [5, 4]])
def test_every_sample_computes_the_function_and_is_found_again(name: str, widths: list[int]) -> None:
    network = dense([3, *([3] if len(widths) == 1 else [3, 2]), 2], name)
    manifold = expansion_manifold(network, widths, X)
    for seed in range(6):
        chosen = manifold.random_pieces(seed)
        point = manifold.sample(chosen, seed=seed)
        torch.testing.assert_close(point(X), network(X), rtol=0, atol=1e-12)
        found = locate(manifold, point, X)
        assert found is not None
        assert found.pieces == chosen


def test_teacher_samples_up_to_width_11_in_both_dtypes() -> None:
    x = grid(1.0)
    problem = student_problem(teacher_row(), x, teacher(x))
    worst, single = 0.0, 0.0
    for seed in range(30):
        manifold = expansion_manifold(problem.network, [5 + seed % 7], x)
        point = manifold.sample(manifold.random_pieces(seed), seed=seed)
        worst = max(worst, float((point(x)[:, 0] - teacher(x)).abs().max()))
        single = max(single, float((point.to(torch.float32)(x.float())[:, 0] - teacher(x)).abs().max()))
    assert worst <= 1e-12
    assert single <= 1e-5


def test_membership_refuses_neighbours_and_other_functions() -> None:
    network = dense([3, 3, 2])
    manifold = expansion_manifold(network, [5], X)
    point = manifold.sample(manifold.random_pieces(3), seed=3)
    assert locate(manifold, point.at(point.flat + 1e-4), X) is None
    with pytest.raises(ShapeError, match="widths"):
        locate(manifold, network, X)


def test_signs_and_scales_are_told() -> None:
    for name in ("tanh", "relu"):
        network = dense([3, 3, 2], name)
        manifold = expansion_manifold(network, [5], X)
        point = manifold.sample((Piece((0, 1, 2, 0, 3), 3),), seed=1)
        layer, state = hidden_layers(point, X)[0], point.state
        factor = torch.tensor([1.0, 1.0, 1.0, -1.0 if name == "tanh" else 3.0, 1.0], dtype=torch.float64)[:, None]
        state = layer.with_incoming(state, layer.incoming(state) * factor)
        turned = point.at(
            {k: v for k, v in layer.with_outgoing(state, layer.outgoing(state) / factor).items() if k in point.parameters}
        )
        found = locate(manifold, turned, X)
        assert found is not None
        assert found.factors[0] == pytest.approx((1, 1, 1, float(factor[3]), 1))


def test_counts_and_lazy_pieces_of_two_layers() -> None:
    manifold = expansion_manifold(dense([3, 2, 2, 1]), [3, 4], X)
    assert (manifold.minima, manifold.critical) == (12 * 62, 6 * 14)
    found = list(manifold.pieces())
    assert len(found) == len(set(found)) == 12 * 62
    huge = expansion_manifold(dense([3, 4, 4, 1]), [30, 30], X)
    assert len(list(itertools.islice(huge.pieces(), 3))) == 3


@pytest.mark.parametrize(
    ("labels", "nullity", "dimension"),
    [
        ((0, 1, 2, 3), 0, 0),
        ((0, 1, 2, 3, 4), 2, 2),
        ((0, 0, 1, 2, 3), 3, 1),
        ((0, 0, 1, 2, 3, 4), 5, 3),
        ((0, 1, 2, 3, 4, 4), 3, 3),
    ],
)
def test_nullity_at_zero_loss_is_that_of_the_jacobian(labels: tuple[int, ...], nullity: int, dimension: int) -> None:
    x = grid(1.0)
    problem = student_problem(teacher_row(), x, teacher(x))
    manifold = expansion_manifold(problem.network, [len(labels)], x)
    piece = Piece(labels, 4)
    point = manifold.sample((piece,), seed=2)
    slopes = jacobian(point, x)[:, 0].numpy()
    values = np.linalg.svd(slopes, compute_uv=False)
    counted = point.size - int((values > 1e-9 * values[0]).sum())
    assert zero_loss_nullity(point, manifold.layers[0], piece) == counted == nullity
    assert manifold.dimension((piece,)) == dimension


@pytest.mark.parametrize("outputs", [1, 3])
def test_nullity_with_biases_and_several_outputs(outputs: int) -> None:
    network = dense([2, 3, outputs], "g")
    x = inputs(60, 2)
    for index, piece in enumerate(itertools.islice(pieces(3, 5), 0, 450, 37)):
        manifold = expansion_manifold(network, [5], x)
        point = manifold.sample((piece,), seed=index)
        slopes = jacobian(point, x).reshape(-1, point.size).numpy()
        values = np.linalg.svd(slopes, compute_uv=False)
        assert zero_loss_nullity(point, manifold.layers[0], piece) == point.size - int((values > 1e-9 * values[0]).sum())


@pytest.mark.parametrize("name", LANDMARKS)
def test_copies_of_a_critical_point_are_critical_and_parked_units_are_not(name: str) -> None:
    problem = landmark(name)
    loss, r = loss_value(problem), int(name[0])
    assert loss == pytest.approx(LANDMARKS[name][0], abs=1e-7)
    assert float(loss_gradient(problem).norm()) <= 1e-13
    manifold = expansion_manifold(problem.network, [r + 2], problem.inputs)
    for piece in itertools.islice(pieces(r, r + 2), 0, 200, 9):
        copied = piece.critical
        point = manifold.sample((piece,), seed=5, critical=copied)
        there = Problem(point, problem.inputs, problem.targets, nn.MSELoss())
        slope = float(loss_gradient(there).norm())
        assert abs(loss_value(there) - loss) <= 1e-13
        assert slope <= 1e-11 if copied else slope > 1e-3
    with pytest.raises(HypothesisError, match="no critical point"):
        manifold.sample((next(p for p in pieces(r, r + 2) if not p.critical),), critical=True)


def test_reference_gradients_of_a_parked_unit_and_a_cancelling_pair() -> None:
    problem = landmark("2a")
    row = problem.network.flat
    w, a = row[:4].reshape(2, 2), row[4:]
    extra = torch.tensor([[0.9, -0.3]], dtype=torch.float64)

    def slope(more: torch.Tensor, outgoing: list[float]) -> float:
        units = torch.cat([w, more]), torch.cat([a, torch.tensor(outgoing, dtype=torch.float64)])
        row = torch.cat([units[0].T.reshape(-1), units[1]])
        return float(loss_gradient(student_problem(row, problem.inputs, problem.targets[:, 0])).norm())

    assert slope(extra, [0.0]) == pytest.approx(0.344, abs=5e-4)
    assert slope(extra.repeat(2, 1), [0.5, -0.5]) == pytest.approx(0.726, abs=5e-4)


def test_deep_critical_points_stay_critical() -> None:
    network = dense([2, 2, 2, 1], "tanh", seed=3)
    x = inputs(60, 2)
    y = torch.sin(2 * x[:, :1]) + x[:, 1:] ** 2
    problem = refitted(Problem(network, x, y, nn.MSELoss()), steps=60)
    source = float(loss_gradient(problem).norm())
    manifold = expansion_manifold(problem.network, [4, 3], x)
    point = manifold.sample((Piece((0, 1, 1, 0), 2), Piece((1, 0, 0), 2)), seed=1, critical=True)
    there = Problem(point, x, y, nn.MSELoss())
    assert abs(loss_value(there) - loss_value(problem)) <= 1e-13
    assert float(loss_gradient(there).norm()) <= 10 * source


def test_bad_input_is_named() -> None:
    network = dense([3, 3, 2])
    with pytest.raises(InputError, match="cannot hold"):
        expansion_manifold(network, [2], X)
    with pytest.raises(InputError, match="one width per hidden layer"):
        expansion_manifold(network, [4, 4], X)
    doubled = select_units(network, hidden_layers(network, X)[0], [0, 0, 1, 2])
    with pytest.raises(HypothesisError, match="copies"):
        expansion_manifold(doubled, [5], X)
    with pytest.raises(HypothesisError, match="no hidden layer"):
        expansion_manifold(nn.Linear(3, 2), [5], X)
    manifold = expansion_manifold(network, [5], X)
    with pytest.raises(InputError, match="one per hidden layer"):
        manifold.sample((Piece((0, 1, 2), 3),))
