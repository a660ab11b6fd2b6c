import warnings

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus._core.errors import InputError
from isthmus._core.status import Status
from isthmus.dynamics import (
    CanonicalNesterov,
    QuasiHyperbolic,
    ScheduledNesterov,
    TorchSgd,
    TwoMomentum,
    predict_training,
    spectrum,
)
from isthmus.dynamics.optimizers import understand_optimizer
from isthmus.model.derivatives import output_gradient
from isthmus.results.dynamics import Prediction
from tests.dynamics.problems import HalfSum, classification, regression, wide
from tests.reference.dynamics import linear_model_run

SGD = torch.optim.SGD


def sgd(**options):
    return lambda parameters: SGD(parameters, **options)


def cosine(parameters):
    optimizer = SGD(parameters, lr=0.3, momentum=0.8)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60)


CLOSED = {
    "gradient descent": sgd(lr=0.5),
    "heavy ball": sgd(lr=0.5, momentum=0.9),
    "dampened": sgd(lr=0.5, momentum=0.9, dampening=0.5),
    "nesterov": sgd(lr=0.4, momentum=0.9, nesterov=True),
    "weight decay": sgd(lr=0.4, momentum=0.9, weight_decay=0.03),
    "nesterov, weight decay": sgd(lr=0.3, momentum=0.8, weight_decay=0.03, nesterov=True),
    "cosine": cosine,
    "canonical": CanonicalNesterov(lr=0.3),
    "schedule": ScheduledNesterov(lr=0.3, d=4),
    "quasi-hyperbolic": QuasiHyperbolic(lr=0.4, nu=0.7, beta=0.9),
    "moving average": QuasiHyperbolic(lr=0.4, nu=1.0, beta=0.9),
    "two momenta": TwoMomentum(lr=0.2, beta1=0.3, beta2=0.4),
}


CASES = [(regression, name) for name in CLOSED]
CASES += [(classification, name) for name in ("heavy ball", "nesterov, weight decay", "cosine", "two momenta")]


