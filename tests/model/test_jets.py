"""Polynomials through operations against nested derivatives of the whole function."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.model import taylor
from isthmus.model.composed import ComposedNorms
from isthmus.model.derivatives import exact_kernels
from isthmus.model.jets import Jet, NoJet
from isthmus.model.network import Network
from tests.model.networks import NETWORKS, build


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def carried(function: Callable, at: dict[str, Tensor], along: dict[str, Tensor], order: int = 3) -> tuple[Tensor, ...]:
    return taylor._carried(function, at, along, order)


def nested(function: Callable, at: dict[str, Tensor], along: dict[str, Tensor], order: int = 3) -> list[Tensor]:
    levels = taylor._series(lambda p: (function(p),), along, order, taylor._forward_mode)(at)
    return [level / math.factorial(j) for j, level in enumerate(levels)]


def compare(function: Callable, at: dict[str, Tensor], along: dict[str, Tensor]) -> None:
    for found, expected in zip(carried(function, at, along), nested(function, at, along), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_followed_and_agree_with_nested_forward_mode(name: str) -> None:
    """No fallback here: a network that cannot be followed raises."""
    module, inputs, _ = build(name)
    network = Network(module).eval()
    along = network.layout.unflatten(0.3 * drawn(network.size))
    with exact_kernels(network), ComposedNorms():
        compare(lambda p: network.forward(p, inputs), dict(network.parameters), along)


X, Y, IMAGE = drawn(4, 6), drawn(4, 6, seed=1), drawn(2, 3, 8, 8)
OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sums": lambda a, b: (a + b) - (2.0 - a) + 3 * b - b / 2 + (X - b) + (1 + a),
    "broadcast sums": lambda a, b: a[:, :1] + b[0] - a[1],
    "products": lambda a, b: (a * b) @ (a.T * 2) @ X,
    "einsum": lambda a, b: torch.einsum("ni,nj->ij", a, b) + torch.einsum("ij,ij->", a, b) + torch.einsum("ij->", a),
    "quotients": lambda a, b: a / (3 + b * b) + 1 / (2 + a * a) + X / (3 + b * b),
    "batched products": lambda a, b: torch.bmm(a.reshape(2, 2, 6), b.reshape(2, 6, 2)),
    "shapes": lambda a, b: torch.cat([a.T.reshape(3, 8), Y.reshape(3, 8), b.view(3, 8)], 1).unsqueeze(0).flip(1).permute(2, 0, 1),
    "chunks": lambda a, b: torch.stack([*a.chunk(2, 1), *b.split(3, dim=1)]).sum(0).mean(1),
    "activations": lambda a, b: (
        torch.tanh(a) + torch.sigmoid(b) + F.gelu(a) + torch.erf(b) + torch.exp(a / 3) + (b * b + 1).rsqrt() + F.relu(a)
    ),
    "powers": lambda a, b: a**2 + a.square() + (2 + b * b) ** 1.5 + 2.0 ** (a / 3) + torch.sqrt(1 + a * a),
    "without a rule": lambda a, b: F.softplus(a) + F.silu(b) + torch.logaddexp(a, b) + F.elu(a) + a.cumsum(1) + F.gelu(a, approximate="tanh"),
    "softmax": lambda a, b: torch.softmax(a, -1) * F.log_softmax(b, 1) + F.softmax(b, dim=0),
    "several outputs": lambda a, b: torch.sort(a, 1)[0] + b.max(1).values[:, None],
    "comparisons": lambda a, b: torch.where(a > 0, b, a * b) * (1 if a.sum() > -1e9 else 0) + a.shape[0] * a,
    "linear": lambda a, b: F.linear(X, a, b[:, 0]) + F.linear(a, X) + F.linear(X, Y, a[:, 0]),
    "convolution": lambda a, b: F.conv2d(IMAGE, a.reshape(2, 3, 2, 2)[:, :, :1], b[0, :2], padding=1),
    "padding": lambda a, b: F.pad(a, (1, 2)) + F.pad(b, (1, 2), value=0.7),
    "pooling": lambda a, b: F.avg_pool1d(a[None], 2) + F.max_pool1d(b[None], 2) + F.adaptive_avg_pool1d(a[None], 3),
    "batch norm": lambda a, b: F.batch_norm(a, X[0], X[1].square() + 1, b[0], b[1], training=False),
    "layer norm": lambda a, b: F.layer_norm(a, (6,), b[0], b[1]),
    "dropout off": lambda a, b: F.dropout(a, 0.5, training=False) * b,
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name: str) -> None:
    def function(p: dict[str, Tensor]) -> Tensor:
        return OPERATIONS[name](p["a"], p["b"])

    with ComposedNorms():
        compare(
            function, {"a": drawn(4, 6, seed=2), "b": drawn(4, 6, seed=3)}, {"a": drawn(4, 6, seed=4), "b": drawn(4, 6, seed=5)}
        )


@pytest.mark.parametrize("mask", [None, "causal", "boolean", "additive"])
def test_attention(mask: str | None) -> None:
    masks = {"boolean": torch.ones(4, 4).tril().bool(), "additive": drawn(4, 4, seed=7)}

    def function(p: dict[str, Tensor]) -> Tensor:
        q, k, v = (p[name].reshape(2, 4, 3) for name in "qkv")
        return F.scaled_dot_product_attention(q, k, v, attn_mask=masks.get(mask or ""), is_causal=mask == "causal")

    at, along = ({name: drawn(24, seed=ord(name) + shift) for name in "qkv"} for shift in (0, 9))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        compare(function, at, along)


def test_attention_with_weights_and_mask() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.MultiheadAttention(6, 2, batch_first=True).double().eval()
    network = {name: value.detach() for name, value in layer.named_parameters()}
    x, mask = drawn(3, 4, 6), torch.ones(4, 4).triu(1).bool()

    def function(p: dict[str, Tensor]) -> Tensor:
        output, weights = torch.func.functional_call(layer, p, (x, x, x), {"attn_mask": mask})
        return torch.cat([output, weights], dim=-1)

    with exact_kernels(Network(layer)):
        compare(function, network, {name: 0.3 * torch.ones_like(value) for name, value in network.items()})


def test_writing_in_place_is_followed_where_nothing_else_looks() -> None:
    def function(p: dict[str, Tensor]) -> Tensor:
        h = p["a"] * p["b"]
        h += p["a"]
        h.mul_(2.0)
        return F.relu(h, inplace=True) + h

    compare(function, {"a": X, "b": Y}, {"a": Y, "b": X})


class Block(nn.Module):
    """A residual block as torchvision writes it: in-place ReLU and `+=`."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.norms, self.relu = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)]), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norms[1](self.second(self.relu(self.norms[0](self.first(x)))))
        out += x
        return F.max_pool2d(self.relu(out), 2).flatten(1)


