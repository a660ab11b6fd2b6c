"""Path sums by dynamic programming against enumeration, and against removing weights one by one."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from isthmus import Problem, Seed
from isthmus.games.pathgame import PathGame
from isthmus.games.sums import hop_matrices, path_kernel_trace, share_for_flow, strongest_paths
from isthmus.model.derivatives import loss_gradient
from tests.games.networks import classification, convolutional, dense, half_problem, images, regression
from tests.reference import games as reference

WIDTHS = (4, 3, 5, 3)


def weights_of(module: nn.Module) -> list[np.ndarray]:
    return [layer.weight.detach().numpy() for layer in module if isinstance(layer, nn.Linear)]


def seeded(relu: bool) -> Problem:
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(20, 4)), random.normal(size=(20, 3))
    module = dense(WIDTHS, 0, relu=relu)
    for layer, fan in zip((m for m in module if isinstance(m, nn.Linear)), WIDTHS, strict=False):
        layer.weight.data = torch.tensor(random.normal(size=layer.weight.shape) / np.sqrt(fan))
    return half_problem(module, inputs, targets)


@pytest.mark.parametrize(("relu", "expected"), [(False, 0.278000), (True, -0.009896)])
def test_reference_values(relu, expected):
    game = PathGame(seeded(relu))
    flows = game.flows()
    assert flows.path_norm == pytest.approx(6.490599, abs=5e-7)
    assert flows.path_kernel_trace == pytest.approx(23.329945, abs=5e-7)
    assert float((game.prices * game.outputs).sum()) / 40 == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("kind", ["linear-mse", "relu-mse", "linear-ce", "relu-ce"])
def test_loads_and_edge_identity_by_enumeration(kind):
    relu, make = kind.startswith("relu"), regression if kind.endswith("mse") else classification
    problem = make(WIDTHS, 5, relu=relu)
    game = PathGame(problem)
    weights, inputs = weights_of(problem.network.module), problem.inputs.numpy()
    found = reference.paths(weights)
    masks = reference.gates(weights, None, inputs, relu)
    loads = np.zeros((len(inputs), 3))
    for (units, value), _ in zip(found, found, strict=True):
        gate = np.prod([m[:, u] for m, u in zip(masks, units[1:-1], strict=True)], axis=0)
        loads[:, units[-1]] += inputs[:, units[0]] * gate * value
    np.testing.assert_allclose(game.outputs.numpy(), loads, atol=1e-12)
    costs = reference.path_costs(found, masks, inputs, game.prices.numpy())
    flows = game.flows()
    by_edge, flow = np.zeros_like(flows.edge_value), np.zeros_like(flows.edge_flow)
    starts = np.cumsum([0, *(w.size for w in weights)])
    for (units, value), cost in zip(found, costs, strict=True):
        for layer, w in enumerate(weights):
            edge = starts[layer] + units[layer + 1] * w.shape[1] + units[layer]
            by_edge[edge] += value * cost
            flow[edge] += abs(value)
    np.testing.assert_allclose(flows.edge_value, by_edge, atol=1e-12)
    np.testing.assert_allclose(flows.edge_flow, flow, atol=1e-12)
    np.testing.assert_allclose(flows.edge_value, (problem.network.flat * loss_gradient(problem)).numpy(), atol=1e-12)
    for a, b in itertools.pairwise(starts):
        assert flows.edge_flow[a:b].sum() == pytest.approx(flows.path_norm, rel=1e-12)
        assert flows.edge_value[a:b].sum() == pytest.approx(float((game.prices * game.outputs).sum()), abs=1e-12)
    trace = sum((v / weights[i][u[i + 1], u[i]]) ** 2 for u, v in found for i in range(3))
    assert flows.path_kernel_trace == pytest.approx(trace, rel=1e-10)
    assert flows.paths == len(found)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_kirchhoff_and_cut_totals(bias, relu):
    game = PathGame(regression((5, 6, 4, 3), 2, relu=relu, bias=bias))
    flows = game.flows()
    assert flows.kirchhoff_residual < 1e-12
    assert np.abs(flows.incoming).max() > 1e-3
    total, parts = float((game.prices * game.outputs).sum()), game.values.edges
    for layer in range(3):  # a cut: these weights and biases, and all later biases
        cut = float(parts[layer][0].sum()) + sum(float(b.sum()) for _, b in parts[layer:] if b is not None)
        assert cut == pytest.approx(total, abs=1e-12)
    if bias:  # without the bias in the incoming sum the law fails
        bare = game.values.edges[0][0].sum(dim=1)
        assert np.abs(bare.numpy() - flows.outgoing[:6]).max() > 1e-6
    assert float(game.values.types.sum()) == pytest.approx(total, abs=1e-12)


CONVOLUTIONAL = {
    "max": convolutional(1),
    "average": convolutional(2, pool="average"),
    "norm": convolutional(3, norm=True),
    "groups": convolutional(4, groups=2),
    "linear": convolutional(5, pool="average", relu=False),
}


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutions_conserve_and_match_autograd(name):
    inputs, labels = images()
    problem = Problem(CONVOLUTIONAL[name], inputs, labels, nn.CrossEntropyLoss())
    game = PathGame(problem)
    np.testing.assert_allclose(game.outputs.numpy(), problem.network(problem.inputs).numpy(), atol=1e-12)
    flows = game.flows()
    assert flows.kirchhoff_residual < 1e-12 and np.abs(flows.incoming).max() > 1e-6
    if name != "norm":  # a folded BatchNorm has other parameters than the module
        np.testing.assert_allclose(flows.edge_value, (problem.network.flat * loss_gradient(problem)).numpy(), atol=1e-12)


@pytest.mark.parametrize("name", ["max", "groups"])
def test_convolution_flows_by_removing_weights(name):
    module = CONVOLUTIONAL[name]
    inputs, labels = images()
    game = PathGame(Problem(module, inputs, labels, nn.CrossEntropyLoss()))

    def norm(changed: nn.Module, power: int) -> float:
        """Sum over paths of |v|^power through the layers' own maps, max-pooling as a sum over its window."""
        h = torch.ones(1, 2, 6, 6, dtype=torch.float64)
        for layer in changed:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                part = copy.deepcopy(layer)
                part.weight.data, part.bias.data = layer.weight.abs() ** power, layer.bias.abs() ** power
                h = part(h)
            elif isinstance(layer, nn.MaxPool2d):
                h = 4 * nn.functional.avg_pool2d(h, 2)
            elif isinstance(layer, nn.Flatten):
                h = h.flatten(1)
        return float(h.sum().detach())

    flows, whole, position = game.flows(), norm(module, 1), 0
    assert flows.path_norm == pytest.approx(whole, rel=1e-12)
    trace = 0.0
    for index in (0, 3, 6):
        for part in ("weight", "bias"):
            size = getattr(module[index], part).numel()
            for e in range(size):
                less, one = copy.deepcopy(module), copy.deepcopy(module)
                getattr(less[index], part).data.view(-1)[e] = 0
                getattr(one[index], part).data.view(-1)[e] = 1
                assert flows.edge_flow[position + e] == pytest.approx(whole - norm(less, 1), rel=1e-9, abs=1e-12)
                trace += norm(one, 2) - norm(less, 2)
            position += size
    assert path_kernel_trace(game.chain) == pytest.approx(trace, rel=1e-9)


