"""Directions by their definitions, planes against the naive loop, honest holes, and where adaptive points go."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

import isthmus
from isthmus._core.errors import BatchCoupled, InputError, ShapeError, UnsupportedLayer
from isthmus._core.status import Status
from isthmus.curvature import (
    adaptive_loss_plane,
    directions_through,
    given_directions,
    hessian_directions,
    loss_along_line,
    loss_plane,
    random_directions,
    trajectory_directions,
)
from isthmus.model import affine
from isthmus.model.problem import Problem
from isthmus.training import train
from tests.reference import surfaces as reference
from tests.reference.curvature import dense_hessian


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def module(seed: int = 0, batch_norm: bool = False) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        norm = [nn.BatchNorm1d(8)] if batch_norm else []
        return nn.Sequential(nn.Linear(4, 8), *norm, nn.Tanh(), nn.Linear(8, 3)).double().eval()


def problem_of(net: nn.Module | None = None, samples: int = 30) -> Problem:
    labels = torch.randint(0, 3, (samples,), generator=torch.Generator().manual_seed(1))
    return Problem(net or module(), random(samples, 4), labels, nn.CrossEntropyLoss(), test=(random(9, 4, seed=2), labels[:9]))


def grid(record: isthmus.results.surfaces.LossPlane) -> np.ndarray:
    return np.stack(np.meshgrid(record.x, record.y, indexing="ij"), -1).reshape(-1, 2)


def test_filter_normalization_follows_its_definition_and_survives_zeros() -> None:
    net = module(batch_norm=True)
    with torch.no_grad():
        net[0].weight[2] = 0
    assert not net[1].bias.any()
    problem = problem_of(net)
    found = random_directions(problem, seed=5)
    raw = random_directions(problem, normalize="none", seed=5)
    for row, drawn in zip(found.vectors, raw.vectors, strict=True):
        parts, plain = (problem.network.layout.unflatten(vector) for vector in (row, drawn))
        for name, weights in problem.network.parameters.items():
            torch.testing.assert_close(parts[name], reference.filter_scaled(plain[name], weights), rtol=1e-12, atol=0)
            if weights.ndim > 1:
                torch.testing.assert_close(parts[name].norm(dim=1), weights.norm(dim=1), rtol=1e-12, atol=0)
    assert not torch.equal(found.vectors[0], found.vectors[1])
    assert torch.equal(found.vectors, random_directions(problem, seed=5).vectors)


def test_layer_normalization_moves_biases_too() -> None:
    problem = problem_of(module(batch_norm=True))
    parts = problem.network.layout.unflatten(random_directions(problem, normalize="layer").vectors[0])
    for name, weights in problem.network.parameters.items():
        assert float(parts[name].norm()) == pytest.approx(float(weights.norm()), rel=1e-12, abs=1e-300), name


def test_scaling_a_relu_unit_does_not_change_what_filter_normalization_shows() -> None:
    """The reason for it: the same function, written with other scales, has the same surface."""
    net = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
    scaled = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
    scaled.load_state_dict({"0.weight": 10 * net[0].weight.detach(), "2.weight": 0.1 * net[2].weight.detach()})
    one, other = (loss_plane(p, random_directions(p), points=5) for p in (problem_of(net), problem_of(scaled)))
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-10)
    plain, other = (
        loss_plane(p, random_directions(p, normalize="none"), points=5) for p in (problem_of(net), problem_of(scaled))
    )
    assert np.abs(plain.loss / other.loss - 1).max() > 0.1


@pytest.mark.parametrize("data", ["train", "test"])
def test_a_plane_is_what_the_naive_loop_finds(data: str) -> None:
    net = module()
    problem = problem_of(net)
    record = loss_plane(problem, random_directions(problem), points=7, span=((-2, 1), (-0.5, 0.5)), data=data)
    assert (record.x[0], record.x[-1], record.y[0], record.y[-1]) == (-2, 1, -0.5, 0.5)
    inputs, labels = (problem.inputs, problem.targets) if data == "train" else (problem.test_inputs, problem.test_targets)
    vectors = random_directions(problem).vectors
    loss, wrong = reference.surface(net, inputs, labels, nn.CrossEntropyLoss(), vectors, grid(record))
    np.testing.assert_allclose(record.loss.reshape(-1), loss, rtol=1e-12)
    np.testing.assert_allclose(record.wrong.reshape(-1), wrong, rtol=1e-12)
    assert record.status is Status.EXACT
    assert record.not_finite == 0


@pytest.mark.parametrize("bn", ["recalibrate", "keep"])
def test_batch_norm_is_measured_anew_or_said_to_be_kept(bn: str) -> None:
    net = module(batch_norm=True)
    net.train()
    net(random(50, 4, seed=9) * 2)
    problem = problem_of(net.eval())
    directions = random_directions(problem)
    record = loss_plane(problem, directions, points=3, bn=bn)
    exact, _ = reference.surface(
        net, problem.inputs, problem.targets, nn.CrossEntropyLoss(), directions.vectors, grid(record), bn=bn
    )
    np.testing.assert_allclose(record.loss.reshape(-1), exact, rtol=1e-10)
    assert ("recalibrate" if bn == "recalibrate" else "those of the origin") in record.method
    with torch.no_grad():
        assert record.origin[0] == pytest.approx(float(nn.CrossEntropyLoss()(net(problem.inputs), problem.targets)), rel=1e-12)


def test_hessian_directions_are_eigenvectors_and_the_interval_means_what_it_says() -> None:
    net = module()
    problem = problem_of(net)
    exact = dense_hessian(net, problem.inputs, problem.targets, nn.CrossEntropyLoss())
    values, basis = torch.linalg.eigh(exact)
    found = hessian_directions(problem, rtol=1e-6)
    for k in (0, 1):
        assert abs(float(found.vectors[k] @ basis[:, -1 - k])) == pytest.approx(1, abs=1e-5)
        assert found.spans[k][1] == pytest.approx(2 * (2 / float(values[-1 - k])) ** 0.5, rel=1e-4)
    low = hessian_directions(problem, 1, which="SA", rtol=1e-6)
    assert abs(float(low.vectors[0] @ basis[:, 0])) == pytest.approx(1, abs=1e-5)


def test_principal_directions_are_scikit_learn_s() -> None:
    problem = problem_of()
    run = train(problem, steps=40, batch=10, checkpoints=range(0, 41, 5))
    found = trajectory_directions(run)
    points = np.stack([run.problem_at(step).network.flat.numpy() for step in run.steps])
    pca = PCA(2).fit(points)
    for k in (0, 1):
        assert abs(found.vectors[k].numpy() @ pca.components_[k]) == pytest.approx(1, abs=1e-9)
        assert f"{pca.explained_variance_ratio_[k]:.0%}" in found.names[k]
    moves = points - points[-1]
    np.testing.assert_allclose(np.abs(found.path), np.abs(moves @ pca.components_.T), atol=1e-9)
    rest = moves - moves @ pca.components_.T @ pca.components_
    np.testing.assert_allclose(found.off, np.linalg.norm(rest, axis=1), atol=1e-9)
    assert found.path[-1].tolist() == [0, 0]
    assert (found.path[0] > 0).all()
    record = loss_plane(problem, found, points=3)
    assert record.origin[0] == isthmus.model.evaluation.evaluate(run.problem_at(40)).loss
    assert all(low < found.path[:, k].min() and found.path[:, k].max() < high for k, (low, high) in enumerate(found.spans))


def test_a_plane_holds_its_three_networks_and_measures_distances() -> None:
    problem, nets = problem_of(), [module(seed) for seed in (1, 2, 3)]
    found = directions_through(problem, *nets, names=("a", "b", "c"))
    flats = [torch.cat([p.detach().reshape(-1) for p in net.parameters()]) for net in nets]
    for i in range(3):
        point = flats[0] + torch.from_numpy(found.landmarks[i]) @ found.vectors
        torch.testing.assert_close(point, flats[i], rtol=1e-12, atol=1e-12)
        for j in range(3):
            far = np.linalg.norm(found.landmarks[i] - found.landmarks[j])
            assert far == pytest.approx(float((flats[i] - flats[j]).norm()), rel=1e-12)
    record = loss_plane(problem, found, points=5)
    assert record.landmark_names == ["a", "b", "c"]
    at = loss_along_line(problem, flats[0], found.vectors[0], [float(found.landmarks[1, 0])])
    with torch.no_grad():
        assert at.train_loss[0] == pytest.approx(
            float(nn.CrossEntropyLoss()(nets[1](problem.inputs), problem.targets)), rel=1e-12
        )


class Logarithm(nn.Module):
    """``f(x) = log(w_0) + w_1 x``: NaN for negative w_0, infinite at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(self.w[0]) + self.w[1] * x


