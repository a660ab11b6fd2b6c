"""Reduction and taxonomy: planted structure is found, students lead back to their teacher, nothing else is claimed."""

import collections

import pytest
import torch
from torch import Tensor, nn

from isthmus._core.errors import HypothesisError
from isthmus._core.seeds import Seed
from isthmus.combinatorics.pieces import Piece
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.papers.simsek2021.students import (
    TEACHER_W,
    activation,
    grid,
    normal_equations,
    random_students,
    student_problem,
    teacher,
    teacher_row,
    train_students,
)
from isthmus.results.symmetry import UNIT_KINDS, UnitTaxonomy
from isthmus.symmetry.expansion import expansion_manifold
from isthmus.symmetry.layers import hidden_layers
from isthmus.symmetry.reduction import reduce, shrunk
from isthmus.symmetry.taxonomy import channel_error, unit_taxonomy
from tests.symmetry.networks import dense, inputs

X = inputs()


def kinds(record: UnitTaxonomy) -> list[str]:
    return [UNIT_KINDS[k] for k in record.kind]


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "gelu", "g"])
def test_planted_pieces_are_recognized_in_two_layers(name: str) -> None:
    network = dense([3, 3, 2, 2], name)
    manifold = expansion_manifold(network, [6, 5], X)
    for seed in range(5):
        chosen = manifold.random_pieces(seed)
        found = shrunk(manifold.sample(chosen, seed=seed), X)
        assert [layer.size for layer in found.layers] == [3, 2]
        assert found.change <= 1e-12
        for piece, roles in zip(chosen, found.roles, strict=True):
            for group in piece.groups:
                assert len({roles[i].group for i in group}) == 1
            expected = {"copy", "distinct"} if piece.critical else {"copy", "distinct", "parked", "zero group"}
            assert {role.kind for role in roles} <= expected
            for i, label in enumerate(piece.labels):
                assert (roles[i].kind in ("parked", "zero group")) == (label >= piece.r)


def with_rows(network: Network, rows: Tensor, out: Tensor) -> Network:
    layer, state = hidden_layers(network, X)[0], network.state
    return network.at_state(layer.with_outgoing(layer.with_incoming(state, rows), out))


@pytest.mark.parametrize("bias", [True, False])
def test_zero_functions_of_a_symmetry_class_need_the_class(bias: bool) -> None:
    w = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = torch.stack([w[0], -w[0], w[1], -w[1], 2 * w[0] - w[1]])
    for name, out in (("tanh", [0.7, 0.7, -0.3, -0.3, 1.0]), ("sigmoid", [0.7, 0.7, -0.7, -0.7, 1.0])):
        module = dense([3, 5, 1], name).module
        module[2] = nn.Linear(5, 1, bias=bias).double()
        network = with_rows(Network(module), rows, torch.tensor(out, dtype=torch.float64)[:, None])
        found = shrunk(network, X)
        assert [layer.size for layer in found.layers] == [1]
        assert [role.kind for role in found.roles[0]] == ["zero group"] * 4 + ["distinct"]
        assert found.change <= 1e-13
    plain = with_rows(dense([3, 5, 1], "g"), rows, torch.tensor(out, dtype=torch.float64)[:, None])
    assert [layer.size for layer in shrunk(plain, X).layers] == [5]


@pytest.mark.parametrize("name", ["gelu", "relu"])
@pytest.mark.parametrize("bias", [True, False])
def test_opposite_units_whose_linear_parts_cancel_go(name: str, bias: bool) -> None:
    """Three pairs +-w_i with w_1 + w_2 + w_3 = 0 and outgoing vectors a, -a: zero for an even plus linear activation."""
    w = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = torch.stack([w[0], -w[0], w[1], -w[1], -w[0] - w[1], w[0] + w[1], w[2]])
    if name == "relu":
        rows[1] *= 2
    out = torch.tensor([[0.7, -0.7, 0.7, -0.7, 0.7, -0.7, 1.0]], dtype=torch.float64).T
    out[1] /= 2 if name == "relu" else 1
    module = dense([3, 7, 1], name).module
    module[2] = nn.Linear(7, 1, bias=bias).double()
    found = shrunk(with_rows(Network(module), rows, out), X)
    assert [role.kind for role in found.roles[0]] == ["opposite"] * 6 + ["distinct"]
    assert found.change <= 1e-13
    other = with_rows(dense([3, 7, 1], "g"), rows, out)
    assert [layer.size for layer in shrunk(other, X).layers] == [7]


