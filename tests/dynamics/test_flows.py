import copy

import numpy as np
import pytest
import torch
from scipy import special
from torch import nn

import isthmus
from isthmus._core.errors import InputError
from isthmus._core.status import Status
from isthmus.dynamics import CanonicalNesterov, SharpnessMonitor, TorchSgd, central_flow, edge_of_stability, gradient_flow
from isthmus.dynamics.complementarity import solve_complementarity
from isthmus.dynamics.phases import diagnose_phase
from isthmus.results.flows import CentralFlow, EdgeOfStability, GradientFlow
from isthmus.training import open_trajectory, train
from tests.dynamics.problems import HalfSum, regression
from tests.reference import dynamics as oracle


def wavy(seed=0, hidden=10, inputs=2):
    """A tanh network whose sharpness rises to its limit: targets that need large weights."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(24, inputs, generator=draw, dtype=torch.float64) * 2 - 1
    y = torch.sin(3 * x.sum(1, keepdim=True)) + 0.5 * torch.cos(5 * x[:, :1])
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1)).double()
    return isthmus.Problem(net, x, y, nn.MSELoss())


def linear(samples=8):
    draw = torch.Generator().manual_seed(0)
    x, y = (torch.randn(samples, k, generator=draw, dtype=torch.float64) for k in (3, 1))
    torch.manual_seed(0)
    return isthmus.Problem(nn.Linear(3, 1).double(), x, y, HalfSum())


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_the_flow_of_a_linear_network_is_a_matrix_exponential(momentum):
    problem = linear()
    found = gradient_flow(problem, TorchSgd(lr=0.02, momentum=momentum), 60, points=7)
    friction = (1 - momentum) / 0.02**0.5 if momentum else None
    want = oracle.linear_flow(problem.network.module, problem.inputs, problem.targets, found.time, friction)
    assert np.abs(found.weights - want).max() < 1e-7
    assert found.time[-1] == pytest.approx(60 * (0.02**0.5 if momentum else 0.02))
    left = problem.inputs.numpy() @ want[-1, :3] + want[-1, 3] - problem.targets.numpy()[:, 0]
    assert found.loss[-1] == pytest.approx(0.5 * left @ left)


def test_the_scheduled_flow_of_a_linear_network_is_bessels_function():
    problem, d = linear(), 3
    found = gradient_flow(problem, CanonicalNesterov(lr=0.01, d=d), 80, points=9)
    rows = torch.cat([problem.inputs, torch.ones(8, 1, dtype=torch.float64)], 1).numpy()
    values, vectors = np.linalg.eigh(rows.T @ rows)
    best = np.linalg.solve(rows.T @ rows, rows.T @ problem.targets.numpy()[:, 0])
    s = np.sqrt(values) * found.time[:, None]
    factor = np.where(s > 0, 2 * special.jv(1, s) / np.where(s > 0, s, 1), 1.0)  # 2 J_1(s) / s at d = 3
    want = best + (factor * (vectors.T @ (found.weights[0] - best))) @ vectors.T
    assert np.abs(found.weights - want).max() < 1e-6


def test_the_flow_of_a_network_is_descent_with_vanishing_steps():
    problem = regression()
    found = gradient_flow(problem, lambda p: torch.optim.SGD(p, lr=0.4), 10, points=6)
    gaps = []
    for parts in (20, 40):
        module = copy.deepcopy(problem.network.module)
        run = oracle.small_step_descent(module, problem.inputs, problem.targets, nn.MSELoss(), 0.4, 10, parts)
        gaps.append(np.abs(run[found.step] - found.weights).max())
    assert gaps[1] < 2e-3 and gaps[0] / gaps[1] == pytest.approx(2, rel=0.05)  # first order in the step
    decayed = gradient_flow(problem, TorchSgd(lr=0.4, weight_decay=0.5), 10, points=2, sharpness=False)
    assert np.linalg.norm(decayed.weights[-1]) < np.linalg.norm(found.weights[-1])
    assert np.isnan(decayed.sharpness).all() and decayed.edge_step == -1


def test_the_flow_says_when_the_step_becomes_too_large():
    found = gradient_flow(wavy(inputs=1), TorchSgd(lr=0.4), 40, points=7, rtol=1e-5)
    assert found.edge_step > 0 and found.margin[0] < 1 <= found.margin[found.step == found.edge_step][0]
    values = oracle.effective_hessian_values(
        wavy(inputs=1).network.module, *data(wavy(inputs=1)), nn.MSELoss(), torch.ones(141, dtype=torch.float64)
    )
    assert found.sharpness[0] == pytest.approx(values[0], rel=1e-4)
    short = gradient_flow(wavy(), TorchSgd(lr=0.3), 400, points=5, max_evaluations=40, sharpness=False)
    assert short.status is Status.MAX_STEPS and len(short.step) < 5


def data(problem):
    return problem.inputs, problem.targets


@pytest.mark.parametrize("size", [1, 2, 3])
def test_complementarity_conditions(size):
    rng = np.random.default_rng(size)
    for trial in range(20):
        gap = rng.standard_normal((size, size))
        gap = (gap + gap.T) / 2 + (rng.standard_normal() if trial % 2 else -3) * np.eye(size)
        bends = rng.standard_normal((12, size, size))
        bends = (bends + bends.transpose(0, 2, 1)) / 2
        response = np.einsum("mab,mij->abij", bends, bends)
        x = solve_complementarity(gap, response, most=20000)
        excess = gap + np.einsum("ab,abij->ij", x, response)
        scale = np.abs(gap).max()
        assert np.linalg.eigvalsh(x).min() > -1e-9 and np.linalg.eigvalsh(excess).min() > -1e-5 * scale
        assert abs((x * excess).sum()) < 1e-5 * scale * max(np.abs(x).max(), 1)


def test_central_flow_below_the_edge_is_gradient_flow():
    problem = regression()
    flow = gradient_flow(problem, TorchSgd(lr=0.02), 40, points=5)
    gaps = []
    for substeps in (2, 4):
        found = central_flow(problem, TorchSgd(lr=0.02), 40, substeps=substeps, points=5)
        assert found.edge_step == -1 and not found.variance.any() and (found.mean_loss == found.loss).all()
        assert found.effective[0, 0] == pytest.approx(0.02 * flow.sharpness[0], rel=1e-3)
        gaps.append(np.abs(found.weights - flow.weights).max())
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.1) and gaps[1] < 2e-3


@pytest.fixture(scope="module")
def edge():
    """Gradient descent that has settled at the edge of stability: its weights from step 600 on."""
    problem = wavy()
    run = train(problem, lambda p: torch.optim.SGD(p, lr=0.3), steps=661, batch=24, checkpoints=[0, *range(600, 662)])
    return problem, run, {step: run.problem_at(step).network.flat.numpy() for step in run.steps}


def test_central_flow_is_the_average_of_descent_at_the_edge(edge):
    problem, _, weights = edge
    average = {k: (weights[600 + k] + weights[601 + k]) / 2 for k in range(61)}
    there = problem.at(torch.tensor(average[0]))
    found = central_flow(there, lambda p: torch.optim.SGD(p, lr=0.3), 60, points=7)
    moved = np.linalg.norm(average[60] - average[0])
    plain = gradient_flow(there, TorchSgd(lr=0.3), 60, points=2, sharpness=False)
    assert np.linalg.norm(found.weights[-1] - average[60]) < 0.06 * moved
    assert np.linalg.norm(plain.weights[-1] - average[60]) > 0.3 * moved  # gradient flow goes elsewhere
    losses = [isthmus.model.derivatives.loss_value(problem.at(torch.tensor(weights[k]))) for k in range(605, 661)]
    assert found.mean_loss[1:].mean() == pytest.approx(np.mean(losses), rel=0.02)
    spread = [((weights[k + 1] - weights[k]) ** 2).sum() / 4 for k in range(605, 661)]
    assert found.variance[1:].mean() == pytest.approx(np.mean(spread), rel=0.03)
    assert (found.unstable == 1).all() and np.abs(found.effective[1:, 0] - 2).max() < 1e-3 and found.overshoot < 1e-3


def test_central_flow_of_rmsprop_with_several_oscillating_directions():
    problem = wavy()
    make = lambda p: torch.optim.RMSprop(p, lr=0.003, alpha=0.99)  # noqa: E731
    run = train(problem, make, steps=331, batch=24, checkpoints=[0, *range(300, 332)])
    weights = {step: run.problem_at(step).network.flat.numpy() for step in run.steps}
    start = run.checkpoint(300)
    module = copy.deepcopy(problem.network.module)
    module.load_state_dict(problem.at(torch.tensor((weights[300] + weights[301]) / 2)).network.parameters)
    optimizer = make(module.parameters())
    for name, parameter in module.named_parameters():
        moments = start.optimizer_state[name]["square_avg"]
        optimizer.state[parameter] = {"step": torch.tensor(300.0), "square_avg": moments.clone()}
    found = central_flow(isthmus.Problem(module, *data(problem), nn.MSELoss()), optimizer, 30, points=7)
    end = (weights[330] + weights[331]) / 2
    moved = np.linalg.norm(end - found.weights[0])
    assert np.linalg.norm(found.weights[-1] - end) < 0.03 * moved
    assert found.unstable[-1] == 2 and np.abs(found.effective[-1, :2] - 2).max() < 5e-3
    real = [((weights[k + 1] - weights[k]) ** 2).sum() / 4 for k in range(305, 331)]
    assert found.variance[1:].mean() == pytest.approx(np.mean(real), rel=0.25)
    plain = central_flow(problem, torch.optim.RMSprop(problem.network.module.parameters(), lr=1e-4), 2, points=2)
    assert plain.step[-1] == 2 and plain.status.ok  # a fresh state is that after the first step


def test_sharpness_of_a_run_against_a_dense_hessian_and_its_phase(edge, tmp_path):
    problem, run, _ = edge
    found = edge_of_stability(run, lambda p: torch.optim.SGD(p, lr=0.3), points=12)
    for row, step in list(enumerate(found.step))[::6]:
        module = copy.deepcopy(problem.network.module)
        module.load_state_dict(run.problem_at(int(step)).network.parameters)
        ones = torch.ones(problem.network.size, dtype=torch.float64)
        values = oracle.effective_hessian_values(module, *data(problem), nn.MSELoss(), ones)
        assert found.sharpness[row] == pytest.approx(values[0], rel=1e-4)
        assert found.margin[row] == pytest.approx(0.3 * values[0] / 2, rel=1e-4)
    assert found.phase == "edge of stability" and 0.9 < found.after < 1.2 and found.sharpening > 1.1
    assert EdgeOfStability.load(found.save(tmp_path / "e.safetensors")).same_numbers(found)
    close = edge_of_stability(run, lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.5))
    assert np.isnan(close.turn[:2]).all() and (close.turn[2:-1] < -0.9).all()  # period two at the edge
    assert (found.limit == 2).all() and close.preconditioned == ""


def test_momentum_and_schedules_are_read_from_the_checkpoints():
    problem = regression()

    def warm(parameters):
        optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.5, weight_decay=0.01)
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.1)

    run = train(problem, warm, steps=30, batch=20, checkpoints=range(31))
    found = edge_of_stability(run, warm, points=4)
    assert found.learning_rate == pytest.approx([0.1, 0.01, 0.001, 0.0001]) and (found.limit == 3).all()
    plain = edge_of_stability(run, TorchSgd(lr=0.1, momentum=0.5, weight_decay=0.01), points=4)
    assert plain.sharpness == pytest.approx(found.sharpness) and plain.learning_rate == pytest.approx([0.1] * 4)
    assert (np.abs(edge_of_stability(run, warm).turn[1:-1]) <= 1).all()


def test_adaptive_sharpness_uses_the_state_in_the_checkpoint():
    problem, make = regression(hidden=4), lambda p: torch.optim.Adam(p, lr=1e-2)
    run = train(problem, make, steps=12, batch=20, checkpoints=[0, 12])
    found = edge_of_stability(run, make)
    saved = run.checkpoint(12)
    moments = torch.cat([saved.optimizer_state[name]["exp_avg_sq"].reshape(-1) for name in problem.network.parameters])
    weights = (moments.double() / (1 - 0.999**12)).sqrt() + 1e-8
    module = copy.deepcopy(problem.network.module)
    module.load_state_dict(run.problem_at(12).network.parameters)
    values = oracle.effective_hessian_values(module, *data(problem), nn.MSELoss(), weights)
    assert found.sharpness[-1] == pytest.approx(values[0], rel=1e-3) and found.limit[-1] == pytest.approx(38)
    assert "present state" in found.preconditioned


def test_the_monitor_says_live_what_the_checkpoints_say_afterwards(tmp_path):
    problem, told = wavy(inputs=1), []
    module = copy.deepcopy(problem.network.module)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3)
    monitor = SharpnessMonitor(problem, lambda p: torch.optim.SGD(p, lr=0.3), tell=told.append)
    recorder = isthmus.Recorder(module, optimizer, tmp_path, steps_per_epoch=1, total_steps=300, watch=monitor)
    for _ in range(300):
        optimizer.zero_grad()
        nn.MSELoss()(module(problem.inputs), problem.targets).backward()
        optimizer.step()
        recorder.step()
    live, later = monitor.record(), edge_of_stability(open_trajectory(tmp_path, problem), lambda p: torch.optim.SGD(p, lr=0.3))
    assert live.same_numbers(later) and live.phase == "edge of stability"
    assert len(told) == 1 and f"step {live.edge_step}:" in told[0]


@pytest.mark.parametrize(
    ("margin", "sharpness", "phase"),
    [
        ([0.3, 0.3, 0.31], [1, 1, 1.03], "stable"),
        ([0.3, 0.5, 0.7], [1, 1.7, 2.3], "progressive sharpening"),
        ([0.3, 0.9, 1.02, 0.99], [1, 3, 3.4, 3.3], "edge of stability"),
        ([1.6, 0.8, 0.4], [2, 1, 0.5], "catapult"),
        ([1.6, 1.5, 1.7], [2, 2, 2], "unstable"),
        ([0.3, np.nan], [1, np.nan], "unstable"),
        ([0.5, 0.2, 0.1], [1, 0.4, 0.2], "flattening"),
    ],
)
def test_phases(margin, sharpness, phase):
    found, words = diagnose_phase(np.arange(len(margin)), np.array(margin), np.array(sharpness))
    assert found == phase and words


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: gradient_flow(p, TorchSgd(lr=0.1), 0), "at least one step"),
        (lambda p: gradient_flow(p, lambda q: torch.optim.Adam(q, lr=0.1), 5), "no limiting equation"),
        (lambda p: gradient_flow(p, TorchSgd(lr=0.1, momentum=1.0), 5), "no friction"),
        (lambda p: central_flow(p, TorchSgd(lr=0.1, momentum=0.9), 5), "known for gradient descent"),
        (lambda p: central_flow(p, lambda q: torch.optim.RMSprop(q, lr=0.1, momentum=0.9), 5), "plain torch.optim.RMSprop"),
        (lambda p: central_flow(p, TorchSgd(lr=0.1), 0), "at least 1"),
        (lambda p: SharpnessMonitor(p, TorchSgd(lr=0.1), samples=0), "at least one sample"),
        (lambda p: SharpnessMonitor(p, TorchSgd(lr=0.1)).record(), "saw no checkpoint"),
        (lambda p: edge_of_stability(train(p, steps=1), TorchSgd(lr=0.1), points=0), "points=0"),
    ],
)
def test_bad_input_is_explained(call, words):
    with pytest.raises(InputError, match=words):
        call(regression())


def test_records_go_to_disk_and_back(tmp_path):
    flow = gradient_flow(regression(), TorchSgd(lr=0.1), 3, points=2)
    assert GradientFlow.load(flow.save(tmp_path / "f.safetensors")).same_numbers(flow)
    central = central_flow(regression(), TorchSgd(lr=0.1), 3, points=2)
    assert CentralFlow.load(central.save(tmp_path / "c.safetensors")).same_numbers(central)
