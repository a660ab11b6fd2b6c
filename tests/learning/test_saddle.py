"""The saddle certificate against explicit Hessians, and training that leaves the saddle."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.learning.mixing import MixedNetwork, NoisySgd, Switches, train_by_mixing
from isthmus.learning.pseudo import Displacement, PseudoNetwork
from isthmus.learning.saddle import output_slopes, saddle_certificate, sign_averaged_smallest
from isthmus.model.derivatives import HessianProduct, loss_gradient
from isthmus.model.problem import Problem
from isthmus.model.zoo import relu_net


class Bilinear(nn.Module):
    """f0 + G2, plus the linear part under given signs when asked; written out again."""

    def __init__(self, network: PseudoNetwork, signs: torch.Tensor | None = None, ridges: tuple = (0.0, 0.0)) -> None:
        super().__init__()
        self.network, self.signs = network, signs
        self.first, self.second = nn.Parameter(torch.zeros_like(network.first)), nn.Parameter(torch.zeros_like(network.second))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        net = self.network
        d_w = (x @ net.first.T + net.first_bias >= 0).to(x)
        h = d_w * (x @ net.first.T + net.first_bias)
        d_v = (h @ net.second.T + net.second_bias >= 0).to(x)
        out = (d_v * (h @ net.second.T + net.second_bias)) @ net.output.T
        inner = d_w * (x @ self.first.T)
        out = out + (d_v * (inner @ self.second.T)) @ net.output.T
        if self.signs is not None:
            first, second = self.signs[:, None] * self.first, self.second * self.signs
            out = out + (d_v * ((d_w * (x @ first.T)) @ net.second.T + h @ second.T)) @ net.output.T
        return out


def case(outputs: int = 1, width: int = 6) -> tuple:
    net = PseudoNetwork.of(relu_net(4, width, outputs, 3, seed=1).double())
    g = torch.Generator().manual_seed(0)
    x = torch.randn(50, 4, generator=g, dtype=torch.float64)
    return net, x, torch.randn(50, outputs, generator=g, dtype=torch.float64)


def smallest(problem: Problem) -> float:
    dense = HessianProduct(problem)(torch.eye(problem.network.size, dtype=torch.float64))
    return float(torch.linalg.eigvalsh(dense)[0])


def test_certificate_equals_the_explicit_hessian() -> None:
    net, x, y = case()
    problem = Problem(Bilinear(net), x, y, nn.MSELoss())
    assert float(loss_gradient(problem).abs().max()) == 0.0
    found = saddle_certificate(net, x, y, nn.MSELoss())
    assert found.smallest == pytest.approx(smallest(problem), rel=1e-8)
    assert found.smallest == pytest.approx(-float(found.norms.max()), rel=1e-12)
    direction = torch.cat([found.direction.first.reshape(-1), found.direction.second.reshape(-1)])
    assert float(direction.norm()) == pytest.approx(1)
    assert float(direction @ HessianProduct(problem)(direction)) == pytest.approx(found.smallest, rel=1e-8)


def test_certificate_for_cross_entropy() -> None:
    net, x, _ = case(3)
    labels = torch.arange(50) % 3
    found = saddle_certificate(net, x, labels, nn.CrossEntropyLoss())
    assert found.smallest == pytest.approx(smallest(Problem(Bilinear(net), x, labels, nn.CrossEntropyLoss())), rel=1e-8)
    slopes = output_slopes(net.start(x), labels, nn.CrossEntropyLoss())
    expected = (net.start(x).softmax(1) - nn.functional.one_hot(labels, 3)) / 50
    torch.testing.assert_close(slopes, expected)


@pytest.mark.parametrize("ridges", [(0.02, 0.02), (0.05, 0.0), (0.0, 0.03)])
def test_ridges_shift_the_curvature(ridges: tuple[float, float]) -> None:
    net, x, y = case()
    problem = Problem(Bilinear(net), x, y, nn.MSELoss())
    size = net.first.numel()
    dense = HessianProduct(problem)(torch.eye(problem.network.size, dtype=torch.float64))
    shift = torch.cat([torch.full((size,), ridges[0]), torch.full((problem.network.size - size,), ridges[1])]).double()
    expected = float(torch.linalg.eigvalsh(dense + torch.diag(shift))[0])
    found = saddle_certificate(net, x, y, nn.MSELoss(), ridge_first=ridges[0], ridge_second=ridges[1])
    assert found.smallest == pytest.approx(expected, rel=1e-8)
    direction = torch.cat([found.direction.first.reshape(-1), found.direction.second.reshape(-1)])
    assert float(direction @ (dense + torch.diag(shift)) @ direction) == pytest.approx(expected, rel=1e-8)


def test_sign_averaged_objective_by_enumerating_all_signs() -> None:
    net, x, y = case(width=4)
    total = torch.zeros(32, 32, dtype=torch.float64)
    for signs in itertools.product((-1.0, 1.0), repeat=4):
        module = Bilinear(net, torch.tensor(signs, dtype=torch.float64))
        problem = Problem(module, x, y, nn.MSELoss())
        total += HessianProduct(problem)(torch.eye(32, dtype=torch.float64)) / 16
    expected = float(torch.linalg.eigvalsh(total)[0]) / 2  # half the mean square
    found = sign_averaged_smallest(net, x, y)
    assert found == pytest.approx(expected, rel=1e-8)
    assert found >= saddle_certificate(net, x, y, nn.MSELoss()).smallest / 2


def test_noise_leaves_the_saddle_and_its_absence_does_not() -> None:
    """At (0, 0) with signs averaged, the gradient vanishes in the mean; the bilinear module has it exactly zero."""
    net, x, y = case(width=12)
    problem = Problem(Bilinear(net), x, y, nn.MSELoss())
    from isthmus.training import train

    losses = {}
    for noise in (0.0, 0.05):
        recipe = NoisySgd(0.02, Switches(noise=noise))
        run = train(problem, recipe, steps=300, batch=50, checkpoints=())
        losses[noise] = [nn.functional.mse_loss(run.problem_at(step).network(x), y) for step in (0, 300)]
    assert losses[0.0][1] == losses[0.0][0]
    assert losses[0.05][1] < 0.8 * losses[0.05][0]


def problem_of(width: int = 30) -> Problem:
    _, x, _ = case()
    y = (x[:, :1] * x[:, 1:2]).clone()
    return Problem(relu_net(4, width, 1, 3, seed=2).double(), x, y, nn.MSELoss())


@pytest.mark.parametrize(
    "switches",
    [
        Switches(),
        Switches(signs="fixed", noise=1e-3),
        Switches(signs="never", penalty="mixed24", weights=(1e-3, 1e-3)),
        Switches(smoothing=(0.01, 0.01), weights=(1e-4, 1e-4), decay=0.05),
    ],
)
def test_every_switch_trains_and_the_output_is_a_plain_network(switches: Switches) -> None:
    problem = problem_of()
    found = train_by_mixing(problem, switches, stages=2, steps=100, lr=0.02, batch=25)
    assert len(found.losses) == 3
    assert found.losses[-1] < found.losses[0]
    predictions = found.scale * found.network.start(problem.inputs)
    assert found.final_loss == pytest.approx(float(nn.functional.mse_loss(predictions, problem.targets)))
    assert found.scale == pytest.approx((1 - switches.decay) ** 2)
    if max(switches.smoothing) == 0:
        assert found.final_loss == pytest.approx(found.losses[-1], rel=1e-10)


def test_penalties_have_the_gradient_of_their_formula() -> None:
    g = torch.Generator().manual_seed(0)
    first, second = torch.randn(5, 3, generator=g, dtype=torch.float64), torch.randn(2, 5, generator=g, dtype=torch.float64)
    for penalty in ("frobenius", "mixed24"):
        switches = Switches(penalty=penalty, weights=(0.3, 0.7))
        pair = [nn.Parameter(first.clone()), nn.Parameter(second.clone())]
        optimizer = NoisySgd(1.0, switches, 0.5)(pair)
        for p in pair:
            p.grad = torch.zeros_like(p)
        optimizer.step()
        w, v = (t.clone().requires_grad_() for t in (first, second))
        scaled = 0.5**0.5 * w
        value = 0.3 * (scaled.square().sum() if penalty == "frobenius" else scaled.square().sum(1).square().sum())
        value = value + 0.7 * (0.5**0.5 * v).square().sum()
        value.backward()
        torch.testing.assert_close(first - pair[0].detach(), w.grad)
        torch.testing.assert_close(second - pair[1].detach(), v.grad)


def test_training_draws_signs_and_evaluation_does_not() -> None:
    net, x, _ = case(width=20)
    module = MixedNetwork(net, Switches(), Seed(0)).train()
    module.first.data += 0.5
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        assert not torch.equal(module(x), module(x))
        module.eval()
        torch.testing.assert_close(module(x), net.true(x, Displacement(module.first, module.second).mixed(module.signs)))
    assert np.isclose(float(module.signs.abs().sum()), 20)


def test_refusals() -> None:
    _, x, y = case()
    shallow = PseudoNetwork.of(relu_net(4, 6).double())
    with pytest.raises(InputError, match="two-layer"):
        saddle_certificate(shallow, x, y, nn.MSELoss())
    with pytest.raises(InputError, match="three layers"):
        train_by_mixing(Problem(relu_net(4, 6).double(), x, y, nn.MSELoss()), Switches(), steps=1)
    with pytest.raises(InputError, match="signs are"):
        Switches(signs="sometimes")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="negative"):
        Switches(noise=-1)
