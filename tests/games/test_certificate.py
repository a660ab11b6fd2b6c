"""Certificates: against convex programs, enumeration, hand calculation and finite changes."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from isthmus import Problem
from isthmus._core.errors import BudgetError, HypothesisError, InputError, ShapeError, UnsupportedLayer
from isthmus.games.equilibrium import price_of_anarchy, social_optimum, wardrop_equilibrium
from isthmus.games.pathgame import PathGame
from isthmus.games.solvers import MirrorDescent
from isthmus.model.data import Sgd
from isthmus.model.derivatives import loss_gradient
from isthmus.results.games import BraessScan, Certificate, PathFlows
from isthmus.training import train
from tests.games.networks import classification, convolutional, dense, easy, half_problem, images, regression
from tests.model.networks import Encoder, Recurrent, Residual, Reused, Words
from tests.reference import games as reference


def scaled(problem: Problem, value: float) -> float:
    """Losses are summed squares; the oracles use half the squares, averaged over samples."""
    return 2 * problem.samples * value


@pytest.mark.parametrize("seed", range(30))
def test_linear_certificate_bounds_the_excess(seed):
    problem = regression((4, 3 + seed % 3, 5, 3), seed, relu=False, bias=False)
    game = PathGame(problem, gates="linear")
    found = game.certificate()
    best, _ = reference.best_matrix(problem.inputs.numpy(), problem.targets.numpy(), game.demands.numpy()[:4])
    assert found.kind == "exact" and found.gates == "linear"
    assert -1e-7 <= found.loss - scaled(problem, best) <= found.gap + 1e-7
    for part in (found.gap_by_input, found.gap_by_output, found.gap_by_sample):
        assert part.sum() == pytest.approx(found.gap, rel=1e-10)
    assert found.best_path_gain == pytest.approx(found.gap_by_input.max())


def test_larger_budgets_certify_more():
    problem = regression((4, 6, 3), 1, relu=False)
    game = PathGame(problem)
    own = game.demands.numpy()
    wide = game.certificate(budgets=own * 3 + 1)
    best, _ = reference.best_matrix(problem.inputs.numpy(), problem.targets.numpy(), own[:4] * 3 + 1)
    assert game.certificate().gap < wide.gap
    assert wide.loss - scaled(problem, best) <= wide.gap + 1e-7
    with pytest.raises(InputError, match="below the network's own path norm"):
        game.certificate(budgets=own * 0.5)
    with pytest.raises(ShapeError, match="one for each"):
        game.certificate(budgets=own[:2])


def all_paths(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Costs, types, values and rates ``(p, n c)`` of every path of a dense bias-free ReLU network."""
    weights = [layer.weight.detach().numpy() for layer in problem.network.module if isinstance(layer, nn.Linear)]
    inputs, outputs = problem.inputs.numpy(), weights[-1].shape[0]
    found = reference.paths(weights)
    masks = reference.gates(weights, None, inputs, True)
    rates = np.zeros((len(found), len(inputs), outputs))
    for p, (units, _) in enumerate(found):
        gate = np.prod([m[:, u] for m, u in zip(masks, units[1:-1], strict=True)], axis=0)
        rates[p, :, units[-1]] = inputs[:, units[0]] * gate
    types = np.array([units[0] for units, _ in found])
    values = np.array([value for _, value in found])
    return rates.reshape(len(found), -1), types, values, np.array([units[-1] for units, _ in found])


