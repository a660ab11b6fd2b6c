"""No public function changes the user's module, its data, the global generators or torch's settings."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus import Problem

SAMPLES = 12


def user_module() -> nn.Sequential:
    """Mixed modes, a gradient that is set, a frozen parameter, running statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    module.eval()
    module[2].train()
    module[1].running_mean.fill_(0.3)
    module[3].bias.requires_grad_(False)
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, 0.5)
    return module


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(SAMPLES, 4, generator=generator), torch.randint(0, 3, (SAMPLES,), generator=generator)


def problem_of(module: nn.Module) -> Problem:
    inputs, targets = data()
    return Problem(module, inputs, targets, nn.CrossEntropyLoss(), test=(inputs[:5], targets[:5]))


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05)


def record(module: nn.Module, folder: Path) -> None:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    recorder = isthmus.Recorder(module, optimizer, folder, steps_per_epoch=2, total_steps=4)
    recorder.step()


def atlas(module: nn.Module, folder: Path) -> Path:
    task = isthmus.Task(problem_of(module), sgd, epochs=2, batch=6)
    isthmus.survey(task, out=folder / "run", scale="smoke")
    return isthmus.render(folder / "run")


def trained(module: nn.Module) -> Any:
    return isthmus.train(problem_of(module), sgd, epochs=2, batch=6)


def start(module: nn.Module) -> torch.Tensor:
    return problem_of(module).network.flat


#: every public name that is given a module, a problem or a network
CASES: dict[str, Callable[[nn.Module, Path], Any]] = {
    "Network": lambda module, _: isthmus.Network(module)(data()[0]),
    "Problem": lambda module, _: problem_of(module),
    "Recorder": record,
    "Task": lambda module, _: isthmus.Task(problem_of(module), sgd),
    "empirical_ntk": lambda module, _: isthmus.empirical_ntk(module, data()[0]),
    "Structured": lambda module, _: isthmus.empirical_ntk(module, data()[0], method=isthmus.Structured(), outputs="trace"),
    "JacobianContraction": lambda module, _: isthmus.empirical_ntk(module, data()[0], method=isthmus.JacobianContraction()),
    "Auto": lambda module, _: isthmus.Auto().plan(isthmus.Network(module), data()[0], None, "full"),
    "error_barrier": lambda module, _: isthmus.error_barrier(problem_of(module), start(module), 0.5 * start(module)),
    "ggn_operator": lambda module, _: isthmus.ggn_operator(problem_of(module)) @ start(module),
    "hessian_operator": lambda module, _: isthmus.hessian_operator(problem_of(module)) @ start(module),
    "hessian_eigenvalues": lambda module, _: isthmus.hessian_eigenvalues(problem_of(module), 2),
    "spectral_density": lambda module, _: isthmus.spectral_density(problem_of(module), steps=5, probes=2),
    "loss_along_line": lambda module, _: isthmus.loss_along_line(
        problem_of(module), start(module), start(module), [-1.0, 0.0, 1.0]
    ),
    "train": lambda module, _: trained(module),
    "Trajectory": lambda module, _: trained(module).problem_at(0),
    "replay": lambda module, _: isthmus.replay(trained(module), {"norm": lambda problem: float(problem.network.flat.norm())}),
    "open_trajectory": lambda module, folder: (record(module, folder), isthmus.open_trajectory(folder, problem_of(module))),
    "survey": atlas,
    "render": atlas,
}
#: names that never see a module
WITHOUT = {"Seed", "builtin_task", "effective_rank", "kernel_distance", "label_alignment", "load_record"}


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Everything that must be the same afterwards, as comparable bytes and values."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    inputs, targets = data()
    return {
        "values": {k: t.detach().numpy().tobytes() for k, t in tensors.items()},
        "storage": {k: t.data_ptr() for k, t in tensors.items()},
        "gradients": {k: None if p.grad is None else p.grad.numpy().tobytes() for k, p in module.named_parameters()},
        "trainable": {k: p.requires_grad for k, p in module.named_parameters()},
        "modes": [sub.training for sub in module.modules()],
        "hooks": [len(sub._forward_hooks) + len(sub._forward_pre_hooks) + len(sub._backward_hooks) for sub in module.modules()],
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": np.random.get_state()[1].tobytes(),
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "autograd": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "fastpath": torch.backends.mha.get_fastpath_enabled(),
        "data": (inputs.numpy().tobytes(), targets.numpy().tobytes()),
    }


def test_every_public_name_is_covered() -> None:
    assert set(isthmus.__all__) == set(CASES) | WITHOUT


@pytest.mark.parametrize("name", sorted(CASES))
def test_user_module_is_untouched(name: str, tmp_path: Path) -> None:
    module = user_module()
    before = snapshot(module)
    CASES[name](module, tmp_path)
    assert snapshot(module) == before
