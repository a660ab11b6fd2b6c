"""Exchangeable units: every permutation of every group leaves the outputs as they are, and nothing is missed or misnamed."""

import pytest
import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, ShapeError, UnsupportedLayer, VerificationError
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.surgery import permute_units
from isthmus.model.units import Slot, UnitGroup, exchangeable_units, unit_structure
from tests.model.architectures import ARCHITECTURES, make

EXPECTED = {
    "mlp": [("dense neuron", 9), ("dense neuron", 8)],
    "mlp without bias": [("dense neuron", 9), ("dense neuron", 8)],
    "cnn with batch norm": [("conv channel", 3), ("conv channel", 4)],
    "instance norm": [("conv channel", 4)],
    "residual with layer norm": [("residual channel", 8)],
    "transformer encoder": [("attention head", 2), ("head dimension", 3), ("dense neuron", 12)],
    "embedding tied to output": [("tied unit", 5)],
    "linear called twice": [],
    "tied weights": [],
    "lstm": [("tied unit", 4)],
    "resnet": [("residual channel", 4), ("conv channel", 4), ("conv channel", 6), ("residual channel", 6), ("conv channel", 6)],
    "resnet with padded shortcut": [("residual channel", 4), ("conv channel", 4), ("conv channel", 6), ("conv channel", 6)],
    "swiglu": [("residual channel", 8), ("gated unit", 10)],
    "gpt": [
        ("residual channel", 8),
        *2 * [("attention head", 2), ("head dimension", 4), ("head dimension", 4), ("dense neuron", 12)],
    ],
    "cross attention": [
        ("dense neuron", 3), ("dense neuron", 8), ("attention head", 2), ("head dimension", 4), ("head dimension", 4),
        ("dense neuron", 8),
    ],
    "vit": [("residual channel", 8), ("attention head", 2), ("head dimension", 4), ("dense neuron", 12)],
    "densenet": [("conv channel", 3), ("conv channel", 4)],
    "channel shuffle": [("conv channel", 3), ("conv channel", 2)],
    "unet": [("conv channel", 3), ("conv channel", 5), ("conv channel", 4)],
    "written in place": [("dense neuron", 4), ("dense neuron", 5)],
    "bidirectional lstm and gru": [*4 * [("tied unit", 4)], ("tied unit", 5)],
    "einsum attention": [("attention head", 3), ("head dimension", 2), ("dense neuron", 2), ("dense neuron", 5)],
    "conv flatten linear": [("conv channel", 3), ("conv channel", 5), ("dense neuron", 6)],
    "depthwise": [("conv channel", 6), ("conv channel", 2), ("conv channel", 4)],
    "reused block": [("tied unit", 7)],
    "weight norm": [("gated unit", 4), ("dense neuron", 5)],
}  # fmt: skip
GROWABLE = {"dense neuron", "conv channel", "gated unit", "attention head"}


def shuffled(size: int, seed: int) -> Tensor:
    """A permutation without fixed points where there is one."""
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    permutation = torch.empty(size, dtype=torch.long)
    permutation[order] = order.roll(1)
    return permutation


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_groups_are_all_found_and_permutations_keep_the_function(name: str) -> None:
    module, inputs = make(name)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    network = Network(module)
    groups = exchangeable_units(network, inputs)
    assert [(g.kind, g.size) for g in groups] == EXPECTED[name]
    assert len({g.name for g in groups}) == len(groups)
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in before.items())
    everything, outputs = network, network(inputs)
    for seed, group in enumerate(groups):
        moved = permute_units(network, group, shuffled(group.size, seed))
        assert (moved(inputs) - outputs).abs().max() < 1e-10
        assert moved.parameter_hash != network.parameter_hash
        everything = permute_units(everything, group, shuffled(group.size, seed + 100), verify_on=inputs)
    assert (everything(inputs) - outputs).abs().max() < 1e-10


@pytest.mark.parametrize("name", [name for name, groups in EXPECTED.items() if groups])
def test_every_weight_of_a_group_is_needed(name: str) -> None:
    """A permutation that leaves out any one weight matrix of a group changes the function."""
    module, inputs = make(name, seed=1)
    network = Network(module)
    outputs, shapes = network(inputs), {k: v.ndim for k, v in module.named_parameters()}
    for seed, group in enumerate(exchangeable_units(network, inputs)):
        for slot in group.slots:
            if shapes.get(slot.tensor, 0) > 1 and slot.tensor != "query":  # the order of learned queries alone is free
                rest = UnitGroup(group.name, group.size, tuple(s for s in group.slots if s != slot), ())
                moved = permute_units(network, rest, shuffled(group.size, seed))
                assert (moved(inputs) - outputs).abs().max() > 1e-9, (group.name, slot)


