"""Foundation: the public names that are given a module, and those that never see one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import isthmus
from tests.architecture.user import data, problem_of, sgd


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
    "block_eigenvalues": lambda module, _: isthmus.block_eigenvalues(problem_of(module), 2, probes=2),
    "curvature_blocks": lambda module, _: isthmus.curvature_blocks(problem_of(module)) @ start(module),
    "top_eigenpairs": lambda module, _: isthmus.top_eigenpairs(
        isthmus.hessian_operator(problem_of(module)), 2, seed=isthmus.Seed(0)
    ),
    "Deflated": lambda module, _: (
        isthmus.Deflated(isthmus.hessian_operator(problem_of(module)), start(module)[:, None] / start(module).norm())
        @ start(module)
    ),
    "stochastic_lanczos_quadrature": lambda module, _: isthmus.stochastic_lanczos_quadrature(
        isthmus.ggn_operator(problem_of(module)), steps=4, probes=2, seed=isthmus.Seed(0)
    ),
    "hutchinson_trace": lambda module, _: isthmus.hutchinson_trace(
        isthmus.hessian_operator(problem_of(module)), probes=2, seed=isthmus.Seed(0)
    ),
    "hutch_plus_plus": lambda module, _: isthmus.hutch_plus_plus(
        isthmus.hessian_operator(problem_of(module)), products=6, seed=isthmus.Seed(0)
    ),
    "frobenius_norm": lambda module, _: isthmus.frobenius_norm(
        isthmus.hessian_operator(problem_of(module)), probes=2, seed=isthmus.Seed(0)
    ),
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
