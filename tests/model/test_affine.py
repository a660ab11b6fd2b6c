"""Losses on lines and planes of parameters against a copied module whose parameters are set one by one."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, ShapeError
from isthmus.model import affine
from isthmus.model.affine import AffineSlice
from isthmus.model.problem import Problem
from tests.model.architectures import ARCHITECTURES, make
from tests.reference import surfaces as reference

POINTS = np.array([[0.0, 0.0], [0.7, -0.4], [0.7, 0.3], [-1.0, 0.3], [0.7, -0.4]])


def case(name: str, samples: int = 5) -> tuple[nn.Module, Tensor, Tensor]:
    module, inputs = make(name, samples)
    with torch.no_grad():
        classes = module(inputs).shape[1]
    return module, inputs, torch.randint(0, classes, (samples,), generator=torch.Generator().manual_seed(3))


def directions(problem: Problem, count: int = 2, scale: float = 0.3) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return scale * torch.randn(count, problem.network.size, dtype=torch.float64, generator=generator).to(problem.network.dtype)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_point_by_point_and_many_at_a_time(name: str, batched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affine, "_BATCHED_WORK", 10**9 if batched else 0)
    module, inputs = make(name)
    with torch.no_grad():
        targets = torch.rand_like(module(inputs))
    problem = Problem(module, inputs, targets, nn.MSELoss())
    vectors = directions(problem)
    slices = AffineSlice(problem, vectors, recalibrate=False)
    assert slices.batched == batched
    loss, wrong = slices.scores(POINTS)
    exact = reference.surface(module, inputs, targets, nn.MSELoss(), vectors, POINTS)
    np.testing.assert_allclose(loss, exact[0], rtol=1e-9)
    assert np.isnan(wrong).all()


class Scaled(nn.Module):
    """Data pass a constant operation, or a parameter, before the first layer, which is used again later."""

    def __init__(self, trained: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5), requires_grad=trained)
        self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.layer(torch.tanh(self.layer(self.scale * x - 0.5)))))


@pytest.mark.parametrize(("trained", "served"), [(False, ("layer.weight",)), (True, ())])
def test_only_products_with_data_that_no_parameter_touched_are_computed_once(
    trained: bool, served: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(affine, "_BATCHED_WORK", 0)
    module, inputs = Scaled(trained).double(), torch.randn(7, 6, dtype=torch.float64)
    labels = torch.arange(7) % 3
    problem = Problem(module, inputs, labels, nn.CrossEntropyLoss())
    vectors = directions(problem)
    slices = AffineSlice(problem, vectors)
    assert slices.served == served
    exact = reference.surface(module, inputs, labels, nn.CrossEntropyLoss(), vectors, POINTS)
    np.testing.assert_allclose(slices.scores(POINTS)[0], exact[0], rtol=1e-10)


class Branching(nn.Module):
    """Which layer sees the data first depends on the data and on the parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.head.bias[0] > 0:
            return self.head(torch.relu(self.two(torch.tanh(self.one(x)))))
        return self.head(torch.relu(self.one(x)) + torch.tanh(self.two(x)) + x[: len(x)].sum())


@pytest.mark.parametrize("batched", [False, True])
def test_data_dependent_control_flow(batched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affine, "_BATCHED_WORK", 10**9 if batched else 0)
    module, inputs = Branching().double(), torch.randn(7, 6, dtype=torch.float64)
    with torch.no_grad():
        module.head.bias[0] = 0.05
    labels = torch.arange(7) % 3
    problem = Problem(module, inputs, labels, nn.CrossEntropyLoss())
    vectors = directions(problem)
    signs = 0.05 + POINTS @ vectors[:, -3].numpy() > 0
    assert len(set(signs)) == 2
    exact = reference.surface(module, inputs, labels, nn.CrossEntropyLoss(), vectors, POINTS)
    np.testing.assert_allclose(AffineSlice(problem, vectors).scores(POINTS)[0], exact[0], rtol=1e-10)


class Viewed(nn.Module):
    """``view`` refuses an output whose channels lie last in memory; ``flatten`` does not."""

    def __init__(self, view: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.ReLU())
        self.head, self.view = nn.Linear(4 * 16, 3), view

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        return self.head(h.view(len(h), -1) if self.view else h.flatten(1))


