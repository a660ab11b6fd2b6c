"""What is captured adds up to the dense Jacobian, on every architecture; what has no rule is left by name."""

import copy

import pytest
import torch
from torch import Tensor, nn

from isthmus._core.errors import UnsupportedLayer
from isthmus.model import capture
from isthmus.model.network import Network
from tests.model.architectures import ARCHITECTURES, make
from tests.reference.derivatives import dense_jacobian

#: parameters without a rule: used where no operation sees samples (a table of places, a token, a learned query), or by one
#: that is neither a product nor entrywise (transposed convolution, einsum, weight normalization)
LEFT = {
    "gpt": ["places.weight"],
    "cross attention": ["query"],
    "vit": ["token"],
    "unet": ["up.weight", "up.bias"],
    "einsum attention": ["q", "k", "v", "o"],
    "weight norm": ["0.parametrizations.weight.original0", "0.parametrizations.weight.original1"],
}


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("samples", [1, 4])
def test_parts_are_the_blocks_of_the_jacobian(name: str, samples: int) -> None:
    module, inputs = make(name, samples)
    network = Network(module)
    known = capture.understand(network, inputs)
    assert known.left == LEFT.get(name, [])
    dense, start, blocks = dense_jacobian(module, inputs), 0, {}
    for key, value in network.parameters.items():
        blocks[key] = dense[..., start : start + value.numel()]
        start += value.numel()
    for part in capture.capture(network, inputs, known):
        rows = sum(use.rows(slice(0, use.units)) for use in part.uses)
        begin = part.region.start
        expected = blocks[part.region.name][..., begin : begin + rows.shape[-1]]
        torch.testing.assert_close(rows, expected, rtol=1e-9, atol=1e-11 * float(dense.abs().max()))
        for use in part.uses:
            pieces = [use.rows(slice(k, k + 2)) for k in range(0, use.units, 2)]
            torch.testing.assert_close(torch.cat(pieces, dim=2), use.rows(slice(0, use.units)), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("budget", [1, 30_000])
@pytest.mark.parametrize("name", ["transformer encoder", "resnet", "bidirectional lstm and gru", "gpt"])
def test_pieces_change_nothing(name: str, budget: float) -> None:
    """One output of one sample at a time, and a few samples at a time."""
    module, inputs = make(name, 5)
    network = Network(module)
    known = capture.understand(network, inputs)
    whole = capture.capture(network, inputs, known)
    pieces = capture.capture(network, inputs, known, budget=budget)
    for one, other in zip(whole, pieces, strict=True):
        for a, b in zip(one.uses, other.uses, strict=True):
            torch.testing.assert_close(a.deltas, b.deltas, rtol=1e-10, atol=1e-13)
            torch.testing.assert_close(a.rows(slice(0, 1)), b.rows(slice(0, 1)), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("budget", [1, 2**26])
@pytest.mark.parametrize("name", ["mlp", "resnet", "gpt", "embedding tied to output"])
def test_derivatives_that_are_formed_at_once_are_the_same(name: str, budget: float) -> None:
    module, inputs = make(name, 5)
    network = Network(module)
    known = capture.understand(network, inputs)
    whole = capture.capture(network, inputs, known)
    every = range(len(whole))
    formed = capture.capture(network, inputs, known, formed=every[1:], without=every[:1], budget=budget)
    assert formed[0].uses == []
    for one, other in zip(whole[1:], formed[1:], strict=True):
        (shift,) = other.uses
        rows = sum(use.rows(slice(0, use.units)) for use in one.uses)
        torch.testing.assert_close(shift.rows(slice(0, shift.units)), rows, rtol=1e-10, atol=1e-13)


CONVOLUTIONS = [
    nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2),
    nn.Conv1d(4, 6, 4, padding="same", padding_mode="circular"),
    nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    nn.Conv2d(4, 8, 3, padding="same", dilation=2, groups=4, bias=False),
    nn.Conv2d(4, 4, 2, stride=3, padding=1, groups=4, padding_mode="reflect"),
    nn.Conv2d(4, 5, (2, 4), padding="valid"),
    nn.Conv3d(4, 3, (2, 1, 3), stride=(1, 2, 1), padding=(1, 0, 1)),
]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_every_kind_of_convolution(layer: nn.Module) -> None:
    axes = layer.weight.ndim - 2
    module = nn.Sequential(copy.deepcopy(layer), nn.Tanh(), nn.Flatten(), nn.LazyLinear(2)).double()
    inputs = torch.randn(3, 4, *(7, 6, 5)[:axes], dtype=torch.float64)
    module(inputs)
    network = Network(module)
    known = capture.understand(network, inputs)
    assert known.left == []
    parts = {part.region.name: part for part in capture.capture(network, inputs, known)}
    dense = dense_jacobian(module, inputs)
    mine = torch.cat([parts[name].uses[0].rows(slice(0, parts[name].uses[0].units)) for name in network.parameters], dim=2)
    torch.testing.assert_close(mine, dense, rtol=1e-10, atol=1e-12)


class Bypassed(nn.Module):
    """A weight that is also used where no rule sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x))) + self.first.weight.square().sum() * x[:, :2]


class Overlapping(nn.Module):
    """Two different, overlapping parts of one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight[:4]).tanh() @ self.weight[2:5].T


class Rowwise(nn.Module):
    """Each sample by itself in a Python loop."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.inner(row[None]) for row in x])


@pytest.mark.parametrize(
    ("make_one", "left"),
    [
        (Bypassed, ["first.weight"]),
        (Overlapping, ["weight"]),
        (Rowwise, ["inner.weight", "inner.bias"]),
    ],
)
def test_what_the_rules_do_not_tell_whole_is_left(make_one: type[nn.Module], left: list[str]) -> None:
    torch.manual_seed(0)
    network, inputs = Network(make_one().double()), torch.randn(4, 4, dtype=torch.float64)
    assert capture.understand(network, inputs).left == left


def test_operations_that_change_with_the_inputs_are_an_error() -> None:
    class Fickle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) + self.two(x) if len(x) < 4 else self.one(x)

    network, inputs = Network(Fickle().double()), torch.randn(6, 4, dtype=torch.float64)
    known = capture.understand(network, inputs)
    with pytest.raises(UnsupportedLayer, match="JacobianContraction"):
        capture.capture(network, inputs, known)


def test_the_module_and_its_tensors_stay() -> None:
    module, inputs = make("conv flatten linear", 3)
    before, hashes = inputs.clone(), Network(module).parameter_hash
    network = Network(module)
    capture.capture(network, inputs, capture.understand(network, inputs))
    assert torch.equal(inputs, before)
    assert network.parameter_hash == hashes
    assert not any(p.requires_grad for p in network.parameters.values())
