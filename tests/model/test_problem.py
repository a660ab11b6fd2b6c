"""Problem and Network: what they accept, what they refuse and how, and that they never touch the user's module."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from isthmus._core.errors import BatchCoupled, DtypeError, InputError, ModelError, ShapeError
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from tests.model.networks import NETWORKS, build

X, Y = torch.randn(8, 6), torch.randint(0, 3, (8,))


def classifier() -> nn.Module:
    return nn.Linear(6, 3)


def test_a_loader_is_read_once_in_order() -> None:
    loader = DataLoader(TensorDataset(X, Y), batch_size=3)
    problem = Problem(classifier(), loader, loss=nn.CrossEntropyLoss(), test=loader)
    assert torch.equal(problem.inputs, X)
    assert torch.equal(problem.targets, Y)
    assert problem.test_inputs is not None


@pytest.mark.parametrize("own", [None, torch.Generator()])
def test_a_shuffling_loader_is_refused_and_no_generator_moves(own: torch.Generator | None) -> None:
    loader = DataLoader(TensorDataset(X, Y), batch_size=3, shuffle=True, generator=own)
    module = classifier()
    before, mine = torch.get_rng_state(), own.get_state() if own else None
    with pytest.raises(InputError, match="shuffle=False"):
        Problem(module, loader, loss=nn.CrossEntropyLoss())
    assert torch.equal(torch.get_rng_state(), before)
    assert own is None or torch.equal(own.get_state(), mine)


@pytest.mark.parametrize(
    ("inputs", "targets", "error", "words"),
    [
        (torch.full((8, 6), float("nan")), Y, InputError, "NaN or infinite"),
        (X[:0], Y[:0], InputError, "empty"),
        (X, Y[:5], ShapeError, "8 inputs and 5 targets"),
        (X.double(), Y, DtypeError, "dtype="),
        (torch.randn(8, 5), Y, ShapeError, "first layer"),
        (X, Y.int(), DtypeError, "int64"),
        ([1, 2], Y, InputError, "tensor or a numpy array"),
        (X, None, InputError, "targets"),
    ],
)
def test_bad_data_get_one_clear_error(inputs: object, targets: object, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        Problem(classifier(), inputs, targets, nn.CrossEntropyLoss())


def test_a_missing_loss_and_a_non_module_are_named() -> None:
    with pytest.raises(InputError, match="needs a loss"):
        Problem(classifier(), X, Y)
    with pytest.raises(InputError, match=r"torch\.nn\.Module"):
        Network(lambda x: x)


def test_batch_coupling_and_randomness_are_refused_in_train_mode_only() -> None:
    norm = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    drop = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.Linear(6, 3))
    for module, error in ((norm, BatchCoupled), (drop, ModelError)):
        with pytest.raises(error, match=r"module\.eval\(\)"):
            Network(module).require_per_example(X)
        Network(module.eval()).require_per_example(X)
    with pytest.raises(BatchCoupled, match="running statistics"):
        Network(nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 3)).eval()).require_per_example(X)


def test_hidden_batch_coupling_and_hidden_randomness_are_found() -> None:
    class Centered(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x - x.mean(0))

    class Noisy(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x + torch.randn_like(x))

    with pytest.raises(BatchCoupled):
        Network(Centered(6, 3)).require_per_example(X)
    with pytest.raises(ModelError, match="random"):
        Network(Noisy(6, 3)).require_per_example(X)


def test_time_first_recurrence_and_tuple_outputs_are_named() -> None:
    with pytest.raises(ModelError, match="Wrap it"):
        Problem(nn.LSTM(3, 3, batch_first=True), torch.randn(4, 5, 3), torch.randn(4, 5, 3), nn.MSELoss())


@pytest.mark.parametrize("name", NETWORKS)
def test_usual_architectures_are_never_refused(name: str) -> None:
    module, inputs, targets = build(name)
    problem = Problem(module, inputs, targets, nn.CrossEntropyLoss())
    problem.network.require_per_example(inputs)
    with torch.no_grad():
        torch.testing.assert_close(problem.network(inputs), module(inputs).flatten(1))


def test_the_module_is_copied_and_parameters_can_be_replaced() -> None:
    module = classifier()
    before = copy.deepcopy(module.state_dict())
    network = Network(module, dtype=torch.float64)
    moved = network.at(network.flat + 1)
    assert torch.allclose(moved.flat - network.flat, torch.ones(21, dtype=torch.float64))
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    with pytest.raises(ShapeError, match="another network"):
        network.at({"weight": torch.zeros(2, 2)})


def test_tied_parameters_count_once_and_frozen_ones_not_at_all() -> None:
    tied = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False))
    tied[1].weight = tied[0].weight
    assert Network(tied).size == 36
    frozen = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))
    frozen[0].requires_grad_(False)
    assert Network(frozen).size == 21
    with pytest.raises(ModelError, match="no trainable parameter"):
        Network(nn.ReLU())


def test_train_mode_forward_leaves_running_statistics_alone() -> None:
    network = Network(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)))
    before = {k: v.clone() for k, v in network.buffers.items()}
    network(X)
    assert all(torch.equal(v, before[k]) for k, v in network.buffers.items())


def test_eval_of_a_network_leaves_the_other_in_train_mode() -> None:
    network = Network(nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)))
    quiet = network.eval()
    assert torch.equal(quiet(X), quiet(X))
    assert not torch.equal(network(X), network(X))


def test_a_restricted_network_keeps_its_restriction_in_another_dtype() -> None:
    network = Network(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))).restricted(["2.weight"])
    wide = network.to(torch.float64)
    assert list(wide.parameters) == ["2.weight"]
    assert wide.buffers["0.weight"].dtype == torch.float64
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(wide(x.double()).float(), network(x))
