"""The split algebra against wide Hessians by plain autograd, for every kind of unit."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.status import Status
from isthmus.curvature import certify, count_inertia, dense_hessian, polish
from isthmus.embedding import Growth, escape, grow, plant, predict_inertia, unit_curvature
from isthmus.embedding.blocks import split_blocks
from isthmus.linops.batched_lanczos import batched_extremes
from isthmus.model.derivatives import loss_gradient
from isthmus.model.problem import Problem
from isthmus.model.resizing import module_of, unit_group
from isthmus.model.unit_derivatives import FrozenErrors, UnitBlocks
from isthmus.model.zoo import mlp
from isthmus.results.critical import Inertia
from tests.embedding.fixtures import SADDLE_2_LOSS, WIDTH_1, WIDTH_2, WIDTH_2_LOSS, flat, steps_problem
from tests.embedding.networks import KINDS
from tests.embedding.networks import problem as built
from tests.reference import splits


def _wide_hessian(problem: Problem) -> torch.Tensor:
    return splits.dense_hessian(module_of(problem.network), problem.inputs, problem.targets, nn.MSELoss())


def _maps(narrow: Problem, wide: Problem, layer: str, unit: int, alpha: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A: narrow perturbation as a wide one; Q: antisymmetric motions (v, c) of unit and clone, as columns."""
    group, twin = unit_group(narrow, layer), unit_group(wide, layer)
    one, other = UnitBlocks.of(narrow, group), UnitBlocks.of(wide, twin)
    own, out = one.sizes
    columns = []
    for k in range(own + out):
        e = torch.eye(own + out, dtype=torch.float64)[k]
        mine, theirs = torch.zeros(twin.size, own).double(), torch.zeros(twin.size, out).double()
        mine[unit], mine[-1] = alpha * e[:own], -(1 - alpha) * e[:own]
        theirs[unit], theirs[-1] = e[own:], -e[own:]
        made = other.scatter(mine, theirs)
        columns.append(
            wide.network.layout.flatten({k: made.get(k, torch.zeros_like(v)) for k, v in wide.network.parameters.items()})
        )
    point = narrow.network.flat
    images = []
    for k in range(len(point)):
        moved = narrow.at(point + torch.eye(len(point), dtype=torch.float64)[k])
        images.append(grow(moved, Growth(layer, {unit: (1 - alpha, alpha)})).network.flat - wide.network.flat)
    return torch.stack(images, dim=1), torch.stack(columns, dim=1)


@pytest.mark.parametrize(
    ("kind", "alpha"), [*((kind, 0.3) for kind in KINDS), ("dense, first layer", 1.0), ("conv with batch norm", -0.7)]
)
def test_congruence_of_the_wide_hessian(kind: str, alpha: float) -> None:
    """``A^T H A = H_n``, ``A^T H Q = 0``, ``Q^T H Q = [[a(1-a) S, D^T], [D, 0]]`` at a point that is not critical."""
    narrow, layer = built(kind)
    wide = grow(narrow, Growth(layer, {1: (1 - alpha, alpha)})).problem
    hessian, (a, q) = _wide_hessian(wide), _maps(narrow, wide, layer, 1, alpha)
    blocks = split_blocks(FrozenErrors(narrow, unit_group(narrow, layer)), [1])
    s, d = blocks.stiffness[0], blocks.coupling[0]
    corner = torch.zeros(len(d), len(d), dtype=torch.float64)
    expected = torch.cat([torch.cat([alpha * (1 - alpha) * s, d.T], 1), torch.cat([d, corner], 1)], 0)
    exact = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(a.T @ hessian @ a, _wide_hessian(narrow), **exact)
    torch.testing.assert_close(a.T @ hessian @ q, torch.zeros(a.shape[1], q.shape[1]).double(), **exact)
    torch.testing.assert_close(q.T @ hessian @ q, expected, **exact)


@pytest.mark.parametrize("kind", KINDS)
def test_predicted_inertia_equals_the_wide_one(kind: str) -> None:
    narrow, layer = built(kind, seed=1)
    for weights in ((0.3, 0.7), (1.0, 0.0), (0.5, 0.7, -0.2)):
        growth = Growth(layer, {0: weights})
        found = predict_inertia(narrow, growth)
        values = torch.linalg.eigvalsh(_wide_hessian(grow(narrow, growth).problem)).numpy()
        wide = count_inertia(values)
        assert found.resolved and wide.resolved
        assert found.wide == wide.inertia, weights


