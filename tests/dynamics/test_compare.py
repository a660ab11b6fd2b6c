import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus._core.errors import InputError
from isthmus.dynamics import DepartureAlarm, TorchSgd, compare, predict_training
from isthmus.dynamics.activations import rectifier_signs
from isthmus.dynamics.compare import diagnose
from isthmus.results.dynamics import Comparison
from isthmus.training import train
from tests.dynamics.problems import TwoLayer, classification, regression, wide


def sgd(**options):
    return lambda parameters: torch.optim.SGD(parameters, **options)


def run_of(problem, make, steps=60, batch=None):
    return train(problem, make, steps=steps, batch=batch or problem.samples)


def test_a_wide_network_follows_and_a_narrow_one_learns_features():
    make = sgd(lr=0.35, momentum=0.9)
    near, far = (compare(run_of(wide(width), make), make) for width in (8192, 64))
    assert near.departure_step == -1 and near.discrepancy.max() < 0.03
    assert far.cause == "feature learning" and far.departure_step > 0
    assert far.kernel_change.max() > 5 * near.kernel_change.max()


def test_error_against_plain_arithmetic():
    problem, make = wide(512), sgd(lr=0.3)
    run = run_of(problem, make, steps=20)
    found = compare(run, make)
    predicted = predict_training(problem, TorchSgd(lr=0.3), 20)
    modes = isthmus.spectrum(problem)
    for index, step in enumerate(found.step):
        outputs = run.problem_at(int(step)).network(problem.inputs)
        error = (outputs - problem.targets).reshape(-1).numpy()
        kept = np.flatnonzero(predicted.mode_step == step)
        want = np.linalg.norm(error - modes.vectors @ predicted.amplitudes[kept[0]]) / np.linalg.norm(modes.scaled_error)
        assert found.discrepancy[index] == pytest.approx(want, abs=1e-10)
        assert found.loss[index] == pytest.approx(0.5 * error @ error, rel=1e-10)
    assert np.abs((found.band_gap**2).sum(1) - found.discrepancy**2).max() < 1e-12


def test_only_the_equation_disagrees():
    make = sgd(lr=0.6, momentum=0.5)
    found = compare(run_of(wide(8192), make), make)
    assert found.departure_step == -1 and found.cause == "step size" and found.pairs[0] == "ode-modes"


def test_above_the_limit_is_the_edge_of_stability():
    make = sgd(lr=1.02 * 2 / isthmus.spectrum(wide(4096)).largest)
    found = compare(run_of(wide(4096), make, steps=400), make)
    assert found.cause == "edge of stability" and found.margin.max() > 1
    assert found.predicted_loss[-1] > 1e3 > found.loss[-1]


def test_small_batches_are_noise():
    make = sgd(lr=0.2, momentum=0.5)
    found = compare(run_of(wide(8192), make, batch=4), make)
    assert found.cause == "noise" and found.batch == 4
    assert found.gap[found.pairs.index("linearized-network")].max() < 0.05


def test_cross_entropy_is_loss_curvature_when_the_network_is_linear():
    base = classification()
    net = nn.Linear(10, 3).double()
    problem = isthmus.Problem(net, base.inputs, base.targets, nn.CrossEntropyLoss())
    make = sgd(lr=3.0)
    found = compare(run_of(problem, make, steps=200), make)
    assert found.cause == "loss curvature"
    assert found.gap[-1].max() < 1e-9  # a linear network is its own linearization


def test_adam_and_a_probe_set():
    problem, make = regression(), lambda parameters: torch.optim.Adam(parameters, lr=0.01)
    found = compare(run_of(problem, make, steps=30), make)
    assert found.predictor == "linearized" and np.isnan(found.margin).all()


def test_record_goes_to_disk_and_back(tmp_path):
    make = sgd(lr=0.1)
    found = compare(run_of(regression(), make, steps=10), make)
    assert Comparison.load(found.save(tmp_path / "c.safetensors")).same_numbers(found)


def test_flipped_units_are_counted():
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 1))
    x = torch.randn(6, 3)
    first = net[0](x) > 0
    second = net[2](torch.relu(net[0](x))) > 0
    assert torch.equal(rectifier_signs(isthmus.Network(net), x), torch.cat([first, second], 1))
    assert rectifier_signs(isthmus.Network(nn.Linear(3, 1)), x).shape == (6, 0)
    assert not any(len(sub._forward_pre_hooks) for sub in net.modules())


def test_diagnosis_by_hand():
    pairs = [("ode", "modes"), ("modes", "linearized"), ("linearized", "network")]
    still = np.full(3, 0.5)
    gaps = np.array([[0, 0.01, 0.3], [0, 0.01, 0.02], [0, 0.01, 0.02]])
    assert diagnose(pairs, gaps, np.array([0, 0.01, 0.03]), still, 0.1)[:2] == (-1, "step size")
    assert diagnose(pairs, gaps[:, :2], np.array([0, 0.01]), still[:2], 0.1)[:2] == (-1, "none")
    gaps = np.array([[0, 0.9, 0.9], [0, 0.02, 0.3], [0, 0.05, 0.2]])
    assert diagnose(pairs, gaps, np.array([0, 0.07, 0.4]), still, 0.1)[:2] == (2, "noise")
    gaps[2, 2] = 0.5
    assert diagnose(pairs, gaps, np.array([0, 0.07, 0.4]), still, 0.1)[:2] == (2, "feature learning")
    assert diagnose(pairs, gaps, np.array([0, 0.07, 0.4]), np.array([0.9, 1.1, 0.9]), 0.1)[:2] == (2, "edge of stability")
    assert diagnose(pairs, gaps, np.array([0, np.nan, 0.4]), still, 0.1)[0] == 1


def test_alarm_rings_live_in_a_loop_of_the_users_own(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 1)).double()
    problem = regression()
    problem = isthmus.Problem(net, problem.inputs, problem.targets, nn.MSELoss())
    words = []
    alarm = DepartureAlarm(problem, sgd(lr=0.1, momentum=0.9), steps=60, tell=words.append)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    recorder = isthmus.Recorder(net, optimizer, tmp_path, steps_per_epoch=1, total_steps=60, watch=alarm)
    for _ in range(60):
        optimizer.zero_grad()
        nn.MSELoss()(net(problem.inputs), problem.targets).backward()
        optimizer.step()
        recorder.step()
    later = compare(isthmus.open_trajectory(tmp_path, problem), sgd(lr=0.1, momentum=0.9), points=100)
    assert alarm.steps == list(later.step) and alarm.discrepancy[0] < 1e-12
    assert np.abs(np.array(alarm.discrepancy) - later.discrepancy).max() < 1e-9
    assert alarm.departure == later.departure_step > 0 and len(words) == 1 and f"step {alarm.departure}" in words[0]


def test_bad_input_is_explained():
    problem, make = wide(64), sgd(lr=0.1)
    run = run_of(problem, make, steps=5)
    with pytest.raises(InputError, match="at least two checkpoints"):
        compare(run, make, last=0)
    with pytest.raises(InputError, match=r"no torch\.optim object"):
        DepartureAlarm(problem, TorchSgd(lr=0.1), steps=5)
    with pytest.raises(InputError, match="positive tolerance"):
        DepartureAlarm(problem, make, steps=5, tolerance=0)
    assert TwoLayer(10, 4)(problem.inputs).abs().max() < 1e-12
