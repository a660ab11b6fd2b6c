"""Networks with a stated parametrization: shapes, scalings, and laws at initialization."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import InputError
from isthmus.model.zoo import ACTIVATIONS, ScaledLinear, mlp, ntk_mlp

FUNCTIONS = {"relu": torch.relu, "tanh": torch.tanh, "gelu": nn.functional.gelu, "erf": torch.erf}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_is_linear_maps_with_activations_between(activation: str) -> None:
    net, x = mlp([3, 5, 4, 2], activation, seed=1), torch.randn(6, 3)
    first, second, third = (m for m in net if isinstance(m, nn.Linear))
    f = FUNCTIONS[activation]
    h = f(f(x @ first.weight.T + first.bias) @ second.weight.T + second.bias)
    torch.testing.assert_close(net(x), h @ third.weight.T + third.bias)


@pytest.mark.parametrize("scaling", ["ntk", "mean_field"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", [2, 3])
def test_ntk_mlp_has_its_scales_in_the_forward_pass(scaling: str, activation: str, depth: int) -> None:
    net, x = ntk_mlp(3, 50, 2, depth, scaling=scaling, activation=activation, seed=2), torch.randn(6, 3)
    layers = [m for m in net if isinstance(m, ScaledLinear)]
    assert len(layers) == depth
    gain = math.sqrt(2) if activation == "relu" else 1
    h = x @ layers[0].weight.T / math.sqrt(3)
    for layer in layers[1:-1]:
        h = gain / math.sqrt(50) * FUNCTIONS[activation](h) @ layer.weight.T
    last = 1 / 50 if scaling == "mean_field" else gain / math.sqrt(50)
    torch.testing.assert_close(net(x), last * FUNCTIONS[activation](h) @ layers[-1].weight.T)


def test_weights_are_standard_normal() -> None:
    weights = torch.cat([p.detach().reshape(-1) for p in ntk_mlp(20, 200, 10, 3, seed=0).parameters()])
    assert abs(float(weights.mean())) < 5 / math.sqrt(len(weights))
    assert float(weights.var()) == pytest.approx(1, abs=5 * math.sqrt(2 / len(weights)))


@pytest.mark.parametrize(("scaling", "exponent"), [("ntk", 0.0), ("mean_field", -0.5)])
def test_outputs_scale_with_the_width_as_stated(scaling: str, exponent: float) -> None:
    x, widths = torch.randn(1, 5), np.array([16, 64, 256, 1024])
    sizes = [
        math.sqrt(np.mean([ntk_mlp(5, int(m), 1, scaling=scaling, seed=s)(x).item() ** 2 for s in range(150)])) for m in widths
    ]
    assert np.polyfit(np.log(widths), np.log(sizes), 1)[0] == pytest.approx(exponent, abs=0.08)


@pytest.mark.parametrize("make", [lambda seed: mlp([3, 4, 2], seed=seed), lambda seed: ntk_mlp(3, 4, 2, seed=seed)])
def test_seeds_name_the_weights_and_no_global_generator_moves(make) -> None:
    before = torch.get_rng_state()
    one, same, other = (torch.cat([p.detach().reshape(-1) for p in make(seed).parameters()]) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="at least inputs and outputs"):
        mlp([3])
    with pytest.raises(InputError, match="'selu' is unknown; there are relu"):
        mlp([3, 3], "selu")
    for bad in ({"depth": 1}, {"scaling": "mup"}):
        with pytest.raises(InputError, match="depth >= 2 and scaling"):
            ntk_mlp(3, 4, 1, **bad)