def test_pair_of_a_dense_unit_is_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    w, b, u = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((3, 2), (3,), (2, 3)))
    x, y = (torch.randn(9, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    net = mlp([2, 3, 2], "tanh", output_bias=False).double()
    narrow = Problem(net, x, y, nn.MSELoss()).at({"0.weight": w, "0.bias": b, "2.weight": u})
    blocks = split_blocks(FrozenErrors(narrow, unit_group(narrow, "0")))
    for unit in range(3):
        s, d = splits.two_layer_pair(w, b, u, x, y, unit)
        torch.testing.assert_close(blocks.stiffness[unit], s)
        torch.testing.assert_close(blocks.coupling[unit], d)


def test_two_layers_at_once() -> None:
    narrow, _ = built("dense, first layer")
    growths = [Growth("0", {0: (0.4, 0.6), 2: (0.5, 0.5)}), Growth("2", {1: (1.5, -0.5)})]
    values = torch.linalg.eigvalsh(_wide_hessian(grow(narrow, growths).problem)).numpy()
    assert predict_inertia(narrow, growths).wide == count_inertia(values).inertia


def test_reference_points_of_the_one_dimensional_problem() -> None:
    one = polish(steps_problem(1, flat(WIDTH_1))).problem
    record = unit_curvature(one)
    np.testing.assert_allclose([record.lowest[0], record.highest[0]], [-0.019405116416, 6.915875026679], rtol=1e-8)
    assert abs(record.escape[0] + 0.019405116416 / 2) < 1e-9 and record.coupling[0] < 1e-13
    for alpha, expected in {-1: (1, 1, 4), 0.25: (1, 1, 4), 0.5: (1, 1, 4), 2: (1, 1, 4), 0: (0, 3, 3), 1: (0, 3, 3)}.items():
        found = predict_inertia(one, Growth("0", {0: (1 - alpha, alpha)}))
        assert found.wide == Inertia(*expected)
        assert float(loss_gradient(grow(one, Growth("0", {0: (1 - alpha, alpha)})).problem).norm()) <= 1e-13
        assert found.label == ("undecided" if alpha in (0, 1) else "strict saddle")
    two = polish(steps_problem(2, flat(WIDTH_2))).problem
    for unit in (0, 1):
        assert predict_inertia(two, Growth("0", {unit: (0.5, 0.5)})).wide == Inertia(1, 1, 7)
        assert predict_inertia(two, Growth("0", {unit: (1.0, 0.0)})).wide == Inertia(0, 3, 6)


@pytest.mark.parametrize("seed", range(3))
def test_vector_outputs_make_every_split_a_saddle(seed: int) -> None:
    """Planted 2-2-3 tanh points: rank D = 2, strict saddle for every share, 0 and 1 included."""
    generator = torch.Generator().manual_seed(seed)
    x = 1.5 * torch.randn(40, 2, generator=generator, dtype=torch.float64)
    net = mlp([2, 2, 3], "tanh", seed=seed).double()
    start = Problem(net, x, torch.zeros(40, 3).double(), nn.MSELoss())
    start = start.at(1.2 * torch.randn(start.network.size, generator=generator, dtype=torch.float64))
    point = plant(start, size=0.3, seed=seed)
    assert float(loss_gradient(point).norm()) < 1e-13
    for unit in (0, 1):
        for alpha in (0.0, 0.5, 1.0, 1.5):
            growth = Growth("0", {unit: (1 - alpha, alpha)})
            found, wide = predict_inertia(point, growth), certify(grow(point, growth).problem)
            assert found.label == wide.label == "strict saddle"
            assert found.wide == wide.inertia
            assert "every alpha" in found.shares[0]


def test_definite_stiffness_gives_minima_on_one_side() -> None:
    """Bias-free tanh 2-1-1 points: S is definite for some seeds, and the verdict names the side."""
    sides = {"0 < alpha < 1": (0.3, 1.5), "alpha outside [0, 1]": (1.5, 0.3)}
    seen = set()
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        net = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Tanh(), nn.Linear(1, 1, bias=False)).double()
        x = torch.randn(40, 2, generator=generator, dtype=torch.float64)
        start = Problem(net, x, torch.zeros(40, 1).double(), nn.MSELoss())
        point = plant(start.at(torch.randn(3, generator=generator, dtype=torch.float64)), size=1.0, seed=seed)
        if certify(point).label != "strict minimum":
            continue
        words = predict_inertia(point, Growth("0", {0: (0.7, 0.3)})).shares[0]
        for side, (calm, steep) in sides.items():
            if side in words.split(";")[0] and "minimum" in words:
                seen.add(side)
                low = grow(point, Growth("0", {0: (1 - calm, calm)})).problem
                high = grow(point, Growth("0", {0: (1 - steep, steep)})).problem
                assert certify(low).label == "minimum with flat directions"
                assert predict_inertia(point, Growth("0", {0: (1 - calm, calm)})).label == "minimum with flat directions"
                assert certify(high).label == "strict saddle"
    assert seen


def test_relu_with_one_output_is_undecided() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    start = Problem(mlp([2, 2, 1], "relu", seed=3).double(), x, torch.zeros(40, 1).double(), nn.MSELoss())
    point = plant(start, size=0.1)
    found = predict_inertia(point, Growth("0", {0: (0.5, 0.5)}))
    assert found.label == "undecided" and "no curvature at second order" in found.shares[0]
    assert found.wide.zero == found.narrow.zero + 4 and found.wide.negative == found.narrow.negative


def test_null_units() -> None:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    net = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 2)).double()
    start = Problem(net, x, torch.zeros(40, 2).double(), nn.MSELoss())
    point = plant(start.at(torch.randn(12, generator=generator, dtype=torch.float64)), size=0.3)
    grown = grow(point, "0", how="null", alpha=0.7)
    assert grown.critical and float(loss_gradient(grown.problem).norm()) < 1e-13
    found = predict_inertia(point, grown.growths[0])
    assert found.wide == count_inertia(torch.linalg.eigvalsh(_wide_hessian(grown.problem)).numpy()).inertia
    two = polish(steps_problem(2, flat(WIDTH_2))).problem
    flagged = grow(two, "0", how="null", alpha=0.7)
    assert not flagged.critical and "does not stay one" in flagged.notes[0]
    assert abs(float(loss_gradient(flagged.problem).norm()) - 4.2e-2) < 1e-3
    quiet = grow(two, "0", how="null", alpha=0.0)
    assert quiet.critical and float(loss_gradient(quiet.problem).norm()) < 1e-13


