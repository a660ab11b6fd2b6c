"""Alignment of whole networks: planted copies come back, functions stay, barriers are measured, bad input is named."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import isthmus
from isthmus._core.errors import InputError, ShapeError, UnsupportedLayer, VerificationError
from isthmus._core.seeds import Seed
from isthmus.model import units
from isthmus.model.normalization import recalibrated
from isthmus.model.problem import Problem
from isthmus.model.units import UnitStructure
from isthmus.symmetry import alignment
from isthmus.symmetry.alignment import align, compare, random_equivalent, verify_same_function
from isthmus.symmetry.matching_methods import ActivationMatching, MatchingMethod, Sinkhorn, WeightMatching
from tests.model.architectures import ARCHITECTURES, ResNet, make
from tests.model.test_units import EXPECTED

ALIGNABLE = [name for name in ARCHITECTURES if EXPECTED[name]]


def problem_of(name: str, seed: int = 0) -> Problem:
    module, inputs = make(name, samples=12, seed=seed)
    return Problem(module, inputs, torch.zeros_like(module(inputs).detach()), nn.MSELoss())


@pytest.mark.parametrize("name", ALIGNABLE)
def test_planted_copies_are_recovered_whatever_the_architecture(name: str) -> None:
    problem, apart = problem_of(name), 0.0
    for seed, symmetries in enumerate(("permutations", "signs", "all")):
        copy = random_equivalent(problem, seed=seed, symmetries=symmetries)
        # learned queries and keys that see only one another have local optima: more starts
        method = WeightMatching(starts=40 if name == "cross attention" else 4)
        record = align(problem, copy, method=method, symmetries=symmetries, barrier=None).record
        assert record.output_change <= 1e-10
        assert record.distance[1] < 1e-10, (symmetries, record.objectives)
        apart = max(apart, record.distance[0])
    assert apart > 0.1


@pytest.mark.parametrize("method", [ActivationMatching(), Sinkhorn()], ids=["activations", "sinkhorn"])
@pytest.mark.parametrize("name", ["mlp", "resnet", "gpt", "vit", "lstm", "conv flatten linear", "einsum attention"])
def test_other_methods_recover_planted_copies(name: str, method: MatchingMethod) -> None:
    problem = problem_of(name)
    for seed in range(2):
        record = align(problem, random_equivalent(problem, seed=seed), method=method, barrier=None).record
        assert record.distance[1] < 1e-10


def test_signs_and_scales_are_found_where_the_activation_has_them() -> None:
    problem = problem_of("mlp")
    assert align(problem, problem.network, barrier=None).record.freedoms == ["sign", "none"]
    copy = random_equivalent(problem, seed=0, symmetries="all")
    record = align(problem, copy, symmetries="all", barrier=None).record
    assert record.freedoms == ["sign", "positive"]
    tanh, relu = (record.factor[record.units(name)] for name in record.names)
    assert set(np.sign(tanh)) == {-1.0, 1.0} and np.allclose(abs(tanh), 1)
    assert (relu > 0).all() and relu.std() > 0.1
    deep = problem_of("conv flatten linear")  # max pooling is no obstacle to scales, but to signs
    assert align(deep, deep.network, symmetries="all", barrier=None).record.freedoms == ["positive", "positive", "sign"]
    saturating = nn.Sequential(nn.Linear(4, 5), nn.ReLU6(), nn.Linear(5, 5), nn.Hardtanh(), nn.Linear(5, 2)).double()
    bounded = Problem(saturating, torch.randn(9, 4).double() * 0.01, torch.zeros(9, 2).double(), nn.MSELoss())
    assert align(bounded, saturating, symmetries="all", barrier=None).record.freedoms == ["none", "sign"]


def test_noisy_copies_are_still_matched() -> None:
    problem = problem_of("resnet", seed=2)
    copy = random_equivalent(problem, seed=1, symmetries="permutations")
    exact = align(problem, copy, barrier=None).record
    draw = torch.Generator().manual_seed(0)
    noise = {k: 0.2 * v.std() * torch.randn(v.shape, generator=draw).double() for k, v in copy.parameters.items() if v.ndim > 1}
    noisy = copy.at({k: v + noise.get(k, 0) for k, v in copy.parameters.items()})
    assert (align(problem, noisy, barrier=None).record.permutation == exact.permutation).all()


def test_the_record_says_what_was_done() -> None:
    problem = problem_of("cnn with batch norm")
    copy = random_equivalent(problem, seed=4)
    found = align(problem, copy, seed=3)
    record = found.record
    order = record.permutation[record.units("0")].tolist()
    assert torch.equal(found.network.parameters["0.weight"], copy.parameters["0.weight"][order])
    assert torch.equal(found.network.buffers["1.running_mean"], copy.buffers["1.running_mean"][order])
    assert record.kinds == ["conv channel", "conv channel"] and record.sizes.tolist() == [3, 4]
    assert record.status.ok and record.provenance.seed == "3"
    assert align(problem, copy, seed=3).record.same_numbers(record)


def test_barriers_vanish_between_aligned_copies_with_batch_norm() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, inputs = ResNet().double().eval(), torch.randn(30, 1, 8, 8).double()
        module.head.weight.data.mul_(20)
    start = recalibrated(Problem(module, inputs, torch.arange(30) % 3, nn.CrossEntropyLoss()))
    problem = Problem(start.network, inputs, start.network(inputs).argmax(dim=1), nn.CrossEntropyLoss())
    record = align(problem, random_equivalent(problem, seed=0), barrier=9).record
    assert record.before.shape == record.after.shape == (2, 9)
    assert record.chord_before[0] > 0.01
    assert record.chord_after[0] < 1e-8 and record.chord_after[1] == 0


def test_alignment_lowers_the_barrier_between_networks_trained_apart() -> None:
    inputs = torch.linspace(-2, 2, 60)[:, None].double()
    data = torch.cat([inputs, inputs**2], dim=1)
    ends = []
    for seed in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = nn.Sequential(nn.Linear(2, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 1)).double()
        problem = Problem(module, data, torch.sin(3 * inputs), nn.MSELoss())
        run = isthmus.train(problem, lambda p: torch.optim.Adam(p, lr=0.01), epochs=60, batch=20, seed=seed, checkpoints=())
        ends.append(run.problem_at(run.steps[-1]))
    for method in (WeightMatching(), ActivationMatching(), Sinkhorn()):
        record = align(ends[0], ends[1], method=method).record
        assert record.chord_after[0] < 0.7 * record.chord_before[0]
        assert record.distance[1] < record.distance[0]


def test_a_float32_network_keeps_its_dtype_and_its_function() -> None:
    module, inputs = make("resnet")
    problem = Problem(module.float(), inputs.float(), torch.zeros(5, 3), nn.MSELoss())
    found = align(problem, random_equivalent(problem, seed=0), barrier=None)
    assert found.network.dtype == torch.float32 and found.record.output_change <= 1e-10
    assert (found.network(problem.inputs) - problem.network(problem.inputs)).abs().max() < 1e-4


def test_a_misunderstood_network_is_never_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were one slot of one group forgotten, the outputs would tell."""
    problem, real = problem_of("conv flatten linear"), units.unit_structure

    def forgetful(*arguments: object) -> UnitStructure:
        found = real(*arguments)
        return replace(found, groups=(found.groups[0], replace(found.groups[1], outgoing=()), found.groups[2]))

    copy = random_equivalent(problem, seed=0)
    monkeypatch.setattr(alignment, "unit_structure", forgetful)
    with pytest.raises(VerificationError, match="changed the outputs"):
        align(problem, copy, barrier=None)
    with pytest.raises(VerificationError):
        verify_same_function(problem.network, problem.network.at(problem.network.flat * 1.001), problem.inputs)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x)
        return self.two(h.relu() if float(h.mean()) > 0 else h)


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


