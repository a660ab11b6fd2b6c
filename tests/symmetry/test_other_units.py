"""Channels with norms, gated units and attention heads: classified, expanded, located, joined by paths and reduced."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus._core.errors import HypothesisError
from isthmus._core.seeds import Seed
from isthmus.linops.random import forked_rng
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.results.symmetry import UNIT_KINDS
from isthmus.symmetry.activations import ActivationClass
from isthmus.symmetry.expansion import expansion_manifold
from isthmus.symmetry.layers import examined_layers, hidden_layers
from isthmus.symmetry.membership import locate
from isthmus.symmetry.paths import zero_loss_path
from isthmus.symmetry.reduction import reduce, shrunk
from isthmus.symmetry.taxonomy import unit_taxonomy


class Gated(nn.Module):
    """``x + O (silu(G x) * V x)`` and a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.value, self.out, self.head = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.out(functional.silu(self.gate(x)) * self.value(x)))


class Packed(nn.Module):
    """The same with gates and values in one layer, values first."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.out = nn.Linear(4, 6), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.both(x).chunk(2, dim=-1)
        return self.out(torch.sigmoid(gate) * value)


class Heads(nn.Module):
    """Attention of three heads of two dimensions on five positions."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 3
        self.q, self.k, self.v, self.out = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        mixed = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        return self.head((x + self.out(mixed.transpose(1, 2).flatten(2))).mean(1))


def channels() -> nn.Sequential:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    module(torch.randn(40, 1, 6, 6))
    nn.init.normal_(module[1].weight)
    nn.init.uniform_(module[1].bias)
    return module


def sigmoid_channels() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Sigmoid(), nn.Flatten(), nn.Linear(48, 2))


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], ActivationClass]] = {
    "gated units": (Gated, (4,), ActivationClass.LINEAR_FACTOR),
    "gated units in one layer": (Packed, (4,), ActivationClass.LINEAR_FACTOR),
    "attention heads": (Heads, (5, 4), ActivationClass.LINEAR_FACTOR),
    "channels with a norm": (channels, (1, 6, 6), ActivationClass.POSITIVE_SCALING),
    "sigmoid channels with a norm": (sigmoid_channels, (1, 6, 6), ActivationClass.ODD_CONSTANT),
}


def built(name: str) -> tuple[Network, Tensor]:
    make, shape, _ = CASES[name]
    with forked_rng(Seed(3)):
        network = Network(make(), dtype=torch.float64).eval()
        return network, torch.randn(30, *shape, dtype=torch.float64)


def turned(network: Network, inputs: Tensor) -> Network:
    """An equivalent network with every unit at another sign or scale, as its class allows."""
    layer = hidden_layers(network, inputs)[0]
    draw = torch.rand(layer.size, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    factors = draw + 0.5 if layer.activation.scales else torch.ones_like(draw)
    if layer.activation.flips:
        factors = torch.where(draw < 0.6, -factors, factors)
    state = layer.with_constants(network.state, layer.constants(1 / factors))
    out = layer.outgoing(network.state) / factors[:, None]
    state = layer.with_outgoing(layer.with_incoming(state, layer.multiplied(state, layer.incoming(state), factors)), out)
    return network.at_state(state)


@pytest.mark.parametrize("name", CASES)
def test_expanded_turned_located_joined_and_reduced(name: str) -> None:
    network, inputs = built(name)
    (layer,) = hidden_layers(network, inputs)
    assert layer.activation is CASES[name][2]
    manifold = expansion_manifold(network, [6], inputs)
    ends = []
    for seed in range(2):
        chosen = manifold.random_pieces(seed)
        wide = turned(manifold.sample(chosen, seed=seed), inputs)
        torch.testing.assert_close(wide(inputs), network(inputs), rtol=0, atol=1e-11)
        place = locate(manifold, wide, inputs)
        assert place is not None
        assert place.pieces == chosen
        small = shrunk(wide, inputs)
        assert [layer.size for layer in small.layers] == [3]
        assert small.change <= 1e-11
        for i, label in enumerate(chosen[0].labels):
            assert (small.roles[0][i].kind in ("parked", "zero group", "dead")) == (label >= 3)
        ends.append(wide)
    path = zero_loss_path(*ends, inputs)
    assert path.change <= 1e-11
    assert torch.equal(path.knots[-1], ends[1].flat)


@pytest.mark.parametrize("name", CASES)
def test_a_trained_network_passes_the_certificate_and_no_unit_goes_by_distance_alone(name: str) -> None:
    network, inputs = built(name)
    targets = network(inputs) + 0.1 * torch.sin(3 * network(inputs).flip(1))
    found = reduce(Problem(network, inputs, targets, nn.MSELoss()), tolerances=(1e-9, 1e-2), steps=30)
    assert found.widths == (3,)
    manifold = expansion_manifold(network, [5], inputs)
    wide = turned(manifold.sample(manifold.random_pieces(7), seed=7), inputs)
    noisy = wide.at(wide.flat * (1 + 1e-7 * torch.cos(torch.arange(wide.size))))
    given = Problem(noisy, inputs, targets, nn.MSELoss())
    record = unit_taxonomy(given, reduce(given, tolerances=(1e-5,), steps=30))
    assert record.minimal == [3]
    assert record.change <= 1e-3
    assert {UNIT_KINDS[k] for k in record.kind} <= {"copy", "distinct", "parked", "zero group", "dead"}


def test_what_cannot_be_joined_is_left_out_by_name() -> None:
    with forked_rng(Seed(0)):
        encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        module = nn.Sequential(encoder, nn.Flatten(), nn.Linear(40, 3)).double().eval()
    inputs = torch.randn(10, 5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layers, left_out = examined_layers(Network(module), inputs)
    assert [layer.group.name for layer in layers] == ["0.linear1"]
    assert any("heads" in line and "nn.MultiheadAttention" in line for line in left_out)
    given = Problem(module, inputs, torch.zeros(10, 3, dtype=torch.float64), nn.MSELoss())
    record = unit_taxonomy(given, reduce(given, tolerances=(1e-9,)))
    assert record.left_out == list(left_out)
    with pytest.raises(HypothesisError, match="no hidden layer of units"):
        hidden_layers(Network(nn.Linear(3, 2).double()), torch.zeros(4, 3, dtype=torch.float64))
