"""Curves between networks: their formula, what training them gains, and that no training is the straight line."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus._core.errors import InputError, NumericalError, ShapeError
from isthmus.curvature import LowLossCurve, error_barrier, loss_plane, low_loss_curve
from isthmus.model.curves import curve_weights
from isthmus.model.data import Sgd
from isthmus.model.problem import Problem


@pytest.fixture(scope="module")
def networks() -> tuple[Problem, Problem, Problem]:
    """Two networks trained on the digits from different starts, in other batch orders."""
    ends = []
    for seed in (0, 1):
        task = isthmus.builtin_task("digits", seed=seed)
        run = isthmus.train(task.problem, task.optimizer, epochs=8, checkpoints=(), seed=seed)
        ends.append(run.problem_at(run.steps[-1]))
    problem = isthmus.builtin_task("digits").problem
    return problem, *(problem.at(end.network.parameters) for end in ends)


@pytest.fixture(scope="module")
def curve(networks: tuple) -> LowLossCurve:
    return low_loss_curve(*networks, optimizer=Sgd(lr=0.05), epochs=15)


@pytest.mark.parametrize("t", [0.0, 0.25, 0.6, 1.0])
def test_weights_are_the_quadratic_formula_and_the_two_pieces(t: float) -> None:
    at = torch.tensor(t, dtype=torch.float64)
    np.testing.assert_allclose(curve_weights("bezier", at, 3), [(1 - t) ** 2, 2 * t * (1 - t), t**2], atol=1e-15)
    pieces = [max(1 - 2 * t, 0), 1 - abs(2 * t - 1), max(2 * t - 1, 0)]
    np.testing.assert_allclose(curve_weights("polygon", at, 3), pieces, atol=1e-15)
    for kind in ("bezier", "polygon"):
        assert float(curve_weights(kind, at, 6).sum()) == pytest.approx(1, abs=1e-14)


def test_the_curve_goes_round_the_barrier(networks: tuple, curve: LowLossCurve) -> None:
    record = curve.record
    for name in ("train_loss", "train_error", "test_error"):
        row = record.quantities.index(name)
        assert record.chord[row] < 0.4 * record.line_chord[row], name
    assert record.line_chord[0] > 0.1
    assert record.length[0] > record.length[1] > 0
    line = error_barrier(*networks)
    np.testing.assert_allclose(record.line_chord, line.chord, rtol=1e-6)
    ends = [isthmus.model.evaluation.evaluate(network).loss for network in (networks[2], networks[1])]
    np.testing.assert_allclose(record.values[0, [0, -1]], ends, rtol=1e-12)


def test_the_record_is_what_the_networks_on_the_curve_do(networks: tuple, curve: LowLossCurve) -> None:
    problem, first, second = networks
    control = [second.network.flat, torch.from_numpy(curve.record.bends[0].copy()), first.network.flat]
    for i in (3, 11):
        t = float(curve.record.position[i])
        point = (1 - t) ** 2 * control[0] + 2 * t * (1 - t) * control[1] + t**2 * control[2]
        torch.testing.assert_close(curve.point(t), point, rtol=1e-5, atol=1e-6)
        net = copy.deepcopy(problem.network.module)
        torch.nn.utils.vector_to_parameters(point, net.parameters())
        with torch.no_grad():
            loss = float(nn.CrossEntropyLoss()(net(problem.inputs), problem.targets))
        assert curve.record.values[0, i] == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize(("kind", "bends"), [("bezier", 1), ("bezier", 3), ("polygon", 1), ("polygon", 2)])
def test_without_training_it_is_the_straight_line(networks: tuple, kind: str, bends: int) -> None:
    record = low_loss_curve(*networks, kind=kind, bends=bends, steps=0, points=5).record
    assert record.steps == 0
    np.testing.assert_allclose(record.chord, record.line_chord, rtol=1e-3)
    np.testing.assert_allclose(
        record.values[0, :2], np.interp(record.position[:2], record.line_position, record.line_values[0]), rtol=1e-4
    )
    assert record.length[0] == pytest.approx(record.length[1], rel=1e-5)


def test_a_chain_with_more_bends_and_the_same_seed_twice(networks: tuple) -> None:
    runs = [low_loss_curve(*networks, kind="polygon", bends=2, epochs=4, points=5, seed=7) for _ in range(2)]
    assert runs[0].record.same_numbers(runs[1].record)
    assert runs[0].control.shape == (4, networks[0].network.size)
    assert runs[0].record.chord[0] < runs[0].record.line_chord[0]
    other = low_loss_curve(*networks, kind="polygon", bends=2, epochs=4, points=5, seed=8)
    assert not runs[0].record.same_numbers(other.record)


def test_the_plane_of_the_curve_holds_it(networks: tuple, curve: LowLossCurve) -> None:
    directions = curve.directions()
    assert directions.off.max() < 1e-4 * curve.record.length[0]
    np.testing.assert_allclose(directions.path[[0, -1]], directions.landmarks[:2], atol=1e-4)
    record = loss_plane(networks[0], directions, points=3)
    assert record.landmark_names == ["second", "first", "bend"]


def test_batch_norm_is_measured_anew_along_the_curve() -> None:
    def net(seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(nn.Linear(2, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2)).double()

    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 2, dtype=torch.float64, generator=generator)
    problem = Problem(net(0), inputs, (inputs[:, 0] * inputs[:, 1] > 0).long(), nn.CrossEntropyLoss())
    trained = [isthmus.train(problem.with_network(isthmus.Network(net(s))), epochs=20, checkpoints=()) for s in (0, 1)]
    ends = [run.problem_at(run.steps[-1]) for run in trained]
    before = [{k: v.clone() for k, v in end.network.buffers.items()} for end in ends]
    found = low_loss_curve(problem, *ends, epochs=20, points=9)
    row = int(np.flatnonzero(found.record.position == 0.5)[0])
    z = inputs.numpy()
    state = {k: v.numpy() for k, v in problem.network.layout.unflatten(found.point(0.5)).items()}
    z = z @ state["0.weight"].T + state["0.bias"]
    h = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0, ddof=1) + 1e-5) * state["1.weight"] + state["1.bias"]
    out = torch.from_numpy(np.maximum(h, 0) @ state["3.weight"].T + state["3.bias"])
    assert found.record.values[0, row] == pytest.approx(float(nn.CrossEntropyLoss()(out, problem.targets)), rel=1e-10)
    assert "BatchNorm statistics: recalibrate" in found.record.method
    for end, kept in zip(ends, before, strict=True):
        assert all(torch.equal(v, kept[k]) for k, v in end.network.buffers.items())


def test_bad_requests_are_refused(networks: tuple) -> None:
    with pytest.raises(InputError, match="at least one bend"):
        low_loss_curve(*networks, bends=0)
    with pytest.raises(InputError, match="kind='spline'"):
        low_loss_curve(*networks, kind="spline")
    with pytest.raises(InputError, match="not both"):
        low_loss_curve(*networks, epochs=1, steps=1)
    with pytest.raises(InputError, match="at least 2 points"):
        low_loss_curve(*networks, points=1)
    with pytest.raises(ShapeError, match="another network"):
        low_loss_curve(networks[0], nn.Linear(2, 2), networks[1])
    with pytest.raises(NumericalError, match="lower the learning rate"):
        low_loss_curve(*networks, optimizer=Sgd(lr=1e8), epochs=1)
    flat = low_loss_curve(*networks, steps=0, points=2, refine=False)
    with pytest.raises(InputError, match="fewer than 2 dimensions"):
        flat.directions()
