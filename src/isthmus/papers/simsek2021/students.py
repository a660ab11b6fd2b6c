"""The authors' teacher and students of many widths, trained many at a time: by Levenberg-Marquardt, or by the authors' own protocol.

A student is ``f(x) = sum_i a_i g(w_i . x)`` without biases, ``g(z) = sigmoid(4 z) + softplus(z)``; its parameters lie in one
row: all w_i1, all w_i2, all a_i.
"""

import math

import torch
from scipy import optimize
from torch import Tensor, nn

from isthmus._core.seeds import Seed
from isthmus.linops.least_squares import LeastSquares, normal_levenberg_marquardt
from isthmus.linops.random import generator
from isthmus.model.problem import Problem
from isthmus.model.zoo import SigmoidSoftplus

TEACHER_W = ((0.6, 0.5), (-0.5, 0.5), (-0.2, -0.6), (0.1, -0.6))
_CHUNK = 16
_SLOPE = 1e-15


def activation(z: Tensor) -> tuple[Tensor, Tensor]:
    """``g(z) = sigmoid(4 z) + log(1 + e^z)`` and its derivative ``4 s (1 - s) + sigmoid(z)``, from one exponential.

    Exact to 4e-16 absolutely for z < 700; written in place, because memory traffic is what it costs.
    """
    power = torch.exp(z)
    more = power + 1
    value = torch.log(more)
    rest = power.square_().square_().add_(1).reciprocal_()
    value.sub_(rest).add_(1)
    slope = more.reciprocal_().neg_().add_(1)
    return value, slope.addcmul_(rest, 1 - rest, value=4)


