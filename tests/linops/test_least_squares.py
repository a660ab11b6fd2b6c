"""Batched Levenberg-Marquardt against scipy, and its two forms against each other."""

import pytest
import torch
from scipy import optimize
from torch import Tensor

from isthmus._core.errors import ShapeError
from isthmus.linops.least_squares import levenberg_marquardt, normal_levenberg_marquardt

T = torch.linspace(0, 3, 40, dtype=torch.float64)
Y = 1.3 * torch.exp(-0.7 * T) + 0.2 * torch.sin(5 * T)


def residuals(points: Tensor) -> tuple[Tensor, Tensor]:
    a, b = points[:, :1], points[:, 1:]
    decay = torch.exp(-b * T)
    return a * decay - Y, torch.stack([decay, -a * T * decay], dim=2)


def normal(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r, jac = residuals(points)
    return r.square().sum(1), torch.einsum("bmp,bm->bp", jac, r), torch.einsum("bmp,bmq->bpq", jac, jac)


def test_both_forms_reach_the_minimum_that_scipy_finds() -> None:
    starts = torch.tensor([[1.0, 1.0], [0.3, 0.1], [3.0, 2.0]], dtype=torch.float64)
    best = optimize.least_squares(
        lambda x: residuals(torch.tensor(x)[None])[0][0].numpy(), [1.0, 1.0], xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    for found in (
        levenberg_marquardt(residuals, starts, tolerance=1e-7),
        normal_levenberg_marquardt(normal, starts, tolerance=1e-7),
    ):
        assert found.converged.all()
        assert found.cost.numpy() == pytest.approx(2 * best.cost, rel=1e-12)
        assert found.points.numpy() == pytest.approx(best.x[None].repeat(3, 0), rel=1e-6)


def test_starts_are_independent_of_their_batch() -> None:
    starts = torch.tensor([[1.0, 1.0], [0.3, 0.1]], dtype=torch.float64)
    together = normal_levenberg_marquardt(normal, starts, steps=7)
    alone = [normal_levenberg_marquardt(normal, start[None], steps=7) for start in starts]
    assert torch.allclose(together.points, torch.cat([one.points for one in alone]), rtol=1e-13)


def test_the_bound_and_the_shape_are_kept() -> None:
    start = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    kept = normal_levenberg_marquardt(normal, start, bound=1.0)
    assert float(kept.points.norm()) < 1.0
    with pytest.raises(ShapeError, match="b, p"):
        normal_levenberg_marquardt(normal, start[0])