@pytest.mark.parametrize("widths", [(4, 8, 3), (4, 6, 6, 3), (4, 3, 3), (3, 4, 4, 4, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_frozen_gate_certificate_bounds_the_excess(widths, seed):
    problem = regression(widths, seed)
    game = PathGame(problem)
    rates, types, _, _ = all_paths(problem)
    targets = problem.targets.numpy().reshape(-1)
    best = scaled(problem, reference.best_path_values(rates, types, game.demands.numpy()[:-1], targets, problem.samples))
    bound, exact = game.certificate(), game.certificate(prices="exact")
    assert (bound.kind, exact.kind, exact.gates) == ("upper_bound", "exact", "frozen")
    assert -1e-6 <= exact.loss - best <= exact.gap + 1e-6
    assert exact.gap <= bound.gap * (1 + 1e-12)


TABLE = {  # shape: loss, least loss with these gates, gap at the start; the same after 300 steps
    (4, 8, 3): ((1.51009, 0.05516, 9.01290), (0.15548, 0.05969, 0.729)),
    (4, 6, 6, 3): ((0.67519, 0.00454, 7.78204), (0.17320, 0.06313, 2.552)),
    (4, 3, 3): ((0.50171, 0.18589, 1.16156), (0.22905, 0.16652, 0.317)),
    (4, 30, 3): ((2.01829, 0.00044, 28.17683), (0.04391, 0.00000, 0.596)),
}


@pytest.mark.parametrize("shape", TABLE)
def test_frozen_gates_along_training_against_the_table(shape):
    random = np.random.default_rng(11)
    inputs, targets = random.normal(size=(24, shape[0])), 0.5 * random.normal(size=(24, shape[-1]))
    module = dense(shape, 0)
    for layer in (m for m in module if isinstance(m, nn.Linear)):
        layer.weight.data = torch.tensor(random.normal(size=layer.weight.shape) * np.sqrt(2 / layer.in_features))
    problem = half_problem(module, inputs, targets)
    for steps, expected, slack in zip((0, 300), TABLE[shape], (1e-5, 2e-3), strict=True):
        point, velocity = problem.network.flat, 0.0
        for t in range(steps):
            velocity = 0.9 * velocity + loss_gradient(problem.at(point)) / 48
            point = point - 0.05 * (1 - t / steps) * velocity
        here = problem.at(point)
        game = PathGame(here)
        found = game.certificate(prices="exact")
        current = Problem(copy.deepcopy(module), here.inputs, here.targets, nn.MSELoss(reduction="sum")).at(point)
        torch.nn.utils.vector_to_parameters(point, current.network.module.parameters())
        rates, types, _, _ = all_paths(current)
        best = reference.best_path_values(rates, types, game.demands.numpy()[:-1], targets.reshape(-1), 24)
        measured = found.loss / 48, best, found.gap / 48
        np.testing.assert_allclose(measured, expected, atol=slack * max(1, expected[2]))
        assert measured[0] - best <= measured[2] + 1e-9


@pytest.mark.parametrize("make", [regression, classification])
@pytest.mark.parametrize("widths", [(5, 7, 3), (4, 6, 5, 3), (3, 4, 4, 4, 2)])
@pytest.mark.parametrize("seed", range(4))
def test_prices_bracket_enumeration(make, widths, seed):
    problem = make(widths, seed)
    game = PathGame(problem)
    rates, types, _, _outputs = all_paths(problem)
    costs = rates @ game.prices.numpy().reshape(-1)
    exact = np.array([np.abs(costs[types == j]).max() for j in range(widths[0])])
    z = problem.inputs.numpy()[:, :, None] * game.prices.numpy()[:, None, :]
    loose = np.maximum(np.maximum(z, 0).sum(0), np.maximum(-z, 0).sum(0)).max(axis=1)
    looser = np.abs(z).max(axis=2).sum(axis=0)
    bound, found = game.certificate(), game.certificate(prices="exact")
    np.testing.assert_allclose(found.price_upper[:-1], exact, rtol=1e-10)
    assert (bound.price_lower[:-1] <= exact * (1 + 1e-12)).all()
    assert (exact <= bound.price_upper[:-1] * (1 + 1e-12)).all()
    assert (bound.price_upper[:-1] <= loose * (1 + 1e-12)).all()
    assert (loose <= looser * (1 + 1e-12)).all()
    j, *_, _k = found.best_path.tolist()
    assert found.best_path_gain == pytest.approx(found.used[j] + found.budgets[j] * exact[j], rel=1e-9)
    for record in (bound, found):
        for part in (record.gap_by_input, record.gap_by_output, record.gap_by_sample):
            assert part.sum() == pytest.approx(record.gap, rel=1e-9)
    assert bound.gap_lower <= found.gap * (1 + 1e-12)


@pytest.mark.parametrize("widths", [(4, 5, 3), (4, 5, 4, 3)])
def test_prices_with_biases_by_an_input_of_ones(widths):
    """A bias is a weight from an input that is one; a chain of hidden ones carries it to later layers."""
    problem = regression(widths, 3, bias=True)
    game = PathGame(problem)
    masks = game.chain.masks(problem.inputs)
    slopes, first = game.prices.numpy(), problem.inputs.numpy()
    candidates = [np.abs(slopes.sum(axis=0)).max()]
    for start in range(len(masks)):
        gates = [m.numpy() for m in masks[start:]]
        grid = gates[0] if len(gates) == 1 else np.einsum("na,nb->nab", gates[0], gates[1]).reshape(len(first), -1)
        candidates.append(np.abs(grid.T @ slopes).max())
    exact = game.certificate(prices="exact")
    assert exact.price_upper[-1] == pytest.approx(max(candidates), rel=1e-10)
    bound = game.certificate()
    assert bound.price_lower[-1] <= exact.price_upper[-1] * (1 + 1e-12) <= bound.price_upper[-1] * (1 + 1e-9)
    assert exact.used.sum() == pytest.approx(float((game.prices * game.outputs).sum()), abs=1e-10)
    assert exact.gap_by_sample.sum() == pytest.approx(exact.gap, rel=1e-9)


@pytest.mark.parametrize("pool", ["max", "average"])
def test_convolutional_prices_by_enumeration(pool):
    module = convolutional(3, pool=pool)
    inputs, labels = images(samples=6, size=6)
    game = PathGame(Problem(module, inputs, labels, nn.CrossEntropyLoss()))
    bound, exact = game.certificate(), game.certificate(prices="exact", limit=1e12)
    assert (bound.price_lower <= exact.price_upper * (1 + 1e-12)).all()
    assert (exact.price_upper <= bound.price_upper * (1 + 1e-12)).all()
    assert exact.gap_by_sample.sum() == pytest.approx(exact.gap, rel=1e-9)
    masks = [m.numpy() for m in game.chain.masks(game.problem.inputs)]
    first = torch.eye(72, dtype=torch.float64).reshape(-1, 2, 6, 6)
    joined = nn.functional.conv2d(first, torch.ones(4, 2, 3, 3).double(), padding=1).flatten(1).numpy() > 0
    gates = masks[0] * (masks[1] if pool == "max" else 1)
    window = nn.functional.avg_pool2d(torch.eye(144, dtype=torch.float64).reshape(-1, 4, 6, 6), 2)
    second = nn.functional.conv2d(window, torch.ones(4, 4, 2, 2).double()).flatten(1).numpy() > 0
    slopes, flat = game.prices.numpy(), inputs.flatten(1).numpy()
    for j in range(0, 72, 11):
        best = 0.0
        for a in np.flatnonzero(joined[j]):
            for b in np.flatnonzero(second[a]):
                best = max(best, np.abs((flat[:, j] * gates[:, a] * masks[-1][:, b]) @ slopes).max())
        assert exact.price_upper[j] == pytest.approx(best, rel=1e-9)


def test_origin_by_hand():
    module = dense((2, 2, 2), 0, relu=False)
    for layer in module:
        layer.weight.data.zero_()
    problem = half_problem(module, np.eye(2), np.eye(2))
    found = PathGame(problem).certificate(budgets=np.array([1.0, 1.0, 0.0]))
    assert found.loss / 4 == pytest.approx(0.5)
    assert found.gap / 4 == pytest.approx(1.0)
    assert found.gradient_norm == 0
    best, _ = reference.best_matrix(np.eye(2), np.eye(2), np.ones(2))
    assert best == pytest.approx(0, abs=1e-9)
    assert found.verdict == "critical, not an equilibrium"


def test_spurious_minimum_of_the_unsigned_game():
    module = dense((2, 2, 3), 0, relu=False)
    module[0].weight.data = torch.tensor([[1.0, 1], [0, 0]]).double()
    module[1].weight.data = torch.tensor([[0.5, 0], [0.5, 0], [0, 1]]).double()
    targets = np.array([[1, 0, -0.5], [0, 1, -0.5]])
    problem = half_problem(module, np.eye(2), targets)
    game = PathGame(problem, signed=False)
    found = game.certificate()
    assert found.loss / 4 == pytest.approx(0.375, abs=1e-9)
    assert found.gap / 4 == pytest.approx(0.5, abs=1e-9)
    np.testing.assert_allclose(found.gap_by_input[:2] / 4, 0.25, atol=1e-9)
    assert found.verdict == "critical (constrained), not an equilibrium"
    assert found.gradient_norm > 0.1 and found.node_gap < 1e-12
    best, _ = reference.best_matrix(np.eye(2), targets, np.ones(2), unsigned=True)
    assert best == pytest.approx(0.125, abs=1e-7)
    solved = game.equilibrate(tolerance=1e-10)
    assert game.costs.loss(solved.loads) / 4 == pytest.approx(0.125, abs=1e-7)
    signed = PathGame(problem)
    assert signed.certificate().gap / 4 == pytest.approx(0.5, abs=1e-9)
    assert signed.costs.loss(signed.equilibrate(tolerance=1e-10).loads) / 4 == pytest.approx(0.0625, abs=1e-6)
    random = np.random.default_rng(0)
    lowest = 1.0
    for _ in range(500):  # nearby points of the simplices are no better: a local minimum
        nearby = copy.deepcopy(module)
        for layer in (nearby[0], nearby[1]):
            noise = torch.tensor(random.dirichlet(np.ones(layer.weight.shape[0]), layer.weight.shape[1]).T)
            layer.weight.data = 0.98 * layer.weight.data + 0.02 * noise
        lowest = min(lowest, float((nearby(problem.inputs) - problem.targets).square().sum().detach()) / 4)
    assert lowest >= 0.375 - 1e-12


def test_descent_reaches_the_equilibrium_of_a_wide_linear_network():
    problem = easy((3, 4, 4, 2), 1, relu=False)
    run = train(problem, Sgd(lr=0.02, momentum=0.9), steps=600, batch=10, checkpoints=())
    game = PathGame(run.problem_at(600))
    best, _ = reference.best_matrix(problem.inputs.numpy(), problem.targets.numpy(), None)
    found = game.certificate()
    assert found.loss == pytest.approx(scaled(problem, best), rel=1e-9)
    assert found.gap < 1e-6 and found.verdict == "equilibrium"


def test_bottleneck_ends_critical_but_no_equilibrium():
    problem = easy((3, 1, 2), 1, relu=False)
    run = train(problem, Sgd(lr=0.02, momentum=0.9), steps=600, batch=10, checkpoints=())
    inputs, targets = problem.inputs.numpy(), problem.targets.numpy()
    fitted = inputs @ np.linalg.lstsq(inputs, targets, rcond=None)[0]
    u, s, v = np.linalg.svd(fitted, full_matrices=False)
    reduced = float(((targets - s[0] * np.outer(u[:, 0], v[0])) ** 2).sum())
    found = PathGame(run.problem_at(600)).certificate()
    assert found.loss == pytest.approx(reduced, rel=1e-8)
    assert found.gap > 0.01 and found.rank_limit == 1
    assert found.verdict == "critical, not an equilibrium of the full game; a hidden level of width 1 limits the rank"


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_equilibrate_reaches_the_best_network_within_budgets(relu, bias):
    problem = regression((3, 4, 2), 4, relu=relu, bias=bias)
    game = PathGame(problem)
    solved = game.equilibrate(tolerance=1e-7)
    strategies = game.strategies()
    rates = strategies.rates.matmat(np.eye(strategies.rates.shape[1]))
    keep = np.abs(rates).sum(axis=1) > 0
    best = reference.best_path_values(
        rates[keep], strategies.types[keep], game.demands.numpy(), problem.targets.numpy().reshape(-1), problem.samples
    )
    assert game.costs.loss(solved.loads) == pytest.approx(scaled(problem, best), rel=1e-6, abs=1e-6)
    certificate = game.certificate(prices="exact")
    assert certificate.loss - game.costs.loss(solved.loads) <= certificate.gap + 1e-7
    assert strategies.gap(solved.flows).absolute <= 1e-7


def test_replicator_on_path_flows():
    random = np.random.default_rng(3)
    module = dense((3, 3, 3), 1, relu=False)
    for layer in module:
        layer.weight.data = layer.weight.data.abs() / layer.weight.data.abs().sum(dim=0)
    problem = half_problem(module, np.eye(3)[[0, 1, 2, 0]] + 0.1, random.uniform(0, 1, (4, 3)))
    game = PathGame(problem, signed=False)
    found = game.equilibrate(solver=MirrorDescent(step=0.3), tolerance=1e-7)
    assert found.gap <= 1e-7 and (np.diff(found.potential_history) <= 1e-12).all()
    best, _ = reference.best_matrix(problem.inputs.numpy(), problem.targets.numpy(), np.ones(3), unsigned=True)
    assert game.costs.loss(found.loads) == pytest.approx(scaled(problem, best), abs=1e-5)


def unsigned_seven() -> PathGame:
    random = np.random.default_rng(7)
    inputs = random.uniform(0, 1, (30, 4))
    inputs /= inputs.sum(axis=1, keepdims=True)
    targets = random.uniform(0, 1, (30, 3))
    module = dense((4, 3), 0, relu=False)
    module[0].weight.data.fill_(1 / 3)
    return PathGame(half_problem(module, inputs, targets), "average", signed=False)


def test_price_of_anarchy_reference_values():
    game = unsigned_seven()
    assert float(game.problem.targets.max()) == pytest.approx(0.980395, abs=1e-6)
    assert game.price_of_anarchy(tolerance=1e-10) == pytest.approx(1.00688, abs=1e-5)
    assert game.costs.loss(game.equilibrate(tolerance=1e-10).loads) / 60 == pytest.approx(0.17667, abs=1e-5)
    best, _ = social_optimum(game.strategies(), tolerance=1e-10)
    assert game.costs.loss(best.loads) / 60 == pytest.approx(0.17237, abs=1e-5)
    oracle, _ = reference.best_matrix(game.problem.inputs.numpy(), game.problem.targets.numpy(), np.ones(4), unsigned=True)
    assert game.costs.loss(best.loads) / 60 == pytest.approx(oracle, abs=1e-7)
    with pytest.raises(HypothesisError, match="signed=False"):
        PathGame(game.problem).price_of_anarchy()


def test_average_optimum_is_the_marginal_equilibrium_and_tolls_reach_it():
    average = unsigned_seven()
    best, _ = social_optimum(average.strategies(), tolerance=1e-9)
    marginal = PathGame(average.problem, "marginal", signed=False).equilibrate(tolerance=1e-9)
    np.testing.assert_allclose(best.loads, marginal.loads, atol=1e-4)
    tolls = average.tolls(tolerance=1e-10)
    np.testing.assert_allclose(tolls.reshape(-1), best.loads / average.problem.normalizer, atol=1e-4)
    assert best.gap <= 1e-7 and marginal.gap <= 1e-7


def test_average_equilibrium_fits_doubled_targets():
    game = unsigned_seven()
    found = game.equilibrate(tolerance=1e-10)
    best, matrix = reference.best_matrix(game.problem.inputs.numpy(), 2 * game.problem.targets.numpy(), np.ones(4), unsigned=True)
    np.testing.assert_allclose(found.loads.reshape(30, 3), game.problem.inputs.numpy() @ matrix.T, atol=1e-4)
    assert best > 0


def test_realizable_one_hot_targets_have_no_anarchy():
    inputs = np.eye(4)[[0, 1, 2, 3, 0, 1, 2, 3]]
    targets = np.eye(3)[[0, 1, 2, 1, 0, 1, 2, 1]]
    module = dense((4, 3), 0, relu=False)
    module[0].weight.data.fill_(1 / 3)
    game = PathGame(half_problem(module, inputs, targets), "average", signed=False)
    assert game.price_of_anarchy(tolerance=1e-10) == pytest.approx(1, abs=1e-8)
    assert game.costs.loss(game.equilibrate(tolerance=1e-11).loads) < 1e-9
    assert price_of_anarchy(game.strategies(), shift=2.0) >= 1 - 1e-9


def test_last_hidden_removal_never_beats_its_first_order_bound():
    lower = 0
    for seed in range(20):
        problem = regression((3, 5, 5, 2), seed, samples=8)
        scan = PathGame(problem).braess_scan()
        last = scan.layer == 1
        assert (scan.change[last] >= scan.first_order[last] - 1e-9).all()
        lower += int((scan.change[~last] < scan.first_order[~last] - 1e-9).sum())
    assert lower > 0  # units of earlier levels do violate it


@pytest.mark.parametrize("level", ["unit", "edge", "layer"])
@pytest.mark.parametrize("on", ["train", "heldout"])
def test_braess_scan_by_removing_by_hand(level, on):
    problem = regression((4, 5, 5, 3), 2, bias=True)
    scan = PathGame(problem).braess_scan(level=level, on=on)
    inputs, targets = (problem.inputs, problem.targets) if on == "train" else (problem.test_inputs, problem.test_targets)

    def loss(module: nn.Module) -> float:
        return float((module(inputs) - targets).square().sum().detach())

    base = loss(problem.network.module)
    assert scan.loss == pytest.approx(base, rel=1e-12)
    for layer, index, change in zip(scan.layer, scan.removed, scan.change, strict=True):
        module = copy.deepcopy(problem.network.module)
        if level == "unit":
            module[2 * layer + 2].weight.data[:, index] = 0
        elif level == "edge":
            module[2 * layer].weight.data.view(-1)[index] = 0
        else:
            assert layer == 1
            module = nn.Sequential(*module[:2], *module[4:])
        assert change == pytest.approx(loss(module) - base, abs=1e-10)
    assert len(scan.change) == {"unit": 10, "edge": 60, "layer": 1}[level]


def test_no_removal_helps_at_a_trained_last_level_but_may_help_before():
    problem = easy((4, 5, 3), 0)
    run = train(problem, Sgd(lr=0.02, momentum=0.9), steps=1000, batch=10, checkpoints=())
    scan = PathGame(run.problem_at(1000)).braess_scan()
    assert scan.change.min() > -1e-6
    assert PathGame(regression((4, 6, 3), 0)).braess_scan().helped > 0  # at the start some do


def test_records_round_trip(tmp_path):
    game = PathGame(regression((3, 4, 2), 0, bias=True))
    for kind, record in ((Certificate, game.certificate()), (PathFlows, game.flows()), (BraessScan, game.braess_scan())):
        assert kind.load(record.save(tmp_path / "r.safetensors")).same_numbers(record)


def test_budget_errors_name_the_cheap_way():
    game = PathGame(regression((6, 12, 12, 3), 0))
    with pytest.raises(BudgetError, match="prices='bound'"):
        game.certificate(prices="exact", limit=10)
    assert game.certificate(prices="exact", limit=game.plan().flops).kind == "exact"
    with pytest.raises(BudgetError, match="certificate"):
        game.strategies(limit=10)


@pytest.mark.parametrize(
    ("module", "shape", "words"),
    [
        (Residual(), (6,), "joins|no map"),
        (Encoder(), (12,), "path network"),
        (Recurrent(), (12,), "path network"),
        (Reused(), (6,), "path network"),
        (nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)), (6,), "Tanh"),
        (nn.Sequential(nn.Linear(6, 6), nn.GLU(), nn.Linear(3, 3)), (6,), "GLU"),
        (nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, 3)), (6,), "LayerNorm"),
        (nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3)), (6,), "does not follow"),
        (
            nn.Sequential(nn.Conv1d(1, 2, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(12, 3)),
            (1, 6),
            "circular",
        ),
        (nn.Sequential(nn.Conv1d(1, 2, 3), nn.MaxPool1d(3, stride=1), nn.Flatten(), nn.Linear(4, 3)), (1, 6), "overlap"),
    ],
)
def test_what_is_no_path_network(module, shape, words):
    problem = Problem(
        module.double().eval(), torch.randn(5, *shape).double(), torch.zeros(5, dtype=torch.long), nn.CrossEntropyLoss()
    )
    with pytest.raises(UnsupportedLayer, match=words):
        PathGame(problem)