@pytest.mark.parametrize("name", ["gelu", "relu"])
def test_of_opposite_pairs_as_many_stay_whole_as_the_linear_parts_need(name: str) -> None:
    """Five generic pairs on three inputs: their incoming vectors span three dimensions, so two pairs can give up a unit."""
    w = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    out = torch.randn(10, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    network = with_rows(dense([3, 10, 2], name), torch.cat([w, -w]), out)
    found = shrunk(network, X)
    assert [layer.size for layer in found.layers] == [8]
    assert collections.Counter(role.kind for role in found.roles[0]) == {"distinct": 8, "opposite": 2}
    assert found.change <= 1e-12
    assert [layer.size for layer in shrunk(network, X, opposites=False).layers] == [10]
    problem = Problem(network, X, network(X), nn.MSELoss())
    record = unit_taxonomy(problem, reduce(problem, tolerances=(1e-9,), steps=5))
    assert kinds(record) == ["opposite"] * 10
    assert record.minimal == [8]


def test_dead_constant_scaled_and_parked_units() -> None:
    network = dense([3, 6, 2], "relu")
    layer, state = hidden_layers(network, X)[0], network.state
    rows, out = layer.incoming(state).clone(), layer.outgoing(state).clone()
    rows[1], rows[2] = 3 * rows[0], torch.tensor([0.0, 0.0, 0.0, 0.8], dtype=torch.float64)
    rows[3] = torch.tensor([0.1, 0.0, 0.0, -50.0], dtype=torch.float64)
    out[4] = 0
    found = shrunk(network.at_state(layer.with_outgoing(layer.with_incoming(state, rows), out)), X)
    assert [role.kind for role in found.roles[0]] == ["copy", "copy", "constant", "dead", "parked", "distinct"]
    assert sorted(role.factor for role in found.roles[0][:2])[0] == pytest.approx(1 / 3)
    assert found.change <= 1e-13
    assert found.layers[0].size == 2


def test_an_irreducible_network_stays_as_it_is() -> None:
    network = dense([3, 5, 4, 2])
    problem = Problem(network, X, network(X) + 0.1, nn.MSELoss())
    found = reduce(problem)
    assert found.widths == (5, 4)
    assert found.change == found.total_change == 0
    assert torch.equal(found.problem.network.flat, network.flat)
    assert {role.kind for roles in found.roles for role in roles} == {"distinct"}


def test_copies_at_positive_loss_reduce_without_touching_the_function() -> None:
    network = dense([3, 4, 2], "gelu")
    manifold = expansion_manifold(network, [7], X)
    wide = manifold.sample((Piece((0, 1, 1, 2, 3, 4, 4), 4),), seed=3)
    problem = Problem(wide, X, torch.sin(X[:, :2]), nn.MSELoss())
    found = reduce(problem, tolerances=(1e-9, 1e-3), steps=60)
    assert found.widths == (4,)
    assert found.total_change <= 1e-12
    assert found.refit_loss == pytest.approx(found.loss, rel=1e-12)


def test_the_students_normal_equations_are_those_of_autograd() -> None:
    x = grid(1.0)
    y = teacher(x)
    row = random_students(1, 5, Seed(3))[0]

    def residual(point: Tensor) -> Tensor:
        w, a = point[:10].reshape(2, 5), point[10:]
        return (torch.sigmoid(4 * x @ w) + torch.logaddexp(x @ w, torch.zeros(()).double())) @ a - y

    jac, r = torch.func.jacrev(residual)(row), residual(row)
    cost, down, gram = normal_equations(row[None], x, y)
    n = len(x)
    torch.testing.assert_close(cost[0], (r @ r) / n)
    torch.testing.assert_close(down[0], jac.T @ r / n)
    torch.testing.assert_close(gram[0], jac.T @ jac / n)
    assert float(normal_equations(teacher_row()[None], x, y)[0]) < 1e-28
    z = torch.linspace(-200, 200, 4001, dtype=torch.float64)
    value, _ = activation(z)
    torch.testing.assert_close(value, torch.sigmoid(4 * z) + torch.logaddexp(z, torch.zeros(()).double()), rtol=1e-15, atol=1e-15)


def test_trained_students_of_width_ten_lead_back_to_the_teacher() -> None:
    x = grid(1.0)
    y = teacher(x)
    trained = train_students(random_students(4, 10, Seed(0)), x, y, steps=200)
    good = [row for row, loss in zip(trained.points, trained.cost, strict=True) if loss < 1e-20]
    assert len(good) >= 2
    seen: collections.Counter[str] = collections.Counter()
    for row in good:
        found = reduce(student_problem(row, x, y))
        assert found.widths == (4,)
        assert found.refit_loss < 1e-28
        weights = found.problem.network.parameters["0.weight"]
        assert float(torch.cdist(weights, torch.tensor(TEACHER_W, dtype=torch.float64)).min(dim=1).values.max()) < 1e-12
        assert len(found.roles[0]) == 10
        seen.update(role.kind for role in found.roles[0])
    assert set(seen) <= {"distinct", "copy", "parked", "zero group"}


def test_a_distance_alone_merges_nothing() -> None:
    """Two units 1 % apart that a target needs apart: joined at 0.03, refused by the refit."""
    network = dense([3, 3, 1], "g")
    layer, state = hidden_layers(network, X)[0], network.state
    rows, out = layer.incoming(state).clone(), layer.outgoing(state).clone()
    rows[1] = rows[0] * 1.01
    out[0], out[1], out[2] = 10.0, -9.0, 5.0
    close = network.at_state(layer.with_outgoing(layer.with_incoming(state, rows), out))
    problem = Problem(close, X, close(X), nn.MSELoss())
    assert [layer.size for layer in shrunk(close, X, tolerance=0.03).layers] == [2]
    found = reduce(problem)
    assert found.widths == (3,)
    assert any(attempt.widths == (2,) and not attempt.accepted for attempt in found.attempts)


def test_channels_are_told_by_their_limit() -> None:
    w = torch.tensor([0.8, -0.4, 0.3, 0.1], dtype=torch.float64)
    direction = torch.tensor([0.3, 0.5, -0.2, 0.4], dtype=torch.float64)
    other = torch.tensor([-0.5, 0.9, 0.7, -0.2], dtype=torch.float64)
    errors = []
    for eps in (0.04, 0.02, 0.01):
        rows = torch.stack([w + eps * direction, w - eps * direction, other])
        out = torch.tensor([[0.5 + 0.5 / eps], [0.5 - 0.5 / eps], [1.0]], dtype=torch.float64)
        network = with_rows(dense([3, 3, 1], "g"), rows, out)
        errors.append(channel_error(network, hidden_layers(network, X)[0], X, (0, 1)))
        record = unit_taxonomy(Problem(network, X, network(X), nn.MSELoss()))
        assert kinds(record) == ["channel", "channel", "distinct"]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)


