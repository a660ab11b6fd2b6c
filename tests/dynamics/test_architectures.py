"""The approach on other losses and architectures: cross-entropy, deep linear networks, convolutions; and at infinite width."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn

import isthmus
from isthmus.dynamics import CanonicalNesterov, TorchSgd, predict_training, spectrum
from isthmus.kernel import InfiniteWidth
from tests.dynamics.problems import HalfSum, TwoLayer, classification
from tests.reference.dynamics import linear_model_run, r20


def softmax(outputs):
    shifted = np.exp(outputs - outputs.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def dense_kernel(problem):
    """J J^T by torch's own functional Jacobian."""
    network = problem.network
    flat = torch.autograd.functional.jacobian(lambda w: functional(network, w, problem.inputs), network.flat)
    return (flat @ flat.T).numpy()


def functional(network, weights, inputs):
    return network.forward(network.layout.unflatten(weights), inputs).reshape(-1)


@pytest.mark.parametrize(
    ("method", "friction"),
    [
        (TorchSgd(lr=2.0), None),
        (TorchSgd(lr=0.5, momentum=0.8), lambda t: 0.2 / 0.5**0.5),
        (CanonicalNesterov(lr=0.5, d=3), lambda t: 3 / t),
    ],
)
def test_cross_entropy_follows_its_equation_in_function_space(method, friction):
    problem = classification()
    kernel, n = dense_kernel(problem), problem.samples
    start = problem.network(problem.inputs).numpy().reshape(-1)
    labels = nn.functional.one_hot(problem.targets, 3).numpy()

    def slope(f):
        return ((softmax(f.reshape(n, 3)) - labels) / n).reshape(-1)

    found = predict_training(problem, method, 40, view="ode")
    times = found.step * (method.lr if friction is None else method.lr**0.5)
    t0 = 1e-4
    if friction is None:
        run = solve_ivp(lambda t, f: -kernel @ slope(f), (0, times[-1]), start, rtol=1e-10, atol=1e-12, t_eval=times).y.T
    else:
        size = len(start)
        run = solve_ivp(
            lambda t, s: np.concatenate([s[size:], -friction(t) * s[size:] - kernel @ slope(s[:size])]),
            (t0, times[-1]),
            np.concatenate([start, np.zeros(size)]),
            rtol=1e-10,
            atol=1e-12,
            t_eval=np.maximum(times, t0),
        ).y.T[:, :size]
    want = [-np.log(softmax(f.reshape(n, 3))[np.arange(n), problem.targets.numpy()]).mean() for f in run]
    assert found.loss == pytest.approx(np.array(want), rel=2e-5)
    assert "under cross_entropy itself" in found.exactness
    discrete = predict_training(problem, type(method)(**{**method.__dict__, "lr": method.lr / 4}), 80)
    if friction is None:  # a quarter of the step, four times the steps: the same time
        assert discrete.loss[80] == pytest.approx(found.loss[found.step == 20][0], rel=0.02)


def deep_linear():
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Linear(10, 10, bias=False) for _ in range(3)), nn.Linear(10, 1, bias=False)).double()
    x, y = r20()
    return isthmus.Problem(net, torch.tensor(x[:8]), torch.tensor(y[:8, None]), nn.MSELoss())


def convolutional():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2)).double()
    x = torch.randn(6, 1, 6, 6, dtype=torch.float64)
    return isthmus.Problem(net, x, torch.randn(6, 2, dtype=torch.float64), nn.MSELoss())


@pytest.mark.parametrize("make", [deep_linear, convolutional])
@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}])
def test_deep_linear_and_convolutional_networks_against_an_explicit_linear_model(make, options):
    problem = make()
    lr = 0.5 / spectrum(problem).largest
    optimizer = lambda p: torch.optim.SGD(p, lr=lr, **options)  # noqa: E731
    found = predict_training(problem, optimizer, 100)
    outputs, _ = linear_model_run(problem.network.module, problem.inputs, problem.targets, nn.MSELoss(), optimizer, 100)
    want = ((outputs - problem.targets.numpy()) ** 2).reshape(101, -1).mean(1)
    assert np.abs(found.loss - want).max() < 1e-7 * want[0]  # the explicit Jacobian is a finite difference


def test_a_deep_linear_network_is_degenerate_where_its_inputs_are():
    problem = deep_linear()
    wide = isthmus.Problem(problem.network, *(torch.tensor(part) for part in (r20()[0], r20()[1][:, None])), nn.MSELoss())
    assert spectrum(problem).zero_modes == 0 and spectrum(wide).zero_modes == 10  # 20 samples in 10 dimensions
    assert spectrum(wide).floor > 0


def test_empirical_kernels_converge_to_the_infinite_width_gram_matrix():
    """The first layer's kernel: the distance falls like m^-1/2, and so does that of the predicted losses."""
    x, y = r20()
    limit = InfiniteWidth(2, "relu", weight_variance=1, scale_inputs=False, trained="first")(x)
    values, vectors = np.linalg.eigh(limit)
    steps, lr = np.arange(41), 0.5 / values[-1]
    want = 0.5 * (((1 - lr * values) ** steps[:, None] * (vectors.T @ y)) ** 2).sum(1)
    widths, gaps = np.array([256, 1024, 4096, 16384]), []
    for width in widths:
        rows = []
        for seed in range(3):
            problem = isthmus.Problem(TwoLayer(10, int(width), seed), torch.tensor(x), torch.tensor(y[:, None]), HalfSum())
            modes = spectrum(problem, verify=False)
            gram = modes.vectors * modes.values @ modes.vectors.T
            predicted = predict_training(modes, TorchSgd(lr=lr), 40).loss
            rows.append((np.linalg.norm(gram - limit, 2), np.abs(predicted - want).max() / want[0]))
        gaps.append(np.mean(rows, axis=0))
    slopes = np.polyfit(np.log(widths), np.log(np.array(gaps)), 1)[0]
    assert (slopes < -0.35).all() and (slopes > -0.65).all()
    assert np.abs(np.diagonal(limit) - 0.5).max() < 1e-12