def test_flow_is_invariant_under_rescaling():
    problem = regression((5, 6, 4, 3), 3, bias=True)
    random = np.random.default_rng(0)
    scaled = copy.deepcopy(problem.network.module)
    with torch.no_grad():
        for first, second, size in ((scaled[0], scaled[2], 6), (scaled[2], scaled[4], 4)):
            factor = torch.tensor(random.uniform(0.2, 5, size))
            first.weight *= factor[:, None]
            first.bias *= factor
            second.weight /= factor
    moved = Problem(scaled, problem.inputs, problem.targets, nn.MSELoss(reduction="sum"))
    before, after = PathGame(problem), PathGame(moved)
    a, b = before.flows(), after.flows()
    for name in ("edge_flow", "edge_value", "split", "unit_flow", "demands"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-9, atol=1e-12)
    assert before.certificate().gap == pytest.approx(after.certificate().gap, rel=1e-9)
    assert a.path_kernel_trace != pytest.approx(b.path_kernel_trace, rel=1e-3)  # this one is not


def test_splits_sum_to_one_and_dead_units_are_told():
    problem = regression((4, 5, 3), 1)
    module = copy.deepcopy(problem.network.module)
    module[2].weight.data[:, 2] = 0
    flows = PathGame(Problem(module, problem.inputs, problem.targets, nn.MSELoss())).flows()
    columns = flows.split[20:].reshape(3, 5).sum(axis=0)
    np.testing.assert_allclose(np.delete(columns, 2), 1)
    assert np.isnan(columns[2]) and flows.dead_units == 1
    np.testing.assert_allclose(flows.split[:20].reshape(5, 4).sum(axis=0), 1)
    assert flows.used_fraction == pytest.approx(0.8)


@pytest.mark.parametrize("bias", [False, True])
def test_strongest_paths_by_enumeration(bias):
    module = dense((4, 3, 5, 2), 8, bias=bias)
    game = PathGame(Problem(module, torch.randn(5, 4, dtype=torch.float64), torch.zeros(5, 2).double(), nn.MSELoss()))
    hops = hop_matrices(game.chain)
    every = dict(reference.paths(weights_of(module)))
    if bias:
        for start in range(3):
            rest = [layer for layer in module if isinstance(layer, nn.Linear)][start:]
            for units, value in reference.paths(
                [np.diag(rest[0].bias.detach().numpy()), *(r.weight.detach().numpy() for r in rest[1:])]
            ):
                if units[0] == units[1]:
                    every[(-1,) * (start + 1) + units[1:]] = value
    units, values = strongest_paths(hops, 25)
    best = sorted(every.values(), key=abs, reverse=True)[:25]
    np.testing.assert_allclose(np.abs(values), np.abs(best), rtol=1e-12)
    for way, value in zip(units, values, strict=True):
        assert every[tuple(way)] == pytest.approx(value, rel=1e-12)
    exact = np.sort(np.abs(list(every.values())))[::-1]
    count = int(np.searchsorted(np.cumsum(exact), 0.9 * exact.sum())) + 1
    share, error = share_for_flow(hops, len(every), Seed(1))
    assert abs(share - count / len(every)) < 5 * error + 0.01


def test_open_fraction_by_counting():
    problem = regression((3, 4, 4, 2), 6)
    weights, inputs = weights_of(problem.network.module), problem.inputs.numpy()
    masks = reference.gates(weights, None, inputs, True)
    counted = np.mean(
        [np.prod([m[:, u] for m, u in zip(masks, way[1:-1], strict=True)], axis=0) for way, _ in reference.paths(weights)]
    )
    assert PathGame(problem).flows().open_fraction == pytest.approx(float(counted))