def test_opposite_units_of_an_even_plus_linear_activation() -> None:
    network = dense([3, 4, 2], "gelu")
    layer, state = hidden_layers(network, X)[0], network.state
    rows = layer.incoming(state).clone()
    rows[2] = -rows[0]
    turned = network.at_state(layer.with_incoming(state, rows))
    record = unit_taxonomy(Problem(turned, X, turned(X), nn.MSELoss()))
    assert kinds(record) == ["opposite", "distinct", "opposite", "distinct"]


def test_the_taxonomy_record_counts_and_survives_saving(tmp_path: object) -> None:
    network = dense([3, 3, 2], "tanh")
    wide = expansion_manifold(network, [6], X).sample((Piece((0, 1, 2, 0, 3, 3), 3),), seed=2)
    record = unit_taxonomy(Problem(wide, X, wide(X), nn.MSELoss()))
    assert record.counts == {"distinct": 2, "copy": 2, "zero group": 2}
    assert 10**record.log10_orders == pytest.approx(6 * 8)
    assert (record.minimal, record.widths) == ([3], [6])
    path = tmp_path / "taxonomy.safetensors"
    record.save(path)
    assert UnitTaxonomy.load(path).same_numbers(record)
    with pytest.raises(HypothesisError):
        unit_taxonomy(Problem(nn.Linear(3, 2).double(), X, X[:, :2], nn.MSELoss()))
