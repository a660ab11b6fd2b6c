import itertools

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus._core.errors import InputError
from isthmus.dynamics import (
    CanonicalNesterov,
    ScheduledNesterov,
    TorchSgd,
    TwoMomentum,
    predict_training,
    rank_optimizers,
    regime_check,
    spectrum,
    stability_limit,
    tune,
)
from isthmus.dynamics.tuning import closed_form_optimum
from isthmus.model.derivatives import loss_gradient
from tests.dynamics.problems import HalfSum, TwoLayer, classification, dense_jacobian, regression, wide
from tests.reference.dynamics import first_layer_gram, r20, torch_run

RATES = {"gradient_descent": 0.980198, "heavy_ball": 0.818182, "nesterov": 0.884722}


@pytest.mark.parametrize("family", RATES)
def test_closed_form_optima_of_condition_100(family):
    best = closed_form_optimum(family, 0.01, 1.0)
    grid = np.linspace(0.01, 1.0, 2001)
    assert best.rate(best.lr * grid).max() == pytest.approx(RATES[family], abs=2e-5)
    rng = np.random.default_rng(0)
    for _ in range(200):  # nothing near is better
        lr, beta = best.lr * rng.uniform(0.8, 1.2), min(best.momentum * rng.uniform(0.8, 1.1), 0.999)
        other = TorchSgd(lr=lr, momentum=beta, nesterov=best.nesterov and beta > 0)
        assert other.rate(lr * grid).max() > RATES[family] - 2e-4


def infinite_width_modes():
    """R20 as an explicit linear model whose kernel is the infinite-width one."""
    x, y = r20()
    values, vectors = np.linalg.eigh(first_layer_gram(x))
    net = nn.Linear(20, 1, bias=False).double()
    nn.init.zeros_(net.weight)
    features = torch.tensor(vectors * np.sqrt(values))
    return spectrum(isthmus.Problem(net, features, torch.tensor(y[:, None]), HalfSum()))


def test_reference_step_counts_of_r20():
    modes = infinite_width_modes()
    assert modes.largest == pytest.approx(1.4121809, abs=1e-6) and modes.condition == pytest.approx(11.574077, abs=1e-5)
    descent = tune(modes, "gradient_descent", fraction=0.1)
    assert (descent.steps, descent.closed_form_steps) == (7, 8)
    assert 1.67 <= descent.learning_rate * modes.largest <= 1.82
    descent = tune(modes, "gradient_descent", fraction=0.01)
    assert (descent.steps, descent.closed_form_steps) == (19, 19)
    ball = tune(modes, "heavy_ball", fraction=1e-4)
    assert ball.steps <= 16 and ball.closed_form_steps == 17


@pytest.mark.parametrize("make", [regression, classification])
@pytest.mark.parametrize("family", RATES)
def test_a_search_is_never_worse_than_the_closed_form_and_counts_right(make, family):
    modes = spectrum(make())
    for fraction in (0.5, 0.2):
        found = tune(modes, family, fraction=fraction, max_steps=400)
        assert found.closed_form_steps < 0 or 0 < found.steps <= found.closed_form_steps
        options = {"lr": found.learning_rate, "momentum": found.momentum, "nesterov": family == "nesterov" and found.momentum > 0}
        live = modes.values > modes.cutoff
        run = torch_run(modes.values[live], modes.coefficients[live], 400, **options)
        left = np.linalg.norm(run, axis=1) / np.linalg.norm(run[0])
        below = np.flatnonzero(left < fraction)
        assert found.steps == (below[0] if below.size else -1)


def test_rate_objective_is_the_closed_form():
    modes = infinite_width_modes()
    found = tune(modes, "heavy_ball", objective="rate")
    root = modes.condition**0.5
    assert found.rate == pytest.approx((root - 1) / (root + 1), rel=1e-6)


def test_ranking_matches_real_runs_of_a_wide_network():
    """Predicted step counts against training of a real network of width 8192 on data of condition about 4."""
    rng = np.random.default_rng(1)
    x = np.linalg.qr(rng.standard_normal((8, 8)))[0] + 0.12 * rng.standard_normal((8, 8))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    problem = isthmus.Problem(TwoLayer(8, 16384), torch.tensor(x), torch.tensor(rng.standard_normal((8, 1))), HalfSum())
    ranking = rank_optimizers(problem, fractions=(0.1, 0.01))
    assert 2 < ranking.largest / ranking.smallest < 8
    for row, name in enumerate(ranking.names):
        real = real_steps(problem, name, ranking.learning_rate[row], ranking.momentum[row])
        assert abs(real - ranking.steps[row, 1]) <= 1, name
    assert list(ranking.steps[:, 1]) == sorted(ranking.steps[:, 1])