def test_what_is_not_finite_is_kept_counted_and_told() -> None:
    problem = Problem(Logarithm(), random(6, 1), random(6, 1), nn.MSELoss())
    record = loss_plane(problem, torch.eye(2, dtype=torch.float64), points=5, span=2)
    w = 1 + record.x
    assert np.isnan(record.loss[w < 0]).all()
    assert np.isinf(record.loss[w == 0]).all()
    assert np.isfinite(record.loss[w > 0]).all()
    assert record.not_finite == (w <= 0).sum() * 5
    assert record.status is Status.NOT_FINITE
    line = loss_along_line(problem, problem.network.flat, torch.tensor([1.0, 0.0], dtype=torch.float64), [-3.0, 0.0])
    assert line.status is Status.NOT_FINITE
    assert np.isnan(line.train_loss[0])
    assert np.isfinite(line.train_loss[1])
    sampled = adaptive_loss_plane(problem, torch.eye(2, dtype=torch.float64), samples=300, start=5, span=2)
    assert sampled.not_finite == (~np.isfinite(sampled.loss)).sum() > 0
    last = sampled.generation == sampled.generation.max()
    assert np.abs(sampled.x[last] + 1).max() < 0.3, "cells at the edge of the hole come first"


class Ridge(nn.Module):
    """A loss with one steep ring: ``L = 1 + tanh(50 (|w| - 1))``."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (1.01 + torch.tanh(50 * (self.w.norm() - 1))) * torch.ones_like(x)


def test_adaptive_points_lie_where_the_loss_changes() -> None:
    one = torch.ones(1, 1, dtype=torch.float64)
    problem = Problem(Ridge(), one, 0 * one, nn.MSELoss())
    record = adaptive_loss_plane(problem, torch.eye(2, dtype=torch.float64), samples=400, span=2)
    assert 300 <= len(record.x) <= 400
    assert len({(x, y) for x, y in zip(record.x, record.y, strict=True)}) == len(record.x)
    radius = np.hypot(record.x, record.y)
    np.testing.assert_allclose(record.loss, (1.01 + np.tanh(50 * (radius - 1))) ** 2, rtol=1e-9, atol=1e-12)
    uniform = loss_plane(problem, torch.eye(2, dtype=torch.float64), points=20, span=2)
    near = np.abs(np.hypot(*np.meshgrid(uniform.x, uniform.y)) - 1) < 0.1
    assert (np.abs(radius - 1) < 0.1).mean() > 4 * near.mean()
    assert (np.diff(record.generation) >= 0).all()


def test_spending_everything_on_the_first_grid_is_the_grid() -> None:
    problem = problem_of()
    sampled = adaptive_loss_plane(problem, random_directions(problem), samples=25, start=5)
    record = loss_plane(problem, random_directions(problem), points=5)
    assert len(sampled.x) == 25
    np.testing.assert_allclose(sampled.loss, record.loss.reshape(-1), rtol=1e-13)


def test_bad_requests_are_refused() -> None:
    problem, eye = problem_of(), torch.eye(67, dtype=torch.float64)
    for text, call in {
        "unknown; write 'filter'": lambda: random_directions(problem, normalize="neuron"),
        "At least one direction": lambda: random_directions(problem, 0),
        "two directions, found 1": lambda: loss_plane(problem, random_directions(problem, 1)),
        "at least 2 points": lambda: loss_plane(problem, eye[:2], points=1),
        "positive half-width": lambda: loss_plane(problem, eye[:2], span=-1),
        "with low < high": lambda: loss_plane(problem, eye[:2], span=((0, 1), (1, 0))),
        "bn='never' is unknown": lambda: loss_plane(problem, eye[:2], bn="never"),
        "data='all' is unknown": lambda: loss_plane(problem, eye[:2], data="all"),
        "9 x 9 points, and 80 samples": lambda: adaptive_loss_plane(problem, eye[:2], samples=80),
        "nothing would be seen": lambda: loss_plane(problem, 0 * eye[:2]),
        "point the same way": lambda: given_directions(problem, torch.stack([eye[0], 2 * eye[0]])),
        "two points and a plane three": lambda: directions_through(problem, module()),
        "fewer than 2 dimensions": lambda: directions_through(problem, module(1), module(2), module(2)),
        "at least 3 checkpoints": lambda: trajectory_directions(train(problem, steps=1, checkpoints=())),
    }.items():
        with pytest.raises(InputError, match=text):
            call()
    with pytest.raises(ShapeError, match=r"\(k, 67\) are needed"):
        loss_plane(problem, eye[:2, :5])
    with pytest.raises(ShapeError, match="another network"):
        directions_through(problem, module(), nn.Linear(4, 3).double())


class Counted(nn.Module):
    """Integer inputs, an operation in place, a parameter without gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)
        self.head.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.table(x).mean(1)
        h.mul_(2).relu_()
        return self.head(h)