class Positions(nn.Module):
    """A linear layer at each of two positions, or units spread over positions."""

    def __init__(self, spread: bool) -> None:
        super().__init__()
        self.spread, self.first, self.second = spread, nn.Linear(6 if spread else 3, 8), nn.Conv1d(4, 3, 1)
        self.third = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.spread:
            return self.second(self.first(x).reshape(x.shape[0], 4, 2)).flatten(1)[:, :3]
        return self.third(self.first(x.reshape(x.shape[0], 2, 3)).flatten(1))


@pytest.mark.parametrize(("spread", "words"), [(False, "each of several positions"), (True, "no map|spreads units")])
def test_shared_positions_are_refused(spread, words):
    problem = Problem(
        Positions(spread).double(), torch.randn(5, 6).double(), torch.zeros(5, dtype=torch.long), nn.CrossEntropyLoss()
    )
    with pytest.raises(UnsupportedLayer, match=words):
        PathGame(problem)


def test_flattened_images_and_a_gate_at_the_end():
    module = nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU()).double()
    problem = Problem(module, torch.randn(9, 2, 2, 2).double(), torch.randn(9, 3).double(), nn.MSELoss())
    game = PathGame(problem)
    assert game.chain.dense
    bound, exact = game.certificate(), game.certificate(prices="exact")
    assert exact.gap_by_sample.sum() == pytest.approx(exact.gap, rel=1e-9)
    assert bound.gap_lower <= exact.gap * (1 + 1e-12) <= bound.gap * (1 + 1e-9)
    masks, slopes = game.chain.masks(game.problem.inputs), game.prices.numpy()
    first, last = masks[0].numpy(), masks[1].numpy()
    best = max(
        np.abs(np.einsum("n,nh,nk->hk", game.problem.inputs.flatten(1).numpy()[:, j], first, last * slopes)).max()
        for j in range(8)
    )
    assert exact.price_upper[:-1].max() == pytest.approx(best, rel=1e-10)


