"""Pseudo-networks against the networks they come from, Taylor models, and the tangent kernel."""

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import InputError, UnsupportedLayer
from isthmus._core.seeds import Seed
from isthmus.kernel import empirical_ntk
from isthmus.learning.pseudo import Displacement, PseudoNetwork, smoothed_relu
from isthmus.learning.quadratic import SMOOTH, SignedNetwork
from isthmus.model.network import Network
from isthmus.model.taylor import taylor_terms
from isthmus.model.zoo import relu_net


def case(depth: int, width: int = 64, outputs: int = 1, seed: int = 0) -> tuple:
    module = relu_net(4, width, outputs, depth, seed=seed).double()
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(40, 4, generator=g, dtype=torch.float64)
    first = 0.1 * torch.randn(width, 4, generator=g, dtype=torch.float64) / width**0.5
    second = 0.1 * torch.randn(width, width, generator=g, dtype=torch.float64) / width**0.5
    return module, x, Displacement(first, second if depth == 3 else None)


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("outputs", [1, 3])
def test_frozen_network_is_start_plus_linear_plus_bilinear(depth: int, outputs: int) -> None:
    module, x, move = case(depth, outputs=outputs)
    pseudo = PseudoNetwork.of(module)
    with torch.no_grad():
        torch.testing.assert_close(pseudo.start(x), module(x), rtol=1e-12, atol=1e-13)
    parts = pseudo.start(x) + pseudo.linear(x, move) + pseudo.bilinear(x, move)
    torch.testing.assert_close(pseudo.frozen(x, move), parts, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("depth", [2, 3])
def test_parts_are_the_terms_of_the_taylor_expansion(depth: int) -> None:
    module, x, move = case(depth)
    network, pseudo = Network(module), PseudoNetwork.of(module)
    shift = dict(zip(network.parameters, [move.first, move.second], strict=False))
    terms = taylor_terms(network, x, shift, 2)
    torch.testing.assert_close(pseudo.linear(x, move), terms[1], rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(pseudo.bilinear(x, move), terms[2], rtol=1e-11, atol=1e-13)
    if depth == 2:
        assert float(terms[2].abs().max()) == 0.0


def test_true_network_is_the_displaced_module() -> None:
    module, x, move = case(3)
    with torch.no_grad():
        pseudo = PseudoNetwork.of(module)
        module[0].weight += move.first
        module[2].weight += move.second
        torch.testing.assert_close(pseudo.true(x, move), module(x), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("depth", [2, 3])
def test_closed_form_kernel_is_the_tangent_kernel_of_the_hidden_weights(depth: int) -> None:
    module, x, _ = case(depth)
    expected = empirical_ntk(module, x, outputs="trace").matrix
    np.testing.assert_allclose(PseudoNetwork.of(module).kernel(x).numpy(), expected, rtol=1e-10, atol=1e-12)


def test_signs_leave_the_bilinear_part_and_average_the_linear_one() -> None:
    module, x, _ = case(3, width=200)
    u = torch.randn(4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    pseudo = PseudoNetwork.of(module)
    first = torch.outer(torch.ones(200, dtype=torch.float64), u) / 200**0.5
    second = torch.outer(pseudo.output[0], torch.ones(200, dtype=torch.float64)) / 200**0.5
    move = Displacement(first, second)
    generator = torch.Generator().manual_seed(4)
    linears, deviations = [], []
    for _ in range(400):
        signs = (2 * torch.randint(0, 2, (200,), generator=generator) - 1).double()
        linears.append(pseudo.linear(x, move.mixed(signs)))
        deviations.append((pseudo.bilinear(x, move.mixed(signs)) - pseudo.bilinear(x, move)).abs().max())
    stacked = torch.stack(linears)
    assert float(max(deviations)) < 1e-12
    assert float(stacked.mean(0).square().mean().sqrt()) < 0.1 * float(stacked.square().mean().sqrt())


def test_antithetic_mixing_is_exact() -> None:
    """``E G2(sqrt(1-e) W + sqrt(e) Sigma W*, ...) = (1-e) G2(W, V) + e G2(W*, V*)`` over the pair (Sigma, -Sigma)."""
    module, x, move = case(3)
    _, _, other = case(3, seed=1)
    pseudo, eta = PseudoNetwork.of(module), 0.3
    signs = (2 * torch.randint(0, 2, (64,), generator=torch.Generator().manual_seed(1)) - 1).double()

    def mixture(s: torch.Tensor) -> torch.Tensor:
        a, b = move.scaled((1 - eta) ** 0.5), other.mixed(s).scaled(eta**0.5)
        return pseudo.bilinear(x, Displacement(a.first + b.first, a.second + b.second))

    mean = (mixture(signs) + mixture(-signs)) / 2
    expected = (1 - eta) * pseudo.bilinear(x, move) + eta * pseudo.bilinear(x, other)
    torch.testing.assert_close(mean, expected, rtol=1e-11, atol=1e-13)


def test_flips_fall_like_the_root_of_the_width() -> None:
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scaled = []
    for width in (100, 400, 1600, 6400):
        pseudo = PseudoNetwork.of(relu_net(4, width, seed=width).double())
        move = torch.randn(width, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        move = move / move.norm(dim=1, keepdim=True) / width
        scaled.append(pseudo.flipped(x, Displacement(move)) * width**0.5)
    assert max(scaled) / min(scaled) < 1.15


def test_sign_averaged_network_approaches_the_bilinear_part() -> None:
    errors = []
    for width in (50, 800):
        module, x, _ = case(3, width=width)
        pseudo = PseudoNetwork.of(module)
        first = torch.full((width, 4), 1.0, dtype=torch.float64) / width
        second = torch.outer(pseudo.output[0], torch.ones(width, dtype=torch.float64)) / width**0.5
        move = Displacement(first, second.div(width**0.5))
        gap = pseudo.sign_averaged(x, move, 20, Seed(0)) - pseudo.start(x) - pseudo.bilinear(x, move)
        errors.append(float(gap.norm() / pseudo.bilinear(x, move).norm()))
    assert errors[1] < errors[0]


def test_smoothing_identity() -> None:
    z = torch.linspace(-1, 1, 9, dtype=torch.float64)
    noise = torch.randn(400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    measured = torch.stack([torch.relu(value + 0.3 * noise).mean() for value in z])
    torch.testing.assert_close(smoothed_relu(z, 0.3), measured, rtol=0, atol=1e-3)


@pytest.mark.parametrize("activation", SMOOTH)
def test_quadratic_model_is_the_taylor_expansion_of_its_network(activation: str) -> None:
    class Net(nn.Module):
        def __init__(self, signed: SignedNetwork, signs: torch.Tensor) -> None:
            super().__init__()
            self.move = nn.Parameter(torch.zeros_like(signed.start))
            self.signed, self.signs = signed, signs

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.signed.value(x, self.move, self.signs)[:, None]

    g = torch.Generator().manual_seed(0)
    start, output = torch.randn(30, 5, generator=g, dtype=torch.float64), torch.randn(30, generator=g, dtype=torch.float64)
    signs = (2 * torch.randint(0, 2, (30,), generator=g) - 1).double()
    x, move = torch.randn(20, 5, generator=g, dtype=torch.float64), torch.randn(30, 5, generator=g, dtype=torch.float64)
    signed = SignedNetwork(start, output, activation)
    terms = taylor_terms(Network(Net(signed, signs)), x, {"move": move}, 2)
    torch.testing.assert_close(signed.linear(x, move, signs), terms[1, :, 0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(signed.quadratic(x, move), terms[2, :, 0], rtol=1e-10, atol=1e-12)


def test_the_linear_part_falls_like_width_to_minus_a_quarter_and_the_quadratic_part_stays() -> None:
    """Rows ``m^-1/4 u`` on units with positive output; exact mean over signs, so that one draw of weights is enough."""
    widths, linear, quadratic = [200, 800, 3200, 12800], [], []
    g = torch.Generator().manual_seed(0)
    x, u = torch.randn(50, 4, generator=g, dtype=torch.float64), torch.randn(4, generator=g, dtype=torch.float64)
    for width in widths:
        start, output = (
            torch.randn(width, 4, generator=g, dtype=torch.float64),
            torch.randn(width, generator=g, dtype=torch.float64),
        )
        signed, move = SignedNetwork(start, output.sign()), (output > 0).double()[:, None] * u / width**0.25
        linear.append(float(signed.linear_mean_square(x, move).mean().sqrt()))
        quadratic.append(float(signed.quadratic(x, move).square().mean().sqrt()))
    assert np.polyfit(np.log(widths), np.log(linear), 1)[0] == pytest.approx(-0.25, abs=0.03)
    assert np.polyfit(np.log(widths), np.log(quadratic), 1)[0] == pytest.approx(0, abs=0.05)


def test_mean_square_over_signs_is_the_average_over_all_of_them() -> None:
    import itertools

    g = torch.Generator().manual_seed(0)
    signed = SignedNetwork(torch.randn(6, 3, generator=g, dtype=torch.float64), torch.randn(6, generator=g, dtype=torch.float64))
    x, move = torch.randn(4, 3, generator=g, dtype=torch.float64), torch.randn(6, 3, generator=g, dtype=torch.float64)
    everything = [signed.linear(x, move, torch.tensor(s, dtype=torch.float64)) for s in itertools.product((-1.0, 1.0), repeat=6)]
    torch.testing.assert_close(signed.linear_mean_square(x, move), torch.stack(everything).square().mean(0))


def test_other_modules_and_activations_are_refused() -> None:
    with pytest.raises(UnsupportedLayer, match="taylor_model"):
        PseudoNetwork.of(nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)))
    with pytest.raises(InputError, match="second derivative"):
        SignedNetwork(torch.zeros(2, 2), torch.zeros(2), "relu")
    module, x, move = case(3)
    with pytest.raises(InputError, match="V'"):
        PseudoNetwork.of(module).bilinear(x, Displacement(torch.zeros_like(move.first)))