class Tokens(nn.Module):
    """A causal transformer block as language models write it: one projection, split into heads."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.project, self.out, self.norm = nn.Embedding(7, 8), nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.table(x)
        q, k, v = (t.view(*x.shape, 2, 4).transpose(1, 2) for t in self.project(self.norm(h)).split(8, dim=2))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).contiguous().view(h.shape)
        return F.silu(h + self.out(mixed)) @ self.table.weight.T


@pytest.mark.parametrize(("kind", "x"), [(Block, IMAGE), (Tokens, torch.arange(10).reshape(2, 5) % 7)])
def test_code_as_people_write_it_is_followed(kind: type[nn.Module], x: Tensor) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(kind().double()).eval()
    with exact_kernels(network), ComposedNorms():
        compare(lambda p: network.forward(p, x), dict(network.parameters), network.layout.unflatten(0.2 * drawn(network.size)))


@pytest.mark.parametrize(
    "function",
    [
        lambda p: (p["a"] * 1.0).view(-1).relu_(),
        lambda p: torch.zeros(4, 6, dtype=torch.float64).add_(p["a"]),
        lambda p: p["a"].detach() + p["a"],
        lambda p: torch.add(p["a"], p["a"], out=torch.empty(4, 6, dtype=torch.float64)),
    ],
)
def test_what_cannot_be_followed_says_so(function: Callable) -> None:
    with torch.enable_grad(), pytest.raises(NoJet):
        carried(function, {"a": X}, {"a": Y})


def test_a_function_with_its_own_derivative_is_not_followed() -> None:
    class Through(torch.autograd.Function):
        """Rounds forward, passes gradients: its operations have another derivative than it says."""

        @staticmethod
        def forward(x):
            return torch.round(x)

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, grad):
            return grad

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return Through.apply(self.a(x))

    network, x = Network(Net().double()), drawn(4, 3)
    along = network.layout.unflatten(drawn(6, seed=1))
    with torch.no_grad():
        terms = taylor.taylor_terms(network, x, along, 1)
    torch.testing.assert_close(terms[1], x @ along["a.weight"].T)


def test_gradients_flow_to_the_displacement_and_not_past_no_grad() -> None:
    module, inputs, _ = build("residual with layer norm")
    network = Network(module).eval()
    along = {name: 0.3 * torch.ones_like(value) for name, value in network.parameters.items()}
    second = []
    for method in (carried, nested):
        d = {name: value.clone().requires_grad_() for name, value in along.items()}
        with torch.enable_grad(), ComposedNorms():
            method(lambda p: network.forward(p, inputs), dict(network.parameters), d)[2].square().sum().backward()
        second.append(network.layout.flatten({name: torch.zeros_like(v) if v.grad is None else v.grad for name, v in d.items()}))
    torch.testing.assert_close(*second, rtol=1e-9, atol=1e-11)
    assert not taylor.taylor_terms(network, inputs, along, 2).requires_grad


def test_a_jet_is_a_tensor_of_its_values_shape_without_storage() -> None:
    with torch.enable_grad():
        jet = Jet((X, Y), 3, taylor._expand)
        assert isinstance(jet, Tensor)
        assert (jet.shape, len(jet), jet.dtype) == (X.shape, 4, torch.float64)
        power = jet * jet * jet * jet
        assert isinstance(power, Jet)
        assert [term.shape for term in power.terms] == [X.shape] * 4
