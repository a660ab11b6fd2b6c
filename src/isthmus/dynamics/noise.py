"""Mini-batch SGD on the linearized network: mean and second moment, exactly."""

import time

import numpy as np
import torch

from isthmus._core.errors import InputError
from isthmus._core.status import Status
from isthmus.dynamics.methods import TorchSgd
from isthmus.dynamics.optimizers import OptimizerLike, understand_optimizer
from isthmus.dynamics.scaling import is_quadratic, scaled_loss
from isthmus.kernel import empirical_ntk
from isthmus.model.problem import Problem, provenance
from isthmus.results.dynamics import MinibatchMoments
from isthmus.results.provenance import Cost

_LARGEST = 400


def minibatch_moments(problem: Problem, optimizer: OptimizerLike, steps: int, batch: int) -> MinibatchMoments:
    """Mean and second moment of the error under SGD whose batches are drawn independently, without repetition inside a batch.

    On the linearized network a batch S moves ``(u, q)``, q the momentum buffer in the outputs, by ``s = kappa P_S u``,
    ``q' = beta q + s``, ``u' = u - lr H q'`` (Nesterov: ``u - lr H (s + beta q')``), where kappa is n / batch for a mean loss and 1
    for a sum. Every map is linear in ``(u, q)``, so that ``M = E (u, q)(u, q)^T`` obeys a closed recursion with
    ``E s s^T = kappa^2 [pi_2 M_uu + (pi_1 - pi_2) blockdiag M_uu]``, ``pi_1 = b/n``, ``pi_2 = b (b - 1) / (n (n - 1))``. The shuffled
    epochs of `isthmus.train` are a little less noisy than independent batches.

    Args:
        problem: network, data and a squared-error loss, with n c at most 400.
        optimizer: constant `torch.optim.SGD` without weight decay or dampening (gradient descent, heavy ball, Nesterov).
        steps: how far.
        batch: samples of a batch, 1..n.

    Returns:
        The moments. Cost of a step: ``48 (n c)^3`` operations.

    Raises:
        InputError: another loss or optimizer, a batch out of range, or too many outputs.
    """
    started, problem = time.perf_counter(), problem.eval().to(torch.float64)
    known = understand_optimizer(optimizer, problem.network)
    method = known.method
    _check(problem, method, known.words, steps, batch)
    scaled = scaled_loss(problem)
    kernel = empirical_ntk(problem.network, problem.inputs).matrix
    rows = _recursion(scaled.scale(scaled.scale(kernel).T), scaled.error, method, problem, steps, batch)  # pyright: ignore[reportArgumentType]
    mean, square = np.stack([row for row, _ in rows]), np.array([value for _, value in rows])
    return MinibatchMoments(
        step=np.arange(steps + 1),
        mean_error=mean,
        expected_loss=scaled.offset + 0.5 * square,
        loss_of_mean=scaled.offset + 0.5 * (mean**2).sum(axis=1),
        batch=batch,
        optimizer=known.words,
        growth=float(square[-1] / square[-2]) if square[-2] > 0 else 0.0,
        status=Status.EXACT if np.isfinite(square).all() else Status.NOT_FINITE,
        method=f"second-moment recursion of {known.words}, batches of {batch} of {problem.samples}, {problem.loss.name}",
        error="exact for the linearized network under independent batches",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem),
    )


def _check(problem: Problem, method: object, words: str, steps: int, batch: int) -> None:
    size = problem.samples * problem.outputs
    if not 1 <= batch <= problem.samples or steps < 1:
        raise InputError(f"Needed at least one step and a batch of 1..{problem.samples} samples, found {steps} and {batch}.")
    if size > _LARGEST:
        raise InputError(
            f"The second moment of {size} outputs is a matrix of {2 * size} rows; at most {_LARGEST} outputs. Use problem.subset."
        )
    if not is_quadratic(problem):
        raise InputError(f"{problem.loss.name} is not quadratic in the outputs, so its moments do not close. Use nn.MSELoss.")
    plain = isinstance(method, TorchSgd) and method.schedule is None and not method.decay and not method.dampening
    if not plain:
        raise InputError(f"{words} has no closed moments; constant torch.optim.SGD without weight decay and dampening has.")


def _recursion(
    kernel: np.ndarray, start: np.ndarray, method: TorchSgd, problem: Problem, steps: int, batch: int
) -> list[tuple[np.ndarray, float]]:
    """``(E u, E |u|^2)`` at steps 0..steps."""
    n, size, beta = problem.samples, len(start), method.momentum
    kappa = problem.normalizer / problem.loss.normalizer(problem.targets[:batch])
    once, twice = batch / n, batch * (batch - 1) / (n * (n - 1)) if n > 1 else 1.0
    same = np.kron(np.eye(n), np.ones((problem.outputs, problem.outputs)))
    push = method.lr * kernel
    keep, drive = np.zeros((2 * size, 2 * size)), np.zeros((2 * size, size))
    keep[:size, :size], keep[size:, size:] = np.eye(size), beta * np.eye(size)
    keep[:size, size:] = -beta * push * (beta if method.nesterov else 1.0)
    drive[:size], drive[size:] = -push * (1 + beta if method.nesterov else 1.0), np.eye(size)
    mean, moment = np.concatenate([start, np.zeros(size)]), np.zeros((2 * size, 2 * size))
    moment[:size, :size] = np.outer(start, start)
    rows = [(start, float(start @ start))]
    for _ in range(steps):
        cross = keep @ moment[:, :size] @ drive.T * (kappa * once)
        own = moment[:size, :size]
        noise = kappa**2 * (twice * own + (once - twice) * same * own)
        moment = keep @ moment @ keep.T + cross + cross.T + drive @ noise @ drive.T
        mean = keep @ mean + drive @ mean[:size] * (kappa * once)
        rows.append((mean[:size], float(np.trace(moment[:size, :size]))))
    return rows