def test_slots_describe_blocks() -> None:
    module, inputs = make("conv flatten linear")
    conv = exchangeable_units(module, inputs)[1]
    assert conv.outgoing == (Slot("6.weight", 1, inner=4),)
    assert conv.state == (Slot("4.weight", 0),)
    assert torch.equal(conv.outgoing[0].entries(conv.size)[1], torch.tensor([4, 5, 6, 7]))
    encoder, inputs = make("transformer encoder")
    heads = exchangeable_units(encoder, inputs)[0]
    assert heads.incoming[0] == Slot("layer.self_attn.in_proj_weight", 0, outer=3, inner=3)
    assert heads.incoming[0].entries(2)[1].tolist() == [3, 4, 5, 9, 10, 11, 15, 16, 17]
    dense, inputs = make("densenet")
    assert exchangeable_units(dense, inputs)[1].outgoing == (Slot("head.weight", 1, offset=48, inner=16),)


def test_activations_and_obstacles_are_named() -> None:
    encoder, inputs = make("transformer encoder")
    heads, dimensions, hidden = exchangeable_units(encoder, inputs)
    assert hidden.activations == ("gelu",) and hidden.obstacle is None and heads.obstacle is None
    assert "all heads share" in (dimensions.obstacle or "")
    residual, inputs = make("residual with layer norm")
    assert "norm takes its statistics across" in (exchangeable_units(residual, inputs)[0].obstacle or "")
    lstm, inputs = make("lstm")
    assert "one tensor both" in (exchangeable_units(lstm, inputs)[0].obstacle or "")
    leaky = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.2), nn.Linear(4, 2))
    assert exchangeable_units(leaky)[0].activations == ("leaky_relu(negative_slope=0.2)",)
    for name in ("mlp", "cnn with batch norm", "resnet", "gpt", "swiglu", "vit"):
        for group in exchangeable_units(*make(name)):
            assert group.obstacle is None or group.kind not in GROWABLE


def test_problem_brings_its_own_inputs() -> None:
    module, inputs = make("conv flatten linear")
    problem = Problem(module, inputs, torch.zeros(5, 3).double(), nn.MSELoss())
    assert exchangeable_units(problem) == exchangeable_units(module, inputs)
    with pytest.raises(InputError, match="Pass a Problem"):
        exchangeable_units(module)


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x)
        return self.two(h if h.sum() > 0 else -h)


class Exotic(nn.Module):
    """Units sorted by a value: no rule exists, so their axis is fixed and the operation named."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(torch.relu(self.two(torch.topk(self.one(x), 4).values)))


class Pairs(nn.Module):
    """All products of two units, flattened: no block of the reader's columns belongs to one unit."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x)
        return self.two((h[:, :, None] * h[:, None, :]).flatten(1))


class Shape(nn.Module):
    """A branch on a shape and on a constant are no branches on data."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == 3 and bool(torch.ones(3).sum() > 0)
        return self.two(torch.relu(self.one(x)))


def test_branches_on_values_are_refused_by_name() -> None:
    wrapped = nn.Sequential(nn.Linear(3, 3), Branch())
    with pytest.raises(UnsupportedLayer, match=r"1 reads the value of a tensor"):
        exchangeable_units(wrapped, torch.zeros(2, 3))
    assert [g.size for g in exchangeable_units(Shape(), torch.zeros(2, 3))] == [4]


def test_operations_without_rule_fix_what_they_touch() -> None:
    found = unit_structure(Exotic(), torch.randn(3, 3))
    assert [(g.name, g.size) for g in found.groups] == [("two", 5)]
    assert found.fixed_by == (("the module itself", "topk"),)


def test_products_of_all_pairs_of_units_are_left_alone() -> None:
    assert exchangeable_units(Pairs(), torch.randn(3, 3)) == []


def test_wrong_permutations_are_refused() -> None:
    module, inputs = make("mlp")
    network = Network(module)
    group = exchangeable_units(network, inputs)[0]
    with pytest.raises(ShapeError, match=r"permutation of 0\.\.8"):
        permute_units(network, group, torch.zeros(9, dtype=torch.long))
    broken = UnitGroup(group.name, group.size, group.incoming, ())
    with pytest.raises(VerificationError, match="changed the outputs"):
        permute_units(network, broken, shuffled(9, 0), verify_on=inputs)
