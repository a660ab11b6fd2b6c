"""Wrong or lost alignments of other tools.

rebasin 0.0.47 returns a network that computes another function on Conv -> Flatten -> Linear and on reused layers, and does
nothing, silently, on LSTM and GPT. Ports of git-re-basin need permutation specifications written by hand, which then do not
match the model; planted permutations of residual networks were recovered 10 times of 100.
"""

import pytest
import torch
from torch import nn

from isthmus.model.problem import Problem
from isthmus.symmetry.alignment import align, random_equivalent
from tests.model.architectures import ResNet, make


def problem_of(name: str) -> Problem:
    module, inputs = make(name, samples=12)
    return Problem(module, inputs, torch.zeros_like(module(inputs).detach()), nn.MSELoss())


@pytest.mark.parametrize("name", ["conv flatten linear", "reused block", "lstm", "bidirectional lstm and gru", "gpt"])
def test_the_aligned_network_computes_the_same_and_did_move(name: str) -> None:
    problem = problem_of(name)
    copy = random_equivalent(problem, seed=0)
    found = align(problem, copy, barrier=None)
    assert (found.network(problem.inputs) - copy(problem.inputs)).abs().max() < 1e-10
    assert found.record.distance[0] > 1 and found.record.distance[1] < 1e-10


def test_planted_permutations_of_residual_networks_are_recovered_100_times_of_100() -> None:
    """Half of them with projected shortcuts, half with padded ones; every time other weights and another permutation."""
    recovered = 0
    for seed in range(100):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module, inputs = ResNet(padded=seed % 2 == 1).double().eval(), torch.randn(4, 1, 8, 8).double()
        problem = Problem(module, inputs, torch.zeros(4, 3).double(), nn.MSELoss())
        record = align(problem, random_equivalent(problem, seed=seed, symmetries="permutations"), barrier=None).record
        recovered += record.distance[1] < 1e-10 and record.output_change < 1e-10
    assert recovered == 100
