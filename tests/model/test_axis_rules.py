"""Every kind of operation between two layers: are the units found, and is what is found right?"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus.model.network import Network
from isthmus.model.surgery import permute_units
from isthmus.model.units import exchangeable_units, unit_structure

STEPS, UNITS = 4, 6


class Between(nn.Module):
    """A layer on sequences, an operation on its units ``(n, steps, units)``, a reader of whatever comes out."""

    def __init__(self, operation: Callable[[Tensor, nn.Module], Tensor]) -> None:
        super().__init__()
        self.operation, self.one = operation, nn.Linear(3, UNITS)
        self.weight, self.square = nn.Parameter(torch.randn(UNITS)), nn.Parameter(torch.randn(UNITS, UNITS))
        self.register_buffer("order", torch.tensor([2, 0, 1, 3]))
        self.register_buffer("mask", torch.tensor([True, False, True, True]))
        self.two = nn.LazyLinear(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.operation(self.one(x.reshape(len(x), STEPS, 3)), self).flatten(1))


KEEPS: dict[str, Callable[[Tensor, nn.Module], Tensor]] = {
    "order of steps": lambda h, m: h.flip(1) + h.roll(1, 1) + h.cumsum(1),
    "steps by number": lambda h, m: h[:, m.order],
    "steps by index_select": lambda h, m: h.index_select(1, m.order),
    "masked steps": lambda h, m: h.masked_fill(m.mask[:, None], 0.0),
    "where over steps": lambda h, m: torch.where(m.mask[:, None], h, -h),
    "unbind and stack": lambda h, m: torch.stack([torch.tanh(part) for part in h.unbind(1)], dim=2),
    "split steps": lambda h, m: torch.cat([h.split([1, 3], 1)[1], h.split([1, 3], 1)[0]], 1),
    "split units": lambda h, m: torch.cat(h.split([2, 4], -1)[::-1], -1),
    "narrow": lambda h, m: h.narrow(1, 1, 2),
    "max over steps": lambda h, m: h.max(1).values,
    "amax and amin": lambda h, m: h.amax(1) - h.amin(1),
    "argmax over steps": lambda h, m: h.argmax(1).to(h.dtype) + h.sum(1),
    "sorted steps": lambda h, m: h.sort(1).values,
    "spread over steps": lambda h, m: h.std(1) + h.var(1) + h.norm(dim=1) + h.logsumexp(1) + h.prod(1),
    "norm over units": lambda h, m: h / h.norm(dim=-1, keepdim=True),
    "centered units": lambda h, m: h - h.mean(-1, keepdim=True),
    "softmax over units": lambda h, m: h.softmax(-1).log_softmax(1),
    "layer norm": lambda h, m: functional.layer_norm(h, (UNITS,), m.weight),
    "layer norm over both": lambda h, m: functional.layer_norm(h, (STEPS, UNITS)),
    "rms norm": lambda h, m: functional.rms_norm(h, (UNITS,), m.weight),
    "channels last": lambda h, m: functional.batch_norm(h.mT, torch.zeros_like(m.weight), torch.ones_like(m.weight), m.weight).mT,
    "constant padding": lambda h, m: functional.pad(h, (1, 2, 0, 1), value=0.3),
    "pooled steps": lambda h, m: functional.avg_pool1d(h.mT, 2) + functional.max_pool1d(h.mT, 2),
    "resampled steps": lambda h, m: functional.interpolate(h.mT, scale_factor=2.0, mode="linear") * 0.5,
    "lower triangle of steps": lambda h, m: (h @ h.mT).tril() @ h,
    "square map": lambda h, m: torch.relu(h @ m.square) @ m.square.T,
    "bilinear in data": lambda h, m: torch.einsum("btu,bsu->bts", h, h),
    "baddbmm": lambda h, m: torch.baddbmm(h, h @ h.mT, h),
    "gated": lambda h, m: functional.glu(h, -1),
    "prelu": lambda h, m: functional.prelu(h.mT, m.weight).mT,
    "repeated": lambda h, m: torch.cat([h.repeat(1, 2, 2), h.repeat(1, 2, 1).repeat_interleave(2, -1)], -1),
    "expanded": lambda h, m: h.unsqueeze(2).expand(-1, -1, 3, -1).squeeze(0),
    "in place": lambda h, m: h.clone().mul_(2).add_(m.weight).relu_().clamp_(max=3),
    "zeros to fill": lambda h, m: torch.zeros_like(h).copy_(h) + torch.ones(STEPS, UNITS, dtype=h.dtype),
}
FIXES: dict[str, Callable[[Tensor, nn.Module], Tensor]] = {
    "order of units": lambda h, m: h.flip(-1) * h.roll(1, -1),
    "cumulative over units": lambda h, m: h.cumsum(-1),
    "largest unit": lambda h, m: h + h.argmax(-1, keepdim=True),
    "sorted units": lambda h, m: h.topk(UNITS, -1).values * h,
    "every second unit": lambda h, m: torch.cat([h[..., ::2], h[..., 1::2]], -1),
    "units by number": lambda h, m: h[..., torch.tensor([5, 3, 1, 0, 2, 4])],
    "one unit alone": lambda h, m: h * h[..., :1].sigmoid() + h.select(-1, 0)[..., None],
    "values of its own": lambda h, m: h + torch.linspace(0, 1, UNITS, dtype=h.dtype),
    "reflected": lambda h, m: functional.pad(h, (1, 1), mode="reflect"),
    "fourier": lambda h, m: torch.fft.rfft(h).real,
    "distances": lambda h, m: torch.cdist(h, h) @ h.flip(-1),
    "unfolded": lambda h, m: h.unfold(-1, 2, 1),
}


def built(operation: Callable[[Tensor, nn.Module], Tensor]) -> tuple[Network, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, inputs = Between(operation).double(), torch.randn(5, STEPS * 3).double()
        module(inputs)
    return Network(module), inputs


@pytest.mark.parametrize("name", KEEPS)
def test_units_are_found_through(name: str) -> None:
    network, inputs = built(KEEPS[name])
    groups = [group for group in exchangeable_units(network, inputs) if any(slot.tensor == "one.weight" for slot in group.slots)]
    assert groups, "units were lost"
    for group in groups:
        moved = permute_units(network, group, torch.arange(group.size).roll(1))
        assert (moved(inputs) - network(inputs)).abs().max() < 1e-10


@pytest.mark.parametrize("name", FIXES)
def test_units_whose_order_matters_are_fixed_by(name: str) -> None:
    network, inputs = built(FIXES[name])
    found = unit_structure(network, inputs)
    assert not any(slot.tensor == "one.weight" for group in found.groups for slot in group.slots)
    reversed_units = network.parameters | {k: network.parameters[k].flip(0) for k in ("one.weight", "one.bias")}
    assert (network.at(reversed_units)(inputs) - network(inputs)).abs().max() > 1e-6