def test_integer_inputs_operations_in_place_and_frozen_parameters_are_served() -> None:
    net = Counted().double()
    words = torch.randint(0, 9, (12, 5), generator=torch.Generator().manual_seed(0))
    problem = Problem(net, words, torch.arange(12) % 3, nn.CrossEntropyLoss())
    directions = random_directions(problem)
    record = loss_plane(problem, directions, points=4)
    exact, _ = reference.surface(net, words, problem.targets, nn.CrossEntropyLoss(), directions.vectors, grid(record))
    np.testing.assert_allclose(record.loss.reshape(-1), exact, rtol=1e-12)


def test_networks_that_mix_examples_have_a_surface_while_one_batch_holds_all(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 3)).double()
    problem = problem_of(net)
    directions = random_directions(problem)
    record = loss_plane(problem, directions, points=3)
    exact, _ = reference.surface(net, problem.inputs, problem.targets, nn.CrossEntropyLoss(), directions.vectors, grid(record))
    np.testing.assert_allclose(record.loss.reshape(-1), exact, rtol=1e-10)
    with pytest.raises(BatchCoupled):
        hessian_directions(problem)
    monkeypatch.setattr(affine, "_BATCHED_WORK", 0)
    monkeypatch.setattr(affine, "_ROWS", 20)
    with pytest.raises(BatchCoupled, match=r"depends|mixes|changes"):
        loss_plane(problem, directions, points=3)


def test_a_network_that_writes_into_its_inputs_is_refused() -> None:
    data = random(5, 4)
    before = data.clone()
    with pytest.raises(UnsupportedLayer, match="writes into its own inputs"):
        Problem(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3)).double(), data, torch.zeros(5, 3).double(), nn.MSELoss())
    assert torch.equal(data, before)
