"""Predictions of one run, each with one idealization less than the one below it."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.dynamics.limits import limiting_equation
from isthmus.dynamics.linearized import linearized
from isthmus.dynamics.methods import Method
from isthmus.dynamics.optimizers import Factory, Understood
from isthmus.dynamics.paths import Point, mode_path, output_path
from isthmus.dynamics.scaling import ScaledLoss
from isthmus.model.problem import Problem
from isthmus.results.dynamics import Spectrum
from isthmus.training import Trajectory, train

CAUSES = {
    ("ode", "modes"): "step size",
    ("modes", "loss"): "loss curvature",
    ("modes", "linearized"): "noise",
    ("loss", "linearized"): "noise",
    ("modes", "network"): "nonlinearity",
    ("loss", "network"): "nonlinearity",
    ("linearized", "network"): "nonlinearity",
}


@dataclass(frozen=True)
class Rung:
    """Scaled errors u of the probe set at the compared steps, ``(t, entry)``, and the loss there where it is known."""

    name: str
    errors: np.ndarray
    loss: np.ndarray


def closed_rungs(problem: Problem, modes: Spectrum, method: Method, steps: list[int]) -> list[Rung]:
    """``ode`` (when there is one), ``modes`` and, for a loss that is not quadratic, ``loss``: full batch, all samples.

    Args:
        problem: at the start of the run, in float64.
        modes: its complete spectrum.
        method: the optimizer in closed form.
        steps: compared steps.
    """
    keep, found = set(steps), []
    try:
        equation = limiting_equation(method)
    except InputError:
        equation = None
    if equation is not None and not method.decay:
        z = equation.amplitude(modes.values, np.array(steps)) * modes.coefficients
        found.append(_from_modes("ode", modes, z))
    with np.errstate(over="ignore", invalid="ignore"):
        points = list(islice(mode_path(modes, method, keep), steps[-1] + 1))
        found.append(_from_modes("modes", modes, _amplitudes(points, steps)))
        if not modes.quadratic:
            points = list(islice(output_path(problem, modes, method, keep), steps[-1] + 1))
            errors = _amplitudes(points, steps) @ modes.vectors.T
            found.append(Rung("loss", errors, np.array([points[step].loss for step in steps])))
    return found


def _amplitudes(points: list[Point], steps: list[int]) -> np.ndarray:
    kept = [points[step].scaled for step in steps]
    return np.stack([z for z in kept if z is not None])


def _from_modes(name: str, modes: Spectrum, amplitudes: np.ndarray) -> Rung:
    return Rung(name, amplitudes @ modes.vectors.T, modes.offset + 0.5 * (amplitudes**2).sum(axis=1))


def run_rung(name: str, run: Trajectory, probe: Problem, scaled: ScaledLoss, steps: list[int]) -> Rung:
    """The scaled errors of a trajectory (the run itself or its linearized twin) on the probe set, in float64."""
    start, errors, losses = scaled.outputs.reshape(-1), [], []
    for step in steps:
        network = run.problem_at(step).to(torch.float64).network
        outputs = network(probe.inputs)
        moved = outputs.reshape(-1).cpu().numpy() - start
        errors.append(scaled.error + scaled.scale(moved))
        shape = network.forward(network.parameters, probe.inputs[:1]).shape[1:]
        with torch.no_grad():
            losses.append(float(probe.loss(outputs.reshape(len(outputs), *shape), probe.targets)))
    return Rung(name, np.stack(errors), np.array(losses))


def linearized_run(
    problem: Problem, optimizer: Factory, steps: int, *, batch: int, seed: Seed | int = 0, checkpoints: list[int]
) -> Trajectory:
    """The linearized network trained as the network was: same optimizer, same batches in the same order.

    Args:
        problem: at the start of the run.
        optimizer: factory ``parameters -> optimizer`` or ``-> (optimizer, scheduler)``.
        steps: how far.
        batch: samples of a mini-batch.
        seed: of the run whose batches are taken.
        checkpoints: steps to keep.
    """
    return train(linearized(problem), optimizer, steps=steps, batch=batch, seed=seed, checkpoints=checkpoints)


def factory_of(known: Understood) -> Factory:
    """The factory of an understood optimizer.

    Raises:
        InputError: it is a `Method`, which torch cannot run.
    """
    if known.make is None:
        raise InputError(f"{known.words} is no torch.optim object. Pass the optimizer (or factory) that trains the network.")
    return known.make
