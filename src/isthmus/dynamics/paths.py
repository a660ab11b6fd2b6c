"""The path of a closed method on the linearized network: mode by mode, or in the outputs when the loss is not quadratic.

The weights of the linearized network stay in ``w = alpha w_0 + J^T r``: r lives in the outputs, and alpha is 1 without
weight decay. Any closed method acts on ``(r, alpha)`` as it acts on the weights, with gradient ``(dl/df, 0)``.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from isthmus._core.errors import NumericalError
from isthmus.dynamics.integrate import integrate
from isthmus.dynamics.limits import WeightEquation
from isthmus.dynamics.methods import Method
from isthmus.dynamics.scaling import ScaledLoss, scaled_loss
from isthmus.kernel import empirical_ntk
from isthmus.model.derivatives import output_gradient, output_jvp, output_vjp
from isthmus.model.problem import Problem
from isthmus.results.dynamics import Spectrum


@dataclass(frozen=True)
class Point:
    """The linearized network after some steps.

    Attributes:
        loss: as given; of the quadratic model when only modes are known.
        error: norm of the loss's gradient in the outputs, up to a constant factor.
        scaled: z_i per mode; None at steps that are not kept.
        pull: r, ``(n c,)``; None when it was not asked for, or at steps that are not kept.
        shrink: alpha.
    """

    loss: float
    error: float
    scaled: np.ndarray | None
    pull: np.ndarray | None
    shrink: float = 1.0


def mode_path(modes: Spectrum, method: Method, keep: Container[int], *, pulls: ScaledLoss | None = None) -> Iterator[Point]:
    """The points after steps 0, 1, 2, ..., each mode alone; exact when the loss is quadratic.

    Args:
        modes: the spectrum; a bucket moves as one mode at its Rayleigh quotient.
        method: the optimizer.
        keep: steps at which z_i (and r) are wanted.
        pulls: the scaled loss, when r is wanted too (complete spectra only).
    """
    values, start = (
        _with_bucket(modes, modes.values, modes.bucket_value),
        _with_bucket(modes, modes.coefficients, modes.bucket_norm),
    )
    kept, origin = len(modes.values), _with_bucket(modes, modes.pull, 0.0)

    states = _states(values, start, origin, method, weights=pulls is not None)
    for step, (z, s, alpha) in enumerate(states):
        square, wanted = float(z @ z), step in keep
        pull = pulls.scale(modes.vectors @ s) if wanted and pulls is not None and s is not None else None
        yield Point(modes.offset + 0.5 * square, square**0.5, z[:kept] if wanted else None, pull, alpha)


def _states(
    values: np.ndarray, start: np.ndarray, origin: np.ndarray, method: Method, *, weights: bool
) -> Iterator[tuple[np.ndarray, np.ndarray | None, float]]:
    size = len(values)
    if method.decay:

        def error(state: np.ndarray) -> np.ndarray:
            return start + (state[-1] - 1) * origin + values * state[:-1]

        yield start, np.zeros(size), 1.0
        for state in method.iterate(lambda state: np.append(error(state), 0.0), np.append(np.zeros(size), 1.0)):
            yield error(state), state[:-1], float(state[-1])
    elif weights:
        yield start, np.zeros(size), 1.0
        both = np.concatenate([values, np.ones(size)])
        for state in method.iterate(lambda state: both * np.tile(state[:size], 2), np.concatenate([start, np.zeros(size)])):
            yield state[:size], state[size:], 1.0
    else:
        yield start, None, 1.0
        for state in method.iterate(lambda z: values * z, start):
            yield state, None, 1.0


def _with_bucket(modes: Spectrum, array: np.ndarray, last: float) -> np.ndarray:
    return array if modes.complete else np.append(array, last)


class _OutputSpace:
    """The linearized network in function space, ``f = f_0 + (alpha - 1) J w_0 + K r`` with the constant kernel K."""

    def __init__(self, problem: Problem, modes: Spectrum, *, decay: bool) -> None:
        network, inputs = problem.network, problem.inputs
        self.problem, self.modes, self.scaled = problem, modes, scaled_loss(problem)
        self.kernel = empirical_ntk(network, inputs, verify=False).matrix
        origin = output_jvp(network, inputs, network.flat).reshape(-1).cpu().numpy() if decay else np.zeros(len(self.kernel))
        self.origin, self.start = origin, self.scaled.outputs.reshape(-1)

    def outputs(self, state: np.ndarray) -> np.ndarray:
        """f, ``(n c,)``, from the state ``(r, alpha)``."""
        return self.start + (state[-1] - 1) * self.origin + self.kernel @ state[:-1]

    def slope(self, outputs: np.ndarray) -> np.ndarray:
        """``dl/df``."""
        return output_gradient(self.problem, _tensor(outputs, self.problem)).reshape(-1).cpu().numpy()

    def point(self, state: np.ndarray, wanted: bool) -> Point:
        """What is told of a state."""
        outputs = self.outputs(state)
        z = self.modes.scaled_error + self.scaled.scale(outputs - self.start) if wanted else None
        return Point(
            loss_of(self.problem, outputs),
            float(np.linalg.norm(self.slope(outputs))),
            None if z is None else self.modes.vectors.T @ z,
            state[:-1] if wanted else None,
            float(state[-1]),
        )


def output_path(problem: Problem, modes: Spectrum, method: Method, keep: Container[int]) -> Iterator[Point]:
    """The points after steps 0, 1, 2, ... in function space, under the loss itself.

    Cost of a step: one product with the ``(n c, n c)`` kernel.

    Args:
        problem: in float64 and evaluation mode.
        modes: its complete spectrum, on which z_i is read.
        method: the optimizer.
        keep: steps at which z_i and r are wanted.
    """
    space = _OutputSpace(problem, modes, decay=bool(method.decay))
    first = np.append(np.zeros(len(space.kernel)), 1.0)
    yield space.point(first, 0 in keep)
    states = method.iterate(lambda state: np.append(space.slope(space.outputs(state)), 0.0), first)
    for step, state in enumerate(states, start=1):
        yield space.point(state, step in keep)


def output_flow(problem: Problem, modes: Spectrum, equation: WeightEquation, steps: np.ndarray) -> list[Point]:
    """The limiting equation in function space under the loss itself, ``f = f_0 + K r``, ``r' = -dl/df`` (or of second order).

    Args:
        problem: in float64 and evaluation mode.
        modes: its complete spectrum, on which z_i is read.
        equation: of the optimizer.
        steps: at whose times the points are wanted, first 0.
    """
    space = _OutputSpace(problem, modes, decay=False)

    def pull(r: np.ndarray) -> np.ndarray:
        return space.slope(space.outputs(np.append(r, 1.0)))

    path = integrate(equation, pull, np.zeros(len(space.kernel)), steps * equation.speed, rtol=1e-9, most=200_000)
    if len(path.points) < len(steps):
        raise NumericalError(
            path.status, f"the function-space equation beyond step {steps[len(path.points) - 1]}; use view='discrete'"
        )
    return [space.point(np.append(r, 1.0), wanted=True) for r in path.points]


def loss_of(problem: Problem, outputs: np.ndarray, *, test: bool = False) -> float:
    """The loss as given, of outputs ``(n, c)`` or ``(n c,)`` on the training or test targets."""
    targets = problem.test_targets if test else problem.targets
    inputs = problem.test_inputs if test else problem.inputs
    network = problem.network
    with torch.no_grad():
        shape = network.forward(network.parameters, inputs[:1]).shape[1:]  # pyright: ignore[reportOptionalSubscript]
        tensor = torch.from_numpy(np.array(outputs)).to(network.device).reshape(-1, *shape)
        return float(problem.loss(tensor, targets))  # pyright: ignore[reportArgumentType]


def outputs_on_test(problem: Problem, pull: np.ndarray, shrink: float) -> np.ndarray:
    """Outputs of the linearized network on the test inputs, ``(m, c)``, at ``w = alpha w_0 + J^T r``."""
    network, inputs = problem.network, problem.test_inputs
    if inputs is None:
        raise AssertionError("the caller asks for test outputs only with test data")
    step = output_vjp(network, problem.inputs, _tensor(pull, problem)) + (shrink - 1) * network.flat
    return (network(inputs) + output_jvp(network, inputs, step)).cpu().numpy()


def _tensor(flat: np.ndarray, problem: Problem) -> torch.Tensor:
    return torch.from_numpy(np.array(flat)).to(problem.network.device).reshape(problem.samples, -1)