def small(module: nn.Module) -> Problem:
    return Problem(module.double(), torch.randn(8, 3).double(), torch.zeros(8, 2).double(), nn.MSELoss())


def test_bad_input_is_named() -> None:
    mlp = small(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))
    with pytest.raises(InputError, match="different architectures"):
        align(mlp, nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).double())
    with pytest.raises(InputError, match="different architectures"):
        align(mlp, nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double())
    with pytest.raises(ShapeError, match="another network"):
        align(mlp, {"0.weight": torch.zeros(4, 3)})
    with pytest.raises(UnsupportedLayer, match="branch"):
        align(small(Branching()), Branching().double())
    unknown = small(nn.Sequential(nn.Linear(3, 4), Odd(), nn.Linear(4, 2)))
    with pytest.raises(UnsupportedLayer, match="special_bessel_j0 of 0 is not known"):
        align(unknown, unknown.network, symmetries="all")
    assert align(unknown, unknown.network, barrier=None).record.freedoms == ["none"]
    alone = small(nn.Linear(3, 2))
    with pytest.raises(UnsupportedLayer, match="nothing to align"):
        align(alone, alone.network)


def test_comparison_is_traced_once_for_many_methods() -> None:
    problem = problem_of("mlp")
    task = compare(problem, random_equivalent(problem, seed=0), "signs").task
    for method in (WeightMatching(), ActivationMatching(), Sinkhorn()):
        assert method.match(task, Seed(1))[0].objective == pytest.approx(1, abs=1e-6)
