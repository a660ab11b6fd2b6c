"""Other tools displace the user's model, clear its gradients, change its mode, or divide by a zero norm."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus.model.problem import Problem


def normalized() -> nn.Module:
    """BatchNorm and LayerNorm start with bias zero: loss-landscapes 3.0.6 raises ZeroDivisionError on it."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 3)).double().eval()


def problem_of(module: nn.Module) -> Problem:
    torch.manual_seed(1)
    return Problem(module, torch.randn(20, 4).double(), torch.randint(0, 3, (20,)), nn.CrossEntropyLoss())


def test_parameters_of_zero_norm_are_no_trouble_on_a_line() -> None:
    module = normalized()
    assert not module[1].bias.any()
    problem = problem_of(module)
    start, direction = problem.network.flat, torch.zeros(problem.network.size, dtype=torch.float64)
    names = problem.network.layout.unflatten(direction)
    names["1.bias"].fill_(1)
    line = isthmus.loss_along_line(problem, start, direction, [-1.0, 0.0, 1.0])
    for a, loss in zip(line.position, line.train_loss, strict=True):
        moved = copy.deepcopy(module)
        moved[1].bias.data += a
        with torch.no_grad():
            assert loss == pytest.approx(float(nn.CrossEntropyLoss()(moved(problem.inputs), problem.targets)), rel=1e-12)


def test_a_distance_is_the_distance_walked() -> None:
    """loss-landscapes 3.0.6: `distance` acts inversely. Here position a is a times the direction, no more."""
    problem = problem_of(normalized())
    start = problem.network.flat
    direction = torch.randn(len(start), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    line = isthmus.loss_along_line(problem, start, direction, [0.0, 0.5, 2.0])
    once = isthmus.loss_along_line(problem, start + 0.5 * direction, 1.5 * direction, [0.0, 1.0])
    np.testing.assert_allclose(once.train_loss, line.train_loss[1:], rtol=1e-12)
    assert len(set(line.train_loss)) == 3, "pylandscape 0.1.3 returns a constant"


CALLS = {
    "hessian_eigenvalues": lambda p, m: isthmus.hessian_eigenvalues(p, 2),
    "spectral_density": lambda p, m: isthmus.spectral_density(p, steps=4, probes=2),
    "empirical_ntk": lambda p, m: isthmus.empirical_ntk(m, p.inputs),
    "loss_along_line": lambda p, m: isthmus.loss_along_line(p, p.network.flat, p.network.flat, [1.0]),
    "error_barrier": lambda p, m: isthmus.error_barrier(p, m, m, points=3),
    "loss_plane": lambda p, m: isthmus.loss_plane(p, isthmus.random_directions(p), points=3),
    "low_loss_curve": lambda p, m: isthmus.low_loss_curve(p, m, 0.5 * p.network.flat, steps=3, batch=10, points=3),
    "train": lambda p, m: isthmus.train(p, steps=3, batch=10),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_the_model_stays_as_it_was(name: str, training: bool) -> None:
    """PyHessian 0.1 clears `.grad` and leaves eval mode; loss-landscapes leaves the weights 71 % of their norm away."""
    module = normalized()
    module[1].train(training and name in {"train", "error_barrier", "loss_plane", "low_loss_curve"})
    module(torch.randn(8, 4, dtype=torch.float64)).square().mean().backward()
    module[4].bias.requires_grad_(False)
    state = copy.deepcopy(module.state_dict())
    grads = {k: None if p.grad is None else p.grad.clone() for k, p in module.named_parameters()}
    modes, free = [sub.training for sub in module.modules()], [p.requires_grad for p in module.parameters()]
    problem = problem_of(module)
    random, threads, tracking = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    CALLS[name](problem, module)
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    for k, p in module.named_parameters():
        assert grads[k] is None if p.grad is None else torch.equal(p.grad, grads[k])
    assert [sub.training for sub in module.modules()] == modes
    assert [p.requires_grad for p in module.parameters()] == free
    assert torch.equal(torch.get_rng_state(), random)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, tracking)
