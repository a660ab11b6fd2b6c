"""Curved paths of low loss between two networks (Garipov et al. 2018)."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature.directions import Directions, directions_through, with_path
from isthmus.curvature.points import Point, placed
from isthmus.curvature.profile import Normalization, profile
from isthmus.model.curves import CurveKind, CurveModule, curve_weights
from isthmus.model.data import OptimizerFactory
from isthmus.model.network import Network
from isthmus.model.normalization import has_running_statistics
from isthmus.model.problem import Problem, provenance
from isthmus.results.provenance import Cost
from isthmus.results.surfaces import CurveProfile
from isthmus.training.loop import train

_PIECES = 256
_DRAWN = 41


@dataclass(frozen=True)
class LowLossCurve:
    """A curve in parameter space.

    Attributes:
        problem: at the end with t = 0.
        control: control points, the ends among them, ``(bends + 2, p)``.
        kind: Bezier curve or polygonal chain.
        record: losses and errors along it, and along the straight line between its ends.
    """

    problem: Problem
    control: Tensor
    kind: CurveKind
    record: CurveProfile

    def point(self, position: float) -> Tensor:
        """Flat parameters at a position in [0, 1], ``(p,)``."""
        return _point(self.control, self.kind, position)

    def directions(self) -> Directions:
        """The plane through both ends and the middle bend, with the curve projected onto it (exactly, for one bend).

        Raises:
            InputError: the middle bend lies on the straight line.
        """
        corners = self.control[0], self.control[-1], self.control[len(self.control) // 2]
        plane = directions_through(self.problem, *corners, names=("second", "first", "bend"))
        return with_path(plane, torch.stack([self.point(t) for t in np.linspace(0, 1, _DRAWN)]))


def low_loss_curve(
    problem: Problem,
    first: Point,
    second: Point,
    *,
    kind: CurveKind = "bezier",
    bends: int = 1,
    optimizer: OptimizerFactory | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch: int = 50,
    points: int = 21,
    refine: bool = True,
    bn: Normalization = "recalibrate",
    seed: Seed | int = 0,
) -> LowLossCurve:
    """A curve from `second` (t = 0) to `first` (t = 1) trained to have low loss all along.

    The inner control points minimize ``E_t L(c(t))``, t uniform on [0, 1] and drawn anew at every step: a quadratic Bezier curve
    ``(1-t)^2 w' + 2 t (1-t) b + t^2 w`` for one bend, a polygonal chain of equal pieces for ``kind="polygon"``. They start evenly
    spaced on the straight line, so that no training gives the straight line.

    Args:
        problem: data and loss; its network gives the architecture.
        first: one end: flat vector, dict (may hold buffers), module, network or problem.
        second: the other end.
        kind: Bezier curve or polygonal chain.
        bends: inner control points.
        optimizer: as for `train`; sees all bends as one parameter ``(bends, p)``.
        epochs: as for `train`.
        steps: as for `train`; 0 keeps the straight line.
        batch: samples of a step.
        points: even grid along curve and line, ends included.
        refine: add points around the highest one of each quantity, three times halving the spacing.
        bn: with BatchNorm, whether its statistics are measured anew at each inner point, or interpolated.
        seed: names the positions and the batch order.

    Returns:
        The curve with its record; both barriers are maxima over grids, hence lower bounds.

    Raises:
        InputError: no bend, an unknown kind, or an option that `train` refuses.
        ShapeError: an end belongs to another network.
        NumericalError: training diverged.
    """
    if kind not in ("bezier", "polygon") or bends < 1:
        raise InputError(f"kind 'bezier' or 'polygon' and at least one bend are needed, found kind={kind!r}, bends={bends}.")
    started, problem, seed = time.perf_counter(), problem.eval(), as_seed(seed)
    ends = placed(problem, second), placed(problem, first)
    low, high = (end.network.flat for end in ends)
    line = profile(ends, lambda a: low + a * (high - low), points=points, refine=refine, bn=bn)
    shares = torch.linspace(0, 1, bends + 2, dtype=low.dtype, device=low.device)[1:-1, None]
    module = CurveModule(ends[0].network, torch.stack([low, high]), low + shares * (high - low), kind)
    run = train(
        problem.with_network(Network(module)), optimizer, epochs=epochs, steps=steps, batch=batch, seed=seed, checkpoints=()
    )
    middle = run.checkpoint(run.steps[-1]).parameters["bends"]
    control = torch.cat([low[None], middle, high[None]])
    found = profile(ends, lambda t: _point(control, kind, t), points=points, refine=refine, bn=bn)
    record = CurveProfile(
        position=found.position,
        values=found.values,
        line_position=line.position,
        line_values=line.values,
        chord=found.chord,
        line_chord=line.chord,
        bends=middle.cpu().numpy(),
        quantities=found.quantities,
        kind=kind,
        length=(_length(control, kind), float((high - low).norm())),
        steps=run.steps[-1],
        status=Status.EXACT if np.isfinite(found.values).all() and np.isfinite(line.values).all() else Status.NOT_FINITE,
        method=f"{kind} with {bends} trained bend{'s' if bends > 1 else ''}, {run.steps[-1]} steps; {len(found.position)} points"
        + (f", BatchNorm statistics: {bn}" if has_running_statistics(problem.network) else ""),
        error="maxima over the grid: lower bounds on the maxima over curve and line",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem, seed),
    )
    return LowLossCurve(ends[0], control, kind, record)


def _point(control: Tensor, kind: CurveKind, position: float) -> Tensor:
    t = torch.tensor(position, dtype=control.dtype, device=control.device)
    return curve_weights(kind, t, len(control)) @ control


def _length(control: Tensor, kind: CurveKind) -> float:
    places = torch.linspace(0, 1, _PIECES + 1, dtype=torch.float64, device=control.device)
    weights = curve_weights(kind, places, len(control)).diff(dim=0)
    gram = control.double() @ control.double().T
    return float(torch.einsum("ti,ij,tj->t", weights, gram, weights).clamp_min(0).sqrt().sum())
