"""Whether a kernel prediction can be trusted, judged before training."""

import math
import time
from itertools import islice

import numpy as np
import torch
from torch import nn

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.dynamics.linearized import linearized_at
from isthmus.dynamics.optimizers import OptimizerLike, Understood, understand_optimizer
from isthmus.dynamics.paths import mode_path, output_path
from isthmus.dynamics.scaling import scaled_loss
from isthmus.dynamics.spectrum import spectrum
from isthmus.dynamics.stability import stability_limit
from isthmus.kernel import empirical_ntk, kernel_distance
from isthmus.model.derivatives import output_jvp, output_vjp
from isthmus.model.problem import Problem
from isthmus.results.dynamics import Spectrum
from isthmus.results.optimizers import Regime
from isthmus.results.provenance import Cost

_LAZY = 0.1
_CONFIDENCE = 0.1


def regime_check(
    problem: Problem,
    optimizer: OptimizerLike,
    *,
    steps: int = 100,
    steps_per_epoch: int = 1,
    kernel_samples: int = 20,
    seed: Seed | int = 0,
) -> Regime:
    """Stability and linearity of the run that the kernel predicts, before it is made.

    The linearized network is followed for `steps` full-batch steps to weights w; there the network itself is evaluated once:
    ``|f(w) - f_lin(w)| / |f_lin(w) - f_0|`` is how far from linear it is on the way that it would go, and
    ``|K(w) - K(w_0)| / |K(w_0)|`` how far its kernel would have moved. Above the stability limit no kernel prediction holds, and
    the run is not followed.

    Args:
        problem: network, data and loss.
        optimizer: as in `predict_training`.
        steps: of the linearized network.
        steps_per_epoch: steps between two calls of a scheduler.
        kernel_samples: inputs on which the kernel's change is measured.
        seed: names Lanczos' start vectors.

    Returns:
        The verdict, with the numbers behind it: ``kernel regime`` when the nonlinearity is below 10 %.

    Raises:
        InputError: fewer than one step.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    if steps < 1 or kernel_samples < 1:
        raise InputError(f"At least one step and one kernel sample are needed, found {steps} and {kernel_samples}.")
    problem = problem.eval().to(torch.float64)
    known = understand_optimizer(optimizer, problem.network, steps=steps, steps_per_epoch=steps_per_epoch)
    limit = stability_limit(problem, optimizer, steps=steps, steps_per_epoch=steps_per_epoch, seed=seed)
    modes = spectrum(problem, seed=seed, verify=False)
    few = problem.inputs[:kernel_samples]
    nonlinearity, change = math.nan, math.nan
    if limit.margin <= 1:
        nonlinearity, change = _follow(problem, modes, known, steps, few, steps_per_epoch)
    verdict, consequence = _verdict(limit.margin, nonlinearity, limit.largest_rate)
    return Regime(
        margin=limit.margin,
        learning_rate=limit.learning_rate,
        largest_rate=limit.largest_rate,
        steps=steps,
        nonlinearity=nonlinearity,
        kernel_change=change,
        kernel_samples=len(few),
        width=hidden_width(problem.network.module),
        log10_bound=_log10_bound(problem, modes),
        optimizer=known.words,
        verdict=verdict,
        consequence=consequence,
        status=Status.EXACT,
        method=f"linearized network followed for {steps} full-batch steps, then one evaluation of the network there",
        error="exact at that point; a run can leave the linearized network earlier or later",
        cost=Cost(matvecs=limit.cost.matvecs, seconds=time.perf_counter() - started),
        provenance=limit.provenance,
    )


def _follow(
    problem: Problem, modes: Spectrum, known: Understood, steps: int, few: torch.Tensor, steps_per_epoch: int
) -> tuple[float, float]:
    """Nonlinearity and kernel change at the weights to which the linearized network goes."""
    network, inputs = problem.network, problem.inputs
    move = _displacement(problem, modes, known, steps, steps_per_epoch)
    there = network.at(network.flat + move)
    straight = output_jvp(network, inputs, move)
    bent = there(inputs) - network(inputs) - straight
    moved = kernel_distance(*(empirical_ntk(net, few, verify=False) for net in (network, there)))
    return float(bent.norm() / straight.norm().clamp_min(1e-300)), moved.relative_change


def _displacement(problem: Problem, modes: Spectrum, known: Understood, steps: int, steps_per_epoch: int) -> torch.Tensor:
    """``w_k - w_0`` of the linearized network after `steps` steps."""
    network = problem.network
    if known.method is None or not modes.complete:
        return linearized_at(problem, known, steps, steps_per_epoch=steps_per_epoch).network.flat - network.flat
    if modes.quadratic:
        path = mode_path(modes, known.method, {steps}, pulls=scaled_loss(problem))
    else:
        path = output_path(problem, modes, known.method, {steps})
    last = next(islice(path, steps, None))
    pull = torch.from_numpy(np.array(last.pull)).to(network.device).reshape(problem.samples, -1)
    return output_vjp(network, problem.inputs, pull) + (last.shrink - 1) * network.flat


def hidden_width(module: nn.Module) -> int:
    """The smallest number of units of any dense or convolution layer but the last; 0 when there is none."""
    layers = [sub for sub in module.modules() if isinstance(sub, nn.Linear | nn.modules.conv._ConvNd)]
    widths = [layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels for layer in layers[:-1]]
    return min(widths, default=0)


def _log10_bound(problem: Problem, modes: Spectrum) -> float:
    """log10 of ``n^6 / (lambda_0^4 delta^3)`` with lambda_0 of the unscaled kernel (half the sum of squares)."""
    if not (modes.quadratic and modes.complete):
        return math.nan
    smallest = modes.smallest / float(scaled_loss(problem).root[0, 0, 0]) ** 2
    if smallest <= 0:
        return math.inf
    return 6 * math.log10(problem.samples) - 4 * math.log10(smallest) - 3 * math.log10(_CONFIDENCE)


def _verdict(margin: float, nonlinearity: float, best: float) -> tuple[str, str]:
    if margin > 1:
        return "edge of stability or catapult expected", (
            f"the step is {margin:.3g} times the stable one, so no kernel prediction holds; use lr below {best:.3g}, or NTK parametrization"
        )
    if nonlinearity < _LAZY:
        return "kernel regime", f"the network is linear to {nonlinearity:.1%} where the prediction leads"
    return "feature learning expected", (
        f"the network is {nonlinearity:.0%} off its linearization where the prediction leads; the first steps can be predicted, the whole "
        "run cannot; a wider network or NTK parametrization brings it nearer"
    )