def real_steps(problem, name, lr, momentum, steps=80):
    module = TwoLayer(8, 16384)
    scheduled = np.isnan(momentum)
    nesterov = name.startswith("Nesterov")
    optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=0.5 if scheduled else momentum, nesterov=nesterov)
    first = None
    for k in range(1, steps + 1):
        error = module(problem.inputs) - problem.targets
        size = float(error.detach().norm())
        first = first or size
        if size < 0.01 * first:
            return k - 1
        if scheduled:
            optimizer.param_groups[0]["momentum"] = (k - 1) / (k + 2)
        optimizer.zero_grad()
        (0.5 * error.square().sum()).backward()
        optimizer.step()
    return -1


def test_own_optimizer_is_placed():
    modes = spectrum(regression())
    found = rank_optimizers(modes, TorchSgd(lr=0.01 / modes.largest), fractions=(0.3,), max_steps=50)
    assert found.names[found.own] == "yours" and found.steps[found.own, 0] == -1
    assert found.learning_rate[found.own] == pytest.approx(0.01 / modes.largest)


def test_stability_limit_is_where_runs_blow_up():
    problem = regression()
    for method in (TorchSgd, lambda lr: TorchSgd(lr=lr, momentum=0.9), lambda lr: TorchSgd(lr=lr, momentum=0.5, nesterov=True)):
        edge = stability_limit(problem, method(lr=1e-3)).largest_rate
        below, above = (predict_training(problem, method(lr=factor * edge), 3000).error_norm for factor in (0.99, 1.01))
        assert below[-1] < 1 and above[-1] > 1e3


def test_stability_of_a_spectrum_and_of_the_problem_agree():
    problem = classification()
    for method in (TorchSgd(lr=0.5, momentum=0.9), TwoMomentum(lr=0.1, beta1=0.2, beta2=0.5), ScheduledNesterov(lr=0.1)):
        one, other = stability_limit(problem, method), stability_limit(spectrum(problem), method)
        assert one.margin == pytest.approx(other.margin, rel=1e-9) and one.verdict == other.verdict == "stable"


def test_verdicts_and_unstable_share():
    problem = regression()
    modes = spectrum(problem)
    edge = 2 / modes.largest
    assert stability_limit(problem, TorchSgd(lr=0.97 * edge)).verdict == "marginal"
    above = stability_limit(problem, TorchSgd(lr=1.5 * edge))
    assert above.verdict == "catapult expected" and f"{edge:.4g}" in above.consequence
    assert stability_limit(problem, TorchSgd(lr=3 * edge)).verdict == "diverges"
    assert stability_limit(problem, TorchSgd(lr=4 * edge, momentum=0.5)).verdict == "diverges"
    unstable = modes.values > modes.largest / 1.5
    assert above.unstable_modes == unstable.sum() == stability_limit(modes, TorchSgd(lr=1.5 * edge)).unstable_modes
    share = (modes.coefficients[unstable] ** 2).sum() / (modes.coefficients**2).sum()
    assert above.unstable_share == pytest.approx(share, rel=1e-6)


def test_weight_decay_and_schedules_enter_the_limit():
    problem = regression()
    top = spectrum(problem).largest
    decayed = stability_limit(problem, lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.5))
    assert decayed.x == pytest.approx(0.1 * (top + 0.5), rel=1e-6)

    def warm(parameters):
        optimizer = torch.optim.SGD(parameters, lr=1.0, momentum=0.5)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step, 10) / 100 + 0.01)

    assert stability_limit(problem, warm, steps=50).learning_rate == pytest.approx(0.11)