@pytest.mark.parametrize(("make", "name"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_closed_forms_equal_the_run_on_the_linearized_network(make, name):
    problem, steps = make(), 400 if make is regression else 100
    fast = predict_training(problem, CLOSED[name], steps, test=True, steps_per_epoch=7)
    slow = predict_training(problem, CLOSED[name], steps, view="linearized", test=True, steps_per_epoch=7)
    assert fast.view == "discrete" and slow.view == "linearized" and fast.status is Status.EXACT
    assert np.abs(fast.amplitudes - slow.amplitudes).max() < 1e-12
    assert np.abs(fast.loss[slow.step] - slow.loss).max() < 1e-12
    assert np.abs(fast.error_norm[slow.step] - slow.error_norm).max() < 1e-12
    assert np.abs(fast.test_outputs - slow.test_outputs).max() < 1e-11 * max(1, np.abs(slow.test_outputs).max())
    assert np.abs(fast.test_loss - slow.test_loss).max() < 1e-10


@pytest.mark.parametrize("name", ["nesterov", "weight decay"])
def test_against_torch_on_a_dense_linear_model(name):
    problem = regression(hidden=4)
    module = problem.network.module
    outputs, _ = linear_model_run(module, problem.inputs, problem.targets, nn.MSELoss(), CLOSED[name], 60)
    found = predict_training(problem, CLOSED[name], 60)
    losses = ((outputs - problem.targets.numpy()) ** 2).mean(axis=(1, 2))
    assert np.abs(found.loss - losses).max() < 1e-7  # central differences of the Jacobian


def test_adam_runs_on_the_dense_linear_model():
    problem = regression(hidden=4)
    make = lambda parameters: torch.optim.Adam(parameters, lr=0.01)  # noqa: E731
    outputs, _ = linear_model_run(problem.network.module, problem.inputs, problem.targets, nn.MSELoss(), make, 50)
    found = predict_training(problem, make, 50)
    losses = ((outputs - problem.targets.numpy()) ** 2).mean(axis=(1, 2))
    assert found.view == "linearized" and "Adam acts on weights" in found.exactness
    assert np.abs(found.loss - losses[found.step]).max() < 1e-6


@pytest.mark.parametrize(
    "kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.NAdam]
)
def test_any_torch_optimizer_is_predicted(kind):
    found = predict_training(regression(), lambda parameters: kind(parameters, lr=0.01), 20)
    assert found.view == "linearized" and found.loss[-1] < found.loss[0]


def test_reductions_only_rescale_the_step():
    mean = predict_training(regression(), TorchSgd(lr=0.02 * 20 / 2, momentum=0.9), 400)
    half = predict_training(regression(loss=HalfSum()), TorchSgd(lr=0.02, momentum=0.9), 400)
    assert np.abs(mean.error_norm - half.error_norm).max() < 1e-12
    assert np.abs(half.loss - mean.loss * 10).max() < 1e-12


def test_an_error_along_one_mode_stays_there():
    problem = wide(256)
    modes = spectrum(problem)
    targets = problem.network(problem.inputs) - torch.tensor(modes.vectors[:, 3:4])
    found = predict_training(isthmus.Problem(problem.network, problem.inputs, targets, HalfSum()), TorchSgd(lr=0.3), 50)
    want = (1 - 0.3 * modes.values[3]) ** np.arange(51)
    assert np.abs(found.error_norm - want).max() < 1e-12
    assert found.slowest_excited == pytest.approx(modes.values[3])
    assert found.rate == pytest.approx(1 - 0.3 * modes.values[3])


def test_rates_times_and_crossover():
    modes = spectrum(wide(1024))
    lr = 0.5 / modes.largest
    found = predict_training(modes, CanonicalNesterov(lr=lr, d=3), 3000)
    x = lr * modes.smallest
    assert found.rate == pytest.approx((1 - x) ** 0.5, rel=1e-9)
    assert found.crossover == pytest.approx(3 / -np.log1p(-x))
    assert "sublinear" in found.ode_exponent
    for fraction, step in zip(found.fraction, found.steps_to_fraction, strict=True):
        assert found.error_norm[step] < fraction <= found.error_norm[step - 1]


def test_views_of_the_limit_approach_the_discrete_run():
    modes = spectrum(wide(512))
    lr = 1e-3 / modes.largest
    for method in (TorchSgd(lr=lr), TorchSgd(lr=lr, momentum=0.97), CanonicalNesterov(lr=lr)):
        exact = predict_training(modes, method, 2000)
        ode, better = (predict_training(modes, method, 2000, view=view) for view in ("ode", "high_resolution"))
        gap = [np.abs(view.error_norm - exact.error_norm[view.step]).max() for view in (ode, better)]
        assert gap[1] < 0.2 * gap[0] < 0.02
        assert ode.ode_time.startswith("D'")


def test_above_the_limit_it_says_so():
    modes = spectrum(wide(512))
    found = predict_training(modes, TorchSgd(lr=2.2 / modes.largest), 400)
    assert found.loss[-1] > 1e3 and "above the limit 2" in found.warnings[0]
    blown = predict_training(modes, TorchSgd(lr=9 / modes.largest), 2000)
    assert blown.status is Status.NOT_FINITE
    free = predict_training(modes, TwoMomentum(lr=0.1, beta1=0.2, beta2=0.8), 10)
    assert any("no friction" in words for words in free.warnings)


def test_degenerate_data_are_flagged_with_the_consequence():
    problem = regression()
    rows = torch.cat([torch.arange(20), torch.arange(2)])
    targets = problem.targets[rows].clone()
    targets[20] += 1  # one repetition with another target, one with the same
    found = predict_training(isthmus.Problem(problem.network, problem.inputs[rows], targets, nn.MSELoss()), TorchSgd(lr=0.1), 20)
    assert "never falls below 0.02273" in found.warnings[0]  # (1/2)^2 twice, over 22 entries
    assert (
        "2 inputs repeat" in found.warnings[1]
        and "1 of them carry another target, which no training can fit" in found.warnings[1]
    )


def test_a_partial_spectrum_moves_the_rest_as_one_mode():
    problem = wide(512)
    part = spectrum(problem, modes=15, rtol=1e-9)
    exact, rough = predict_training(problem, TorchSgd(lr=0.5), 30), predict_training(part, TorchSgd(lr=0.5), 30)
    assert "the rest" in rough.exactness
    assert np.abs(rough.loss[:3] - exact.loss[:3]).max() < 2e-3 * exact.loss[0]
    with pytest.raises(InputError, match="Only 15 modes"):
        predict_training_on_part(problem, part)


def predict_training_on_part(problem, part):
    from isthmus.dynamics.predict import _discrete

    return _discrete(problem, part, TorchSgd(lr=0.5), 5, True)


def test_optimizer_objects_are_read_and_left_alone():
    problem = regression()
    net = nn.Sequential(nn.Linear(10, 12), nn.Tanh(), nn.Linear(12, 1)).double()
    net.load_state_dict(problem.network.module.state_dict())
    optimizer = SGD(net.parameters(), lr=0.5, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5)
    before = [p.clone() for p in net.parameters()]
    alone = predict_training(problem, optimizer, 50)
    pair = predict_training(problem, (optimizer, scheduler), 50)
    run = predict_training(problem, (optimizer, scheduler), 50, view="linearized")
    assert alone.view == pair.view == "discrete"
    assert np.abs(pair.loss[run.step] - run.loss).max() < 1e-12 and np.abs(pair.loss - alone.loss).max() > 1e-4
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert optimizer.param_groups[0]["lr"] == 0.5 and scheduler.last_epoch == 0 and not optimizer.state


def test_groups_state_and_order_fall_back_on_the_linearized_run():
    problem = regression()
    net = nn.Sequential(nn.Linear(10, 12), nn.Tanh(), nn.Linear(12, 1)).double()
    net.load_state_dict(problem.network.module.state_dict())
    groups = [{"params": net[2].parameters(), "lr": 0.1}, {"params": net[0].parameters(), "lr": 0.5}]
    found = predict_training(problem, SGD(groups, lr=0.3), 30)
    assert "different settings" in found.exactness
    swapped = [{"params": net[0].parameters(), "lr": 0.5}, {"params": net[2].parameters(), "lr": 0.1}]
    again = predict_training(problem, SGD(swapped, lr=0.3), 30)
    assert np.abs(found.loss - again.loss).max() < 1e-13
    same = [{"params": net[2].parameters()}, {"params": net[0].parameters()}]
    assert predict_training(problem, SGD(same, lr=0.3), 30).view == "discrete"
    warm = SGD(net.parameters(), lr=0.1, momentum=0.9)
    nn.MSELoss()(net(problem.inputs), problem.targets).backward()
    warm.step()
    assert "already holds momentum" in understand_optimizer(warm, problem.network).reason


def test_maximizing_and_plateau_schedules():
    problem = regression()
    assert "maximizes" in understand_optimizer(lambda p: SGD(p, lr=0.1, maximize=True), problem.network).reason

    def plateau(parameters):
        optimizer = SGD(parameters, lr=0.1)
        return optimizer, torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)

    with pytest.raises(InputError, match="waits for a measured value"):
        predict_training(problem, plateau, 5)


def test_lbfgs_is_refused_by_name():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match="closure"):
            predict_training(regression(), lambda p: torch.optim.LBFGS(p, lr=1), 5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: predict_training(p, TorchSgd(lr=0.1), 0), "at least one step"),
        (lambda p: predict_training(p, TorchSgd(lr=0.1), 5, view="exact"), "view='exact' is unknown"),
        (lambda p: predict_training(p, "sgd", 5), "An optimizer was needed"),
        (lambda p: predict_training(p, torch.optim.SGD, 5), "An optimizer was needed"),
        (lambda p: predict_training(p, SGD(nn.Linear(3, 3).parameters(), lr=0.1), 5), "trains 2 tensors"),
        (lambda p: predict_training(p, TorchSgd(lr=0.1), 5, fractions=[2.0]), "between 0 and 1"),
        (lambda p: predict_training(p.network, TorchSgd(lr=0.1), 5), "Problem or a Spectrum"),
        (lambda p: predict_training(spectrum(p), lambda q: SGD(q, lr=0.1), 5), "knows no parameters"),
        (lambda p: predict_training(p, TorchSgd(lr=0.1, weight_decay=0.1), 5, view="ode"), "no limiting equation"),
        (lambda p: predict_training(p, TwoMomentum(lr=0.1, beta1=0.2, beta2=0.8), 5, view="ode"), "no limiting equation"),
        (
            lambda p: predict_training(p, QuasiHyperbolic(lr=0.1, nu=0.5, beta=0.5), 5, view="high_resolution"),
            "No high-resolution",
        ),
        (lambda p: predict_training(p, TorchSgd(lr=0.1), 5, view="ode", test=True), "discrete and linearized"),
        (lambda p: predict_training(regression(test=False), TorchSgd(lr=0.1), 5, test=True), "without test data"),
    ],
)
def test_bad_input_is_explained(call, words):
    with pytest.raises(InputError, match=words):
        call(regression())


def test_record_goes_to_disk_and_back(tmp_path):
    found = predict_training(regression(), TorchSgd(lr=0.1), 20, test=True)
    assert Prediction.load(found.save(tmp_path / "p.safetensors")).same_numbers(found)


def test_output_gradient_is_the_derivative_of_the_loss():
    problem = classification()
    outputs = problem.network(problem.inputs)
    slope = output_gradient(problem, outputs)
    step = torch.zeros_like(outputs)
    step[3, 1] = 1e-6
    loss = problem.loss
    change = (loss(outputs + step, problem.targets) - loss(outputs - step, problem.targets)) / 2e-6
    assert float(slope[3, 1]) == pytest.approx(float(change), rel=1e-6)
