"""Matching against brute force over all permutations and signs."""

import itertools

import pytest
import torch
from torch import nn

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.model.problem import Problem
from isthmus.symmetry import matching_methods
from isthmus.symmetry.alignment import compare
from isthmus.symmetry.matching import Matcher, best_assignment
from isthmus.symmetry.matching_methods import ActivationMatching, Sinkhorn, WeightMatching
from tests.reference import alignment as reference

METHODS = (WeightMatching(), ActivationMatching(), Sinkhorn())


def perceptron(sizes: tuple[int, ...], activation: type[nn.Module], seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [m for i, o in itertools.pairwise(sizes) for m in (nn.Linear(i, o), activation())]
        return nn.Sequential(*layers[:-1]).double()


def layers_of(module: nn.Sequential) -> reference.Layers:
    return [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in module if isinstance(m, nn.Linear)]


def pair(sizes: tuple[int, ...], activation: type[nn.Module], seed: int) -> tuple[Problem, nn.Sequential]:
    inputs = torch.randn(40, sizes[0], generator=torch.Generator().manual_seed(seed)).double()
    problem = Problem(perceptron(sizes, activation, seed), inputs, torch.zeros(40, sizes[-1]).double(), nn.MSELoss())
    return problem, perceptron(sizes, activation, seed + 1000)


@pytest.mark.parametrize("seed", range(5))
def test_one_hidden_layer_is_matched_optimally(seed: int) -> None:
    """One group is one linear assignment problem: the optimum is exact, with signs too."""
    for activation, signs in ((nn.ReLU, False), (nn.Tanh, True)):
        problem, other = pair((3, 4, 2), activation, seed)
        task = compare(problem, other, "signs").task
        best = reference.best_agreement(layers_of(problem.network.module), layers_of(other), signs=signs)
        for method in (WeightMatching(starts=1), Sinkhorn()):
            assert method.match(task, Seed(0))[0].objective == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_two_hidden_layers_reach_the_brute_force_optimum_from_many_starts(seed: int) -> None:
    problem, other = pair((3, 4, 4, 2), nn.ReLU, seed)
    task = compare(problem, other, "permutations").task
    best = reference.best_agreement(layers_of(problem.network.module), layers_of(other), signs=False)
    found, objectives = WeightMatching(starts=60).match(task, Seed(0))
    assert found.objective == pytest.approx(best, abs=1e-12)
    assert objectives.max() == found.objective and len(objectives) == 60
    for method in METHODS:
        assert method.match(task, Seed(0))[0].objective <= (best + 1e-12 if method != METHODS[1] else 1)


def test_the_objective_is_the_agreement_of_the_aligned_tensors() -> None:
    problem, other = pair((3, 4, 4, 2), nn.Tanh, 0)
    task = compare(problem, other, "signs").task
    found, _ = WeightMatching().match(task, Seed(0))
    orders, signs = ([tuple(t.int().tolist()) for t in part] for part in (found.permutations, found.signs))
    moved = reference.moved(layers_of(other), orders, signs)
    assert reference.agreement(layers_of(problem.network.module), moved) == pytest.approx(found.objective, abs=1e-12)


def test_no_step_of_the_ascent_loses() -> None:
    """Also where a group lies twice in one tensor (square recurrent weights), where a step is no assignment problem."""
    lstm = nn.LSTM(3, 6, batch_first=True).double()

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = lstm, nn.Linear(6, 2).double()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    torch.manual_seed(3)
    one, other = Last(), Last()
    other.load_state_dict({k: torch.randn_like(v) for k, v in one.state_dict().items()})
    problem = Problem(one, torch.randn(4, 5, 3).double(), torch.zeros(4, 2).double(), nn.MSELoss())
    pairing = compare(problem, other, "permutations").task.weights
    assert pairing.coupled(0) == ["lstm.weight_hh_l0"]
    for seed in range(10):
        matcher = Matcher(pairing)
        matcher.shuffle(Seed(seed))
        reached = [matcher.result().objective]
        for limit in range(1, 20):
            matcher.ascend(limit, Seed(seed))
            reached.append(matcher.result().objective)
        assert all(a <= b + 1e-12 for a, b in itertools.pairwise(reached)) and matcher.converged


def test_an_assignment_with_signs_takes_the_larger_of_both() -> None:
    kept, flipped = torch.zeros(3, 3), torch.tensor([[0.0, -2.0, 1.0], [3.0, 0.0, 0.0], [1.0, -1.0, -0.5]])
    order, signs = best_assignment(kept, flipped)
    assert order.tolist() == [1, 0, 2] and signs.tolist() == [-1.0, 1.0, -1.0]
    order, _ = best_assignment(torch.tensor([[5.0, 4.0], [5.0, 1.0]]), torch.zeros(2, 2))
    assert order.tolist() == [1, 0]  # both favor unit 0; 4 + 5 beats 5 + 1


def test_activations_that_do_not_fit_into_memory_are_taken_of_fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, other = pair((3, 4, 4, 2), nn.ReLU, 0)
    task = compare(problem, other, "signs").task
    enough = ActivationMatching(samples=8).match(task, Seed(0))[0]
    monkeypatch.setattr(matching_methods, "available_bytes", lambda: 4 * 4 * 8 * (4 + 4) * 8)
    scarce = ActivationMatching(samples=40).match(task, Seed(0))[0]  # a quarter of that holds eight samples
    assert scarce.objective == enough.objective


def test_plans_grow_with_the_work() -> None:
    problem, other = pair((3, 4, 4, 2), nn.ReLU, 0)
    task = compare(problem, other, "signs").task
    assert WeightMatching(starts=8).plan(task).flops == pytest.approx(2 * WeightMatching(starts=4).plan(task).flops)
    for method in METHODS:
        assert method.plan(task).bytes > 0 and "matching" in str(method.plan(task))
    with pytest.raises(InputError, match="starts must be positive"):
        WeightMatching(starts=0)
