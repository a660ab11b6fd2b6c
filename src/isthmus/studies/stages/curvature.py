"""Sharpness at checkpoints, and the spectral density at the end."""

import math
import time

import numpy as np
import torch

from isthmus._core.errors import InputError
from isthmus._core.status import Status
from isthmus.curvature import hessian_eigenvalues, spectral_density
from isthmus.model.problem import Problem, provenance
from isthmus.results.curvature import Eigenvalues, SharpnessTimeline
from isthmus.results.provenance import Cost
from isthmus.studies.stage import Context, Stage, always, spread
from isthmus.studies.stages.training import option


def sampled(context: Context, problem: Problem) -> Problem:
    """The problem on the first training examples in a fixed random order, as many as the scale allows."""
    keep = min(problem.samples, context.scale.curvature_samples)
    order = context.seed.child("curvature", "samples").numpy().permutation(problem.samples)[:keep]
    return problem.subset(torch.from_numpy(np.sort(order)))


def _measured(context: Context, step: int) -> Problem:
    return sampled(context, context.trajectory.problem_at(step).to(torch.float64))


def _eigenvalues(context: Context, step: int) -> Eigenvalues:
    name = f"curvature/eigenvalues-{step:08d}"
    if not context.run.has(name):
        count = min(context.scale.eigenvalues, context.trajectory.problem.network.size)
        record = hessian_eigenvalues(_measured(context, step), count, seed=context.seed.child("curvature", step))
        context.run.save(name, record)
    return Eigenvalues.load(context.run.record_path(name))


def _stability_limit(rate: float, momentum: float) -> float:
    return 2 * (1 + momentum) / rate if rate > 0 else math.nan


def _run_sharpness(context: Context) -> None:
    started, trajectory = time.perf_counter(), context.trajectory
    steps, found = spread(trajectory.steps, context.scale.curvature_points), []
    for index, step in enumerate(steps):
        context.progress("curvature", f"Hessian eigenvalues at step {step}", index, len(steps))
        found.append(_eigenvalues(context, step))
    rates = np.array([option(trajectory, step, "lr") for step in steps])
    momenta = np.nan_to_num(np.array([option(trajectory, step, "momentum") for step in steps]))
    last, converged = found[-1], all(record.converged.all() for record in found)
    record = SharpnessTimeline(
        step=np.array(steps),
        epoch=np.array(steps) / trajectory.steps_per_epoch,
        values=np.stack([record.values for record in found]),
        residuals=np.stack([record.residuals for record in found]),
        converged=np.stack([record.converged for record in found]),
        learning_rate=rates,
        momentum=momenta,
        limit=np.array([_stability_limit(r, m) for r, m in zip(rates, momenta, strict=True)]),
        samples=min(trajectory.problem.samples, context.scale.curvature_samples),
        final_ratio=(float(last.values[0] * rates[-1] / 2), float(last.residuals[0] * rates[-1] / 2)),
        status=Status.CONVERGED if converged else Status.MAX_STEPS,
        method=last.method,
        error="residual |Hv - lambda v| of each eigenpair, a bound on the distance to the nearest eigenvalue",
        cost=Cost(matvecs=sum(record.cost.matvecs for record in found), seconds=time.perf_counter() - started),
        provenance=provenance(_measured(context, steps[-1]), context.seed.child("curvature")),
    )
    context.run.save("curvature/timeline", record)


def _run_density(context: Context) -> None:
    context.progress("curvature", "spectral density at the end", 0, 1)
    problem = _measured(context, context.trajectory.steps[-1])
    scale = context.scale
    steps = min(scale.density_steps, problem.network.size)
    if steps < 1:
        raise InputError("The network has no parameters to take a spectral density of.")
    record = spectral_density(problem, steps=steps, probes=scale.density_probes, seed=context.seed.child("density"))
    context.run.save("curvature/density", record)


SHARPNESS = Stage("sharpness", ("curvature/timeline",), always, _run_sharpness)
DENSITY = Stage("density", ("curvature/density",), always, _run_density)