@pytest.mark.parametrize("view", [False, True])
def test_convolutions_in_single_precision(view: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affine, "_BATCHED_WORK", 0)
    module, inputs, labels = Viewed(view), torch.randn(9, 1, 6, 6), torch.arange(9) % 3
    problem = Problem(module, inputs, labels, nn.CrossEntropyLoss())
    vectors = directions(problem, scale=0.1)
    slices = AffineSlice(problem, vectors)
    assert slices.served == ("body.0.weight",)
    exact = reference.surface(module.double(), inputs.double(), labels, nn.CrossEntropyLoss(), vectors.double(), POINTS)
    np.testing.assert_allclose(slices.scores(POINTS)[0], exact[0], rtol=2e-5)


@pytest.mark.parametrize("recalibrate", [False, True])
@pytest.mark.parametrize("name", ["cnn with batch norm", "resnet"])
def test_batch_norm_statistics_are_measured_at_every_point_or_kept(name: str, recalibrate: bool) -> None:
    module, inputs, labels = case(name, 8)
    problem = Problem(module, inputs, labels, nn.CrossEntropyLoss(), test=(inputs[:3], labels[:3]))
    vectors, bn = directions(problem, scale=0.1), "recalibrate" if recalibrate else "keep"
    exact = reference.surface(module, inputs, labels, nn.CrossEntropyLoss(), vectors, POINTS, bn=bn)
    np.testing.assert_allclose(AffineSlice(problem, vectors, recalibrate=recalibrate).scores(POINTS)[0], exact[0], rtol=1e-9)
    other = AffineSlice(problem, vectors, recalibrate=not recalibrate).scores(POINTS[1:2])[0]
    assert abs(other[0] / exact[0][1] - 1) > 1e-6


@pytest.mark.parametrize("samples", [1, 2, 3, 7, 8, 9, 17])
def test_nothing_depends_on_chunking(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affine, "_BATCHED_WORK", 0)
    monkeypatch.setattr(affine, "_ROWS", 4)
    module, inputs, labels = case("mlp", samples)
    problem = Problem(module, inputs, labels, nn.CrossEntropyLoss())
    vectors = directions(problem)
    loss, wrong = AffineSlice(problem, vectors).scores(POINTS)
    exact = reference.surface(module, inputs, labels, nn.CrossEntropyLoss(), vectors, POINTS)
    np.testing.assert_allclose(loss, exact[0], rtol=1e-12)
    np.testing.assert_allclose(wrong, exact[1], rtol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_directions_and_frozen_parameters(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affine, "_BATCHED_WORK", 0)
    module, inputs, labels = case("mlp")
    module[-1].bias.requires_grad_(False)
    problem = Problem(module, inputs, labels, nn.CrossEntropyLoss())
    vectors = directions(problem, count)
    points = np.random.default_rng(0).standard_normal((5, count))
    exact = reference.surface(module, inputs, labels, nn.CrossEntropyLoss(), vectors, points)
    loss, wrong = AffineSlice(problem, vectors).scores(points)
    np.testing.assert_allclose(loss, exact[0], rtol=1e-12)
    np.testing.assert_allclose(wrong, exact[1], rtol=1e-12)


def test_ignored_labels_count_neither_way() -> None:
    module, inputs, labels = case("mlp", 9)
    ignoring = nn.CrossEntropyLoss(ignore_index=int(labels[0]))
    problem = Problem(module, inputs, labels, ignoring)
    kept = labels != labels[0]
    vectors = directions(problem)
    exact = reference.surface(module, inputs[kept], labels[kept], nn.CrossEntropyLoss(), vectors, POINTS)
    loss, wrong = AffineSlice(problem, vectors).scores(POINTS)
    np.testing.assert_allclose(loss, exact[0], rtol=1e-12)
    np.testing.assert_allclose(wrong, exact[1], rtol=1e-12)


def test_what_does_not_fit_is_refused() -> None:
    module, inputs, labels = case("mlp")
    problem = Problem(module, inputs, labels, nn.CrossEntropyLoss())
    with pytest.raises(ShapeError, match="Directions of shape"):
        AffineSlice(problem, torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="Coefficients of shape"):
        AffineSlice(problem, directions(problem)).scores(np.zeros((4, 3)))
    with pytest.raises(InputError, match="no test data"):
        AffineSlice(problem, directions(problem), test=True)