def test_groups_with_their_own_rates():
    problem = regression(hidden=4)
    net = nn.Sequential(nn.Linear(10, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    net.load_state_dict(problem.network.module.state_dict())
    groups = [{"params": net[2].parameters(), "lr": 0.1}, {"params": net[0].parameters(), "lr": 0.5}]
    found = stability_limit(problem, torch.optim.SGD(groups, lr=0.3))
    jacobian = dense_jacobian(problem)
    rates = np.concatenate([np.full(44, 0.5), np.full(5, 0.1)])
    top = np.linalg.eigvalsh(2 / 20 * (jacobian * rates) @ jacobian.T)[-1]
    assert found.x == pytest.approx(top, rel=1e-6) and found.limit == 2


@pytest.mark.parametrize(
    ("make", "limit", "scale"),
    [
        (lambda p: torch.optim.Adam(p, lr=1e-3), 38, lambda g: g.abs() + 1e-8),
        (lambda p: torch.optim.AdamW(p, lr=1e-3, betas=(0.5, 0.9)), 6, lambda g: g.abs() + 1e-8),
        (lambda p: torch.optim.RMSprop(p, lr=1e-3), 2, lambda g: 0.1 * g.abs() + 1e-8),
        (lambda p: torch.optim.Adagrad(p, lr=1e-3), 2, lambda g: g.abs() + 1e-10),
    ],
)
def test_adaptive_limits_behind_the_preconditioner(make, limit, scale):
    problem = regression(hidden=4)
    found, jacobian = stability_limit(problem, make), dense_jacobian(problem)
    weights = scale(loss_gradient(problem)).numpy()
    top = np.linalg.eigvalsh(2 / 20 * (jacobian / weights) @ jacobian.T)[-1]
    assert found.limit == pytest.approx(limit) and found.eigenvalue == pytest.approx(top, rel=1e-5)
    assert "after its first step" in found.preconditioned


def test_adam_with_a_state_uses_it():
    problem = regression(hidden=4)
    net = nn.Sequential(nn.Linear(10, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    net.load_state_dict(problem.network.module.state_dict())
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        nn.MSELoss()(net(problem.inputs), problem.targets).backward()
        optimizer.step()
    there = isthmus.Problem(net, problem.inputs, problem.targets, nn.MSELoss())
    found, jacobian = stability_limit(there, optimizer), dense_jacobian(there)
    second = torch.cat([optimizer.state[p]["exp_avg_sq"].reshape(-1) for p in net.parameters()]) / (1 - 0.999**3)
    top = np.linalg.eigvalsh(2 / 20 * (jacobian / (second.sqrt() + 1e-8).numpy()) @ jacobian.T)[-1]
    assert found.eigenvalue == pytest.approx(top, rel=1e-5) and "present state" in found.preconditioned


def test_regime_sees_width():
    found = [regime_check(wide(width), TorchSgd(lr=0.35, momentum=0.9)) for width in (64, 1024, 16384)]
    gaps = [one.nonlinearity for one in found]
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2]
    assert found[-1].verdict == "kernel regime" and found[0].verdict == "feature learning expected"
    assert found[-1].log10_bound == pytest.approx(6 * np.log10(20) - 4 * np.log10(spectrum(wide(16384)).smallest) + 3, abs=1e-6)


def test_regime_flags_steps_above_the_limit_and_reads_the_width():
    problem = regression(hidden=30)
    top = spectrum(problem).largest
    found = regime_check(problem, TorchSgd(lr=2.5 / top))
    assert found.verdict == "edge of stability or catapult expected" and f"{2 / top:.3g}" in found.consequence
    assert found.width == 30 and np.isnan(found.nonlinearity)


def test_regime_by_modes_by_outputs_and_by_a_run_agree():
    problem = regression()
    by_modes = regime_check(problem, TorchSgd(lr=0.2, momentum=0.5), steps=30)
    run = regime_check(problem, lambda p: torch.optim.SGD([{"params": [q]} for q in p], lr=0.2, momentum=0.5), steps=30)
    assert by_modes.nonlinearity == pytest.approx(run.nonlinearity, rel=1e-9)
    states = itertools.islice(TorchSgd(lr=0.2).iterate(lambda z: z, np.ones(1)), 2)
    assert [float(z[0]) for z in states] == pytest.approx([0.8, 0.64])
    assert regime_check(classification(), lambda p: torch.optim.Adam(p, lr=1e-3), steps=20).nonlinearity > 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: tune(p, "adam"), "Families are"),
        (lambda p: tune(p, objective="speed"), "objective rate or steps"),
        (lambda p: tune(p, fraction=1.5), "0 < fraction < 1"),
        (lambda p: rank_optimizers(p, fractions=[]), "Fractions lie between"),
        (lambda p: rank_optimizers(p, lambda q: torch.optim.Adam(q, lr=1e-3)), "no closed form"),
        (lambda p: rank_optimizers(spectrum(p), lambda q: torch.optim.SGD(q, lr=1)), "knows no parameters"),
        (lambda p: stability_limit(spectrum(p), lambda q: torch.optim.SGD(q, lr=1)), "knows no parameters"),
        (lambda p: stability_limit(p, lambda q: torch.optim.Rprop(q, lr=1e-3)), "No stability limit is known for Rprop"),
        (lambda p: regime_check(p, TorchSgd(lr=0.1), steps=0), "At least one step"),
    ],
)
def test_bad_input_is_explained(call, words):
    with pytest.raises(InputError, match=words):
        call(regression())


def test_canonical_nesterov_has_the_schedule_limit():
    assert stability_limit(regression(), CanonicalNesterov(lr=0.1)).limit == pytest.approx(4 / 3)
