"""The shorter product of deltas below the last nonlinearity: taken where it is exact, and only there."""

import pytest
import torch
from torch import Tensor, nn

from isthmus.kernel import JacobianContraction, Structured, empirical_ntk
from isthmus.kernel.grams import _gains, _readout


class _Pooled(nn.Module):
    """Tokens through two layers, a mean over them, a readout: several positions with one readout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 16), nn.Linear(16, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.second(torch.relu(self.first(x)))).mean(1))


def _perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 5))


def _case(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(3)
    net, shape = (_Pooled(), (3, 5)) if name == "pooled" else (_perceptron(), (6,))
    return net.double(), torch.randn(40, *shape, dtype=torch.float64), torch.randn(9, *shape, dtype=torch.float64)


@pytest.mark.parametrize("name", ["perceptron", "pooled"])
@pytest.mark.parametrize("outputs", ["full", "trace"])
@pytest.mark.parametrize("cross", [False, True])
def test_equals_jacobian_contraction(name: str, outputs: str, cross: bool) -> None:
    """Full and trace kernels, equal and different sides, one position and several."""
    net, inputs, others = _case(name)
    second = others if cross else None
    fast = empirical_ntk(net, inputs, second, outputs=outputs, method=Structured()).kernel
    slow = empirical_ntk(net, inputs, second, outputs=outputs, method=JacobianContraction()).kernel
    assert abs(fast - slow).max() <= 1e-12 * abs(slow).max()


def test_units_that_are_dead_on_one_side_only() -> None:
    """A readout cannot be read where all deltas are zero; the other side may still need it."""
    torch.manual_seed(0)
    net = _perceptron().double()
    inputs = torch.full((8, 6), -1.0, dtype=torch.float64)
    others = torch.randn(12, 6, dtype=torch.float64) * 3
    fast = empirical_ntk(net, inputs, others, method=Structured()).kernel
    slow = empirical_ntk(net, inputs, others, method=JacobianContraction()).kernel
    assert abs(fast - slow).max() <= 1e-12 * abs(slow).max()


def test_a_readout_is_recognized_and_a_near_miss_is_not() -> None:
    """Deltas that share a readout give it back; one entry off by 1e-5 is enough to refuse."""
    generator = torch.Generator().manual_seed(1)
    readout, gains = torch.randn(6, 7, generator=generator), torch.randn(11, 2, 7, generator=generator)
    gains[:, :, 3] = 0.0
    deltas = readout[None, :, None] * gains[:, None]
    found = _readout(deltas)
    again = _gains(deltas, found)
    assert again is not None
    assert torch.allclose(found[None, :, None] * again[:, None], deltas, rtol=1e-5, atol=1e-6)
    deltas[4, 2, 1, 5] += 1e-5 * deltas[4, :, 1, 5].norm()
    assert _gains(deltas, _readout(deltas)) is None


def test_a_network_without_a_shared_readout() -> None:
    """A product of two branches before the readout: each sample reads its units in its own way."""

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(6, 8), nn.Linear(6, 32)

        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("nh,nch->nc", torch.tanh(self.one(x)), self.two(x).unflatten(1, (4, 8)))

    torch.manual_seed(0)
    net, inputs = Gate().double(), torch.randn(20, 6, dtype=torch.float64)
    fast = empirical_ntk(net, inputs, method=Structured()).kernel
    slow = empirical_ntk(net, inputs, method=JacobianContraction()).kernel
    assert abs(fast - slow).max() <= 1e-12 * abs(slow).max()