def test_escape_falls_as_predicted_and_leaves() -> None:
    """The pure direction keeps the mirror symmetry of the data and rests at the known saddle of index 1; noise breaks it."""
    route = escape(polish(steps_problem(1, flat(WIDTH_1))).problem, alpha=0.5)
    record = route.record
    ratio = record.measured / record.predicted
    assert (np.abs(ratio[record.size <= 1e-2] - 1) < 0.01).all()
    assert abs(record.eigenvalue + 9.7026e-3) < 1e-6 and abs(record.time_constant - 103.07) < 0.01
    assert record.escaped and abs(record.loss_after - WIDTH_2_LOSS) < 1e-11
    assert record.locked and abs(record.loss_locked - SADDLE_2_LOSS) < 1e-9
    assert certify(route.escaped).label == "strict minimum"
    hessian = dense_hessian(route.grown)
    assert abs(float(route.direction @ hessian @ route.direction) - record.eigenvalue) < 1e-10


@pytest.mark.slow
def test_without_a_symmetry_nothing_is_locked() -> None:
    """A planted point on random data: no pure push comes to rest at a saddle."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    start = Problem(mlp([2, 1, 1], "tanh").double(), x, torch.zeros(40, 1).double(), nn.MSELoss())
    point = plant(start.at(torch.randn(5, generator=generator, dtype=torch.float64)), size=2.0, seed=3)
    record = escape(point).record
    assert record.escaped and not record.locked and np.isnan(record.loss_locked)


def test_no_gap_around_the_cutoff_is_no_answer() -> None:
    """A cut-off a third above the smallest of the eigenvalues 0.063, 13, 458: zero cannot be told from the rest."""
    one = polish(steps_problem(1, flat(WIDTH_1))).problem
    found = predict_inertia(one, Growth("0", {0: (0.5, 0.5)}), cutoff=0.084 / 458)
    assert found.label == "unresolved" and not found.resolved and found.status is Status.UNRESOLVED


def test_lanczos_and_matrices_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow, layer = built("dense, second layer")
    exact = unit_curvature(narrow, layers=[layer], batches=3)
    monkeypatch.setattr(sys.modules["isthmus.embedding.unit_curvature"], "_DENSE", 0)
    krylov = unit_curvature(narrow, layers=[layer], batches=3)
    assert exact.exact == [True] and krylov.exact == [False]
    for name in ("lowest", "highest", "escape", "coupling", "lowest_error"):
        np.testing.assert_allclose(getattr(krylov, name), getattr(exact, name), rtol=1e-6, atol=1e-12)


def test_interval_covers_fresh_samples() -> None:
    """The standard error is the scatter of S over samples: a sixteenth of the data lies within a few of it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4096, 3, generator=generator, dtype=torch.float64)
    y = torch.sin(2 * x[:, :1]) + 0.5 * torch.randn(4096, 1, generator=generator, dtype=torch.float64)
    whole = Problem(mlp([3, 4, 1], "tanh", seed=1).double(), x, y, nn.MSELoss())
    truth = unit_curvature(whole, batches=1)
    part = unit_curvature(whole.subset(slice(0, 512)), batches=8)
    assert (part.highest_error > 0).all()
    assert (np.abs(part.highest - truth.highest) < 6 * part.highest_error).all()


def test_batched_lanczos_finds_both_ends() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(7, 12, 12, generator=generator, dtype=torch.float64)
    a = a + a.mT
    a[0] = torch.outer(a[0, 0], a[0, 0])
    found = batched_extremes(
        lambda v: (a @ v[..., None])[..., 0], torch.randn(7, 12, generator=generator, dtype=torch.float64), 12
    )
    values = torch.linalg.eigvalsh(a)
    torch.testing.assert_close(found.low, values[:, 0])
    torch.testing.assert_close(found.high, values[:, -1])
    assert bool((found.high_residuals < 1e-8).all())
