"""Distances between networks against closed forms and plain numpy."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import nn

from isthmus._core.errors import InputError, ShapeError
from isthmus.model.comparison import activation_patterns, function_distances, hamming_distance, weight_distance
from isthmus.model.network import Network


def gaussian_layers(rho: float) -> tuple[Network, Network]:
    """Two ReLU layers whose Gaussian weights have correlation rho."""
    draw = torch.Generator().manual_seed(0)
    first = torch.randn(2000, 50, generator=draw)
    second = rho * first + math.sqrt(1 - rho**2) * torch.randn(2000, 50, generator=draw)
    nets = []
    for weight in (first, second):
        layer = nn.Linear(50, 2000, bias=False)
        layer.weight.data = weight
        nets.append(Network(nn.Sequential(layer, nn.ReLU())))
    return nets[0], nets[1]


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_hamming_of_gaussian_layers_is_the_angle_over_pi(rho: float) -> None:
    inputs = torch.randn(2000, 50, generator=torch.Generator().manual_seed(1))
    pooled, layers = hamming_distance(*gaussian_layers(rho), inputs)
    assert pooled == pytest.approx(math.acos(rho) / math.pi, abs=0.003)
    assert layers == [pooled]


def test_every_way_to_write_a_rectifier_is_seen() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.layer(x)
            return torch.relu(z) + nn.functional.relu(-z) + z.relu() + nn.functional.leaky_relu(z)

    net, inputs = Network(Net()), torch.randn(5, 3)
    patterns = activation_patterns(net, inputs)
    assert [p.shape for p in patterns] == [(5, 4)] * 4
    z = net.module.layer(inputs) > 0
    assert torch.equal(patterns[0], z)
    assert torch.equal(patterns[1], ~z)


def test_layers_are_pooled_by_their_size() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    one = Network(net)
    other = one.at({k: v if k.startswith(("0", "2")) else -v for k, v in one.parameters.items()})
    flipped = one.at({k: -v if k.startswith("2") else v for k, v in one.parameters.items()})
    inputs = torch.randn(40, 3)
    assert hamming_distance(one, other, inputs)[0] == 0
    pooled, layers = hamming_distance(one, flipped, inputs)
    assert layers[0] == 0
    assert layers[1] == 1
    assert pooled == pytest.approx(6 / 10)


def test_a_smooth_network_has_no_pattern_and_widths_must_agree() -> None:
    smooth = Network(nn.Sequential(nn.Linear(3, 4), nn.Tanh()))
    assert math.isnan(hamming_distance(smooth, smooth, torch.randn(5, 3))[0])
    narrow, wide = (Network(nn.Sequential(nn.Linear(3, m), nn.ReLU(), nn.Linear(m, 1))) for m in (4, 5))
    with pytest.raises(ShapeError, match="different widths"):
        hamming_distance(narrow, wide, torch.randn(5, 3))


def test_function_distances_by_their_definitions() -> None:
    f, g = (Network(nn.Linear(4, 3)) for _ in range(2))
    inputs = torch.randn(30, 4)
    a, b = f(inputs).double().numpy(), g(inputs).double().numpy()
    found = function_distances(f, g, inputs)
    p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (a, b))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert found["disagreement"] == (a.argmax(1) != b.argmax(1)).mean()
    assert found["logit_l2"] == pytest.approx(np.linalg.norm(a - b) / math.sqrt((np.sum(a**2) + np.sum(b**2)) / 2))
    assert found["jensen_shannon"] == pytest.approx(np.mean([jensenshannon(x, y) ** 2 for x, y in zip(p, q, strict=True)]))
    assert found["logit_cosine"] == pytest.approx(np.mean(1 - cosine))
    same = function_distances(f, f, inputs)
    assert same["disagreement"] == same["logit_l2"] == same["jensen_shannon"] == 0
    assert math.isnan(function_distances(Network(nn.Linear(4, 1)), Network(nn.Linear(4, 1)), inputs)["disagreement"])
    with pytest.raises(InputError, match="at least one"):
        function_distances(f, g, inputs[:0])


def test_weight_distance_is_symmetric_and_scale_free() -> None:
    one = Network(nn.Linear(4, 3))
    other = one.at(2 * one.flat)
    assert weight_distance(one, one) == 0
    assert weight_distance(one, other) == pytest.approx(weight_distance(other, one))
    assert weight_distance(one, other) == pytest.approx(1 / math.sqrt(2.5))
