"""Runs of an optimizer on the linearized network: the reference for every closed form, and the only one for the others."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from isthmus._core.errors import InputError
from isthmus.dynamics.optimizers import Understood
from isthmus.dynamics.paths import loss_of
from isthmus.dynamics.scaling import ScaledLoss, scaled_loss
from isthmus.model.derivatives import loss_gradient, output_gradient
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.taylor import taylor_model
from isthmus.results.dynamics import Spectrum
from isthmus.training import train


@dataclass(frozen=True)
class LinearizedPath:
    """Loss, norm of the output gradient, mode amplitudes and test outputs at the steps asked for."""

    loss: np.ndarray
    error: np.ndarray
    amplitudes: np.ndarray
    tests: list[tuple[np.ndarray, float]]


def linearized(problem: Problem) -> Problem:
    """The same data and loss with the network linearized in its parameters, ``f_0 + J (w - w_0)``."""
    return problem.with_network(Network(taylor_model(problem.network, 1)))


def linearized_path(
    problem: Problem, modes: Spectrum, known: Understood, steps: np.ndarray, *, test: bool, steps_per_epoch: int
) -> LinearizedPath:
    """Run the optimizer full-batch on the linearized network.

    Args:
        problem: in float64 and evaluation mode.
        modes: on which amplitudes are read.
        known: the optimizer; a `Method` acts on the flat weights by its own rule.
        steps: at which to look, first 0.
        test: read the test outputs too.
        steps_per_epoch: steps between two calls of a scheduler.

    Raises:
        InputError: the optimizer's step needs a closure.
    """
    straight, scaled = linearized(problem), scaled_loss(problem)
    looks = _run(straight, known, steps, steps_per_epoch)
    losses, errors, amplitudes, tests = [], [], [], []
    for at in looks:
        outputs = at.network(problem.inputs)
        flat = outputs.reshape(-1).cpu().numpy()
        losses.append(loss_of(problem, flat))
        errors.append(float(output_gradient(problem, outputs).norm()))
        amplitudes.append(_project(modes, scaled, flat))
        if test and problem.test_inputs is not None:
            seen = at.network(problem.test_inputs).cpu().numpy()
            tests.append((seen, loss_of(problem, seen, test=True)))
    return LinearizedPath(np.array(losses), np.array(errors), np.stack(amplitudes), tests)


def linearized_at(problem: Problem, known: Understood, steps: int, *, steps_per_epoch: int = 1) -> Problem:
    """The linearized problem after `steps` full-batch steps of the optimizer."""
    return _run(linearized(problem), known, np.array([0, steps]), steps_per_epoch)[-1]


def _project(modes: Spectrum, scaled: ScaledLoss, outputs: np.ndarray) -> np.ndarray:
    return modes.vectors.T @ (modes.scaled_error + scaled.scale(outputs - scaled.outputs.reshape(-1)))


class _Rarely:
    """A scheduler that is called after every step and passes on every n-th call."""

    def __init__(self, inner: Any, every: int) -> None:
        self.inner, self.every, self.calls = inner, every, 0

    def step(self) -> None:
        self.calls += 1
        if self.calls % self.every == 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # torch: a scheduler of a copied optimizer
                self.inner.step()

    def state_dict(self) -> dict[str, Any]:
        return {}


def _run(straight: Problem, known: Understood, steps: np.ndarray, steps_per_epoch: int) -> list[Problem]:
    """The linearized problem at each of the steps."""
    make = known.make
    if make is None:
        return _run_method(straight, known, steps)

    def factory(parameters: Iterable[nn.Parameter]) -> Any:
        made = make(parameters)
        return (made[0], _Rarely(made[1], steps_per_epoch)) if isinstance(made, tuple) else made

    try:
        run = train(straight, factory, steps=int(steps[-1]), batch=straight.samples, checkpoints=steps.tolist())
    except TypeError as fault:
        raise InputError(
            f"{known.words} could not be stepped on the linearized network ({fault}). Optimizers whose step needs a closure are "
            "not supported; use a first-order optimizer."
        ) from fault
    return [run.problem_at(int(step)) for step in steps]


def _run_method(straight: Problem, known: Understood, steps: np.ndarray) -> list[Problem]:
    if known.method is None:
        raise AssertionError("an optimizer without closed form always has a factory")

    def slope(weights: np.ndarray) -> np.ndarray:
        return loss_gradient(straight.at(torch.from_numpy(weights)), chunk=straight.samples).cpu().numpy()

    start = straight.network.flat.cpu().numpy()
    wanted, found = set(steps.tolist()), [straight]
    for step, weights in enumerate(known.method.iterate(slope, start), start=1):
        if step in wanted:
            found.append(straight.at(torch.from_numpy(weights.copy())))
        if step == steps[-1]:
            return found
    return found