def test_average_certificate_bounds_the_potential():
    game = PathGame(regression((3, 5, 2), 2, relu=False), "average")
    found = game.certificate()
    least = game.equilibrate(tolerance=1e-9).potential
    assert 0 < found.potential - least <= found.gap + 1e-9
    assert found.cost_kind == "average"


def test_words_are_no_path_network():
    problem = Problem(Words().double(), torch.randint(0, 7, (5, 3)), torch.zeros(5, dtype=torch.long), nn.CrossEntropyLoss())
    with pytest.raises(UnsupportedLayer, match="embeddings"):
        PathGame(problem)


class Shaped(nn.Module):
    """Reshapes by sizes, scales by numbers, and applies functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(1, 3, 3), nn.Linear(12, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.first(x.view(x.size(0), 1, -1))) * 0.5
        return self.second(h.reshape(h.shape[0], -1)) / 2


def test_functions_views_and_numbers_are_read():
    inputs = torch.randn(5, 6, dtype=torch.float64)
    game = PathGame(Problem(Shaped().double(), inputs, torch.zeros(5, 2).double(), nn.MSELoss()))
    assert game.flows().kirchhoff_residual < 1e-12


def test_wrong_questions():
    relu, linear = regression((3, 4, 2), 0), regression((3, 4, 2), 0, relu=False)
    with pytest.raises(HypothesisError, match="Average costs"):
        PathGame(classification((3, 4, 2), 0), "average")
    with pytest.raises(HypothesisError, match="gates='frozen'"):
        PathGame(relu, gates="linear")
    with pytest.raises(HypothesisError, match="at least 0"):
        PathGame(linear, signed=False)
    with pytest.raises(InputError, match="gates must be"):
        PathGame(relu, gates="thawed")
    with pytest.raises(InputError, match="cost must be"):
        PathGame(relu, "total")
    with pytest.raises(InputError, match="level must be"):
        PathGame(relu).braess_scan(level="road")
    with pytest.raises(InputError, match="no unit"):
        PathGame(regression((3, 2), 0)).braess_scan()
    with pytest.raises(InputError, match="no test data"):
        PathGame(classification((3, 4, 2), 0)).braess_scan(on="heldout")
    with pytest.raises(HypothesisError, match="marginal"):
        PathGame(linear).tolls()
    bounded = Problem(
        relu.network.module, relu.inputs, relu.targets, lambda y, t: torch.tanh((y - t).square()).sum(), reduction="sum"
    )
    with pytest.raises(HypothesisError, match="convex"):
        PathGame(bounded)


def test_wardrop_of_the_signed_game_uses_its_dump():
    game = PathGame(regression((3, 4, 2), 4, relu=False))
    flows = wardrop_equilibrium(game.strategies(), tolerance=1e-9).flows
    np.testing.assert_allclose(np.bincount(game.strategies().types, flows), game.demands.numpy(), atol=1e-9)
