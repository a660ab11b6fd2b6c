"""Random programs of tensor operations: whatever groups are found in them, permuting them changes nothing."""

import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus.model.network import Network
from isthmus.model.surgery import permute_units
from isthmus.model.units import exchangeable_units

SIZES = (2, 3, 4, 6)
ACTIVATIONS = (torch.tanh, torch.relu, functional.gelu, torch.sigmoid, torch.square)


class Program(nn.Module):
    """A few operations drawn from `seed`; parameters are drawn on the first call and kept."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self.drawn = seed, nn.ParameterList()

    def parameter(self, *shape: int) -> Tensor:
        if self.used == len(self.drawn):
            self.drawn.append(nn.Parameter(0.7 * torch.randn(*shape, dtype=torch.float64)))
        self.used += 1
        return self.drawn[self.used - 1]

    def forward(self, x: Tensor) -> Tensor:
        self.used, draw, values = 0, random.Random(self.seed), [x]
        for _ in range(draw.randint(4, 10)):
            y = self.step(draw, draw.choice(values[-4:]), values)
            if y is not None and y.numel() < 2000 and y.ndim < 5:
                values.append(y)
        last = [value.flatten(1) for value in values[-1:-3:-2]]
        return sum((functional.linear(value, self.parameter(3, value.shape[1])) for value in last), torch.zeros(()))

    def step(self, draw: random.Random, h: Tensor, values: list[Tensor]) -> Tensor | None:
        d = h.shape[-1]
        alike = [value for value in values if value.shape == h.shape]
        steps = [self.linear] * 6 + [self.normalized, self.shaped, self.joined, self.ordered, self.written]
        return draw.choice(steps)(draw, h, d, alike)

    def linear(self, draw: random.Random, h: Tensor, d: int, alike: list[Tensor]) -> Tensor:
        out = draw.choice(SIZES)
        bias = self.parameter(out) if draw.random() < 0.6 else None
        ways = (
            lambda: functional.linear(h, self.parameter(out, d), bias),
            lambda: h @ self.parameter(d, out),
            lambda: torch.einsum("...i,ij->...j", h, self.parameter(d, out)),
            lambda: torch.tanh(functional.linear(torch.tanh(functional.linear(h, w := self.parameter(d, d))), w)),
            lambda: functional.conv1d(h, self.parameter(4, h.shape[1], 1)) if h.ndim == 3 else h * self.parameter(d),
        )
        return draw.choice(ACTIVATIONS)(draw.choice(ways)())

    def normalized(self, draw: random.Random, h: Tensor, d: int, alike: list[Tensor]) -> Tensor:
        ways = (
            lambda: functional.layer_norm(h, (d,), self.parameter(d), self.parameter(d)),
            lambda: h.softmax(-1),
            lambda: h - h.logsumexp(-1, keepdim=True),
            lambda: h / (1 + h.amax(-1, keepdim=True).abs()),
            lambda: functional.group_norm(h, 2, self.parameter(h.shape[1])) if h.shape[1] % 2 == 0 else h,
        )
        return draw.choice(ways)()

    def shaped(self, draw: random.Random, h: Tensor, d: int, alike: list[Tensor]) -> Tensor:
        ways = (
            lambda: h.reshape(*h.shape[:-1], 2, d // 2) if d in (4, 6) and h.ndim < 4 else h,
            lambda: h.reshape(*h.shape[:-1], 3, d // 3) if d == 6 and h.ndim < 4 else h,
            lambda: h.transpose(-1, -2) if h.ndim > 2 else h,
            lambda: h.flatten(1),
            lambda: h.transpose(1, -1).flatten(1),
            lambda: h.unsqueeze(1).expand(len(h), 2, *h.shape[1:]),
            lambda: h.repeat(*[1] * (h.ndim - 1), 2),
            lambda: h.repeat_interleave(2, -1),
        )
        return draw.choice(ways)()

    def joined(self, draw: random.Random, h: Tensor, d: int, alike: list[Tensor]) -> Tensor:
        other = draw.choice(alike)
        ways = (
            lambda: h + other,
            lambda: h * other,
            lambda: torch.cat([h, other], -1),
            lambda: torch.stack([h, other], 1),
            lambda: h.chunk(2, -1)[draw.randint(0, 1)] if d % 2 == 0 else h,
            lambda: (h[:, :, None] * other[:, None, :]).flatten(1) if h.ndim == 2 else h @ other.transpose(-1, -2),
            lambda: torch.where(h > 0, h, other.flip(-1)),
        )
        return draw.choice(ways)()

    def ordered(self, draw: random.Random, h: Tensor, d: int, alike: list[Tensor]) -> Tensor:
        ways = (
            lambda: h.flip(-1), lambda: h.cumsum(-1), lambda: h.roll(1, -1), lambda: h.sort(-1).values,
            lambda: h.topk(d, -1).values, lambda: h[..., 1:] if d > 2 else h, lambda: h[..., ::2],
            lambda: h[..., torch.randperm(d, generator=torch.Generator().manual_seed(self.seed))],
            lambda: h + h.argmax(-1, keepdim=True), lambda: h + torch.linspace(0, 1, d, dtype=h.dtype),
            lambda: h.masked_fill(torch.arange(d) > 0, 0.0), lambda: h.gather(-1, torch.zeros_like(h, dtype=torch.long)),
        )  # fmt: skip
        return draw.choice(ways)()

    def written(self, draw: random.Random, h: Tensor, d: int, alike: list[Tensor]) -> Tensor:
        y = draw.choice((torch.zeros, torch.ones))(*h.shape[:-1], d + 2, dtype=h.dtype)
        y[..., 1 : 1 + d] = h
        if draw.random() < 0.3:
            y[..., 0] = h[..., -1]
        copy = h.clone()
        copy[..., 0] = 0.5
        return draw.choice((y, copy.tanh_(), functional.pad(h, (1, 0), value=draw.choice((0.0, 1.0)))))


@pytest.mark.parametrize("block", range(4))
def test_no_random_program_yields_a_wrong_group(block: int) -> None:
    """Thirty thousand programs of this kind were tried once; every run tries these."""
    groups = 0
    for seed in range(100 * block, 100 * (block + 1)):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = Program(seed)
            inputs = (
                torch.randn(3, 3, 4, dtype=torch.float64)
                if seed % 3 == 0
                else torch.randn(3, SIZES[seed % 4], dtype=torch.float64)
            )
            outputs = module(inputs)
        network, largest = Network(module), outputs.abs().max().clamp_min(1e-6)
        for group in exchangeable_units(network, inputs):
            order = torch.randperm(group.size, generator=torch.Generator().manual_seed(seed))
            change = (permute_units(network, group, order)(inputs) - outputs).abs().max()
            assert change <= 1e-9 * largest, (seed, group)
            groups += 1
    assert groups > 20