def grid(spacing: float = 0.25) -> Tensor:
    """The authors' inputs, ``-5 : spacing : 5`` squared, ``(n, 2)``."""
    count = round(10 / spacing) + 1
    axis = torch.linspace(-5, 5, count, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


def teacher(inputs: Tensor) -> Tensor:
    """Outputs ``(n,)`` of the authors' teacher with four units and unit outgoing weights."""
    value, _ = activation(inputs @ torch.tensor(TEACHER_W, dtype=torch.float64).T)
    return value.sum(dim=1)


def random_students(count: int, width: int, seed: Seed) -> Tensor:
    """Glorot-uniform students, ``(count, 3 width)``: w in +-sqrt(6/(2+m)), a in +-sqrt(6/(m+1))."""
    drawn = torch.rand(count, 3 * width, dtype=torch.float64, generator=generator(seed)) * 2 - 1
    drawn[:, : 2 * width] *= math.sqrt(6 / (2 + width))
    drawn[:, 2 * width :] *= math.sqrt(6 / (1 + width))
    return drawn


def normal_equations(points: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss ``|r|^2 (b,)``, ``J^T r (b, p)`` and ``J^T J (b, p, p)`` of ``r = (f - y) / sqrt(n)``.

    Args:
        points: ``(b, 3 width)``.
        inputs: ``(n, 2)``.
        targets: ``(n,)``.
    """
    b, width = len(points), points.shape[1] // 3
    jacobian = torch.empty(b, 3 * width, len(inputs), dtype=points.dtype)
    value, slope, r = _responses(points, inputs, targets)
    first, second = inputs.T.contiguous()
    scale = 1 / math.sqrt(len(inputs))
    slope *= (points[:, 2 * width :] * scale)[:, :, None]
    torch.mul(slope, first, out=jacobian[:, :width])
    torch.mul(slope, second, out=jacobian[:, width : 2 * width])
    torch.mul(value, scale, out=jacobian[:, 2 * width :])
    return r.square().sum(dim=1), torch.bmm(r[:, None], jacobian.mT)[:, 0], torch.bmm(jacobian, jacobian.mT)


def gradients(points: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Loss ``|r|^2 (b,)`` and its gradient ``2 J^T r (b, p)`` without the Jacobian; arguments as in `normal_equations`."""
    width = points.shape[1] // 3
    value, slope, r = _responses(points, inputs, targets)
    loss, r = r.square().sum(dim=1), r * (2 / math.sqrt(len(inputs)))
    inner = (slope * points[:, 2 * width :, None] * r[:, None]) @ inputs
    return loss, torch.cat([inner[..., 0], inner[..., 1], (value @ r[..., None])[..., 0]], dim=1)


def _responses(points: Tensor, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``g`` and ``g'`` of every unit, ``(b, width, n)``, and the residual ``(b, n)``."""
    b, width = len(points), points.shape[1] // 3
    value, slope = activation(torch.matmul(points[:, : 2 * width].reshape(b, 2, width).mT, inputs.T.contiguous()))
    output = torch.matmul(points[:, None, 2 * width :], value)[:, 0]
    return value, slope, (output - targets) * (1 / math.sqrt(len(inputs)))


def train_students(starts: Tensor, inputs: Tensor, targets: Tensor, *, steps: int = 500, slope: float = _SLOPE) -> LeastSquares:
    """Levenberg-Marquardt on the mean squared error of many students; those that have converged leave the batch.

    Args:
        starts: ``(b, 3 width)``.
        inputs: ``(n, 2)``.
        targets: ``(n,)``.
        steps: evaluations for each student.
        slope: a student is done when ``|J^T r|`` is below it.
    """
    parts = [
        normal_levenberg_marquardt(lambda points: normal_equations(points, inputs, targets), part, steps=steps, tolerance=slope)
        for part in starts.split(_CHUNK)
    ]
    return LeastSquares(
        torch.cat([part.points for part in parts]),
        torch.cat([part.cost for part in parts]),
        torch.cat([part.slope for part in parts]),
        torch.cat([part.converged for part in parts]),
        max(part.steps for part in parts),
    )


def train_long(
    starts: Tensor, inputs: Tensor, targets: Tensor, *, blocks: int = 10, block: int = 100_000, polish: int = 10_000
) -> LeastSquares:
    """The authors' protocol: long full-batch Adam, then SLSQP in a box.

    Adam at step size 1e-3 / (1 + i) in block i; a student whose mean loss over a block is below 1e-7 leaves. Then sequential
    quadratic programming within +-10 (theirs was bounded by time, 1e3 to 1e4 s a run, ours by iterations).

    Args:
        starts: ``(b, 3 width)``.
        inputs: ``(n, 2)``.
        targets: ``(n,)``.
        blocks: of Adam.
        block: steps in each.
        polish: iterations of SLSQP.
    """
    points, ends, active = starts.clone(), starts.clone(), torch.ones(len(starts), dtype=torch.bool)
    descent = torch.optim.Adam([points], lr=1e-3)
    for index in range(blocks):
        descent.param_groups[0]["lr"] = 1e-3 / (1 + index)
        total = torch.zeros(len(points), dtype=points.dtype)
        for _ in range(block):
            loss, points.grad = gradients(points, inputs, targets)
            descent.step()
            total += loss
        ends[active] = points[active]
        active &= total / block >= 1e-7
        if not bool(active.any()):
            break
    found = [_boxed(row, inputs, targets, polish) for row in ends]
    ends = torch.stack([torch.as_tensor(one.x, dtype=points.dtype) for one in found])
    cost, slope = gradients(ends, inputs, targets)
    done = torch.tensor([bool(one.success) for one in found])
    return LeastSquares(ends, cost, slope.norm(dim=1) / 2, done, blocks * block)


def _boxed(row: Tensor, inputs: Tensor, targets: Tensor, iterations: int) -> optimize.OptimizeResult:
    def value_and_slope(vector: object) -> tuple[float, object]:
        loss, slope = gradients(torch.as_tensor(vector)[None], inputs, targets)
        return float(loss[0]), slope[0].numpy()

    start = row.clamp(-10, 10).numpy()
    options = {"maxiter": iterations, "ftol": 1e-32}
    return optimize.minimize(value_and_slope, start, jac=True, method="SLSQP", bounds=[(-10, 10)] * len(row), options=options)


def student_module(row: Tensor) -> nn.Sequential:
    """One student as a module.

    Args:
        row: ``(3 width,)``.
    """
    width = len(row) // 3
    hidden, readout = nn.Linear(2, width, bias=False).double(), nn.Linear(width, 1, bias=False).double()
    with torch.no_grad():
        hidden.weight.copy_(row[: 2 * width].reshape(2, width).T)
        readout.weight.copy_(row[2 * width :][None])
    return nn.Sequential(hidden, SigmoidSoftplus(), readout)


def student_problem(row: Tensor, inputs: Tensor, targets: Tensor) -> Problem:
    """One student with the teacher's data and the mean squared error."""
    return Problem(student_module(row), inputs, targets[:, None], nn.MSELoss(), name=f"student of width {len(row) // 3}")


def teacher_row() -> Tensor:
    """The teacher's own parameters as a row."""
    w = torch.tensor(TEACHER_W, dtype=torch.float64)
    return torch.cat([w.T.reshape(-1), torch.ones(len(w), dtype=torch.float64)])
