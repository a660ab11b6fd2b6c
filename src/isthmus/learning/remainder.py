"""Does the Taylor remainder shrink as smoothness promises?"""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.linops.random import gaussian
from isthmus.model.network import Network
from isthmus.model.problem import Problem, provenance
from isthmus.model.taylor import taylor_terms
from isthmus.results.learning import RemainderOrders
from isthmus.results.provenance import Cost

LENGTHS = (0.2, 0.1, 0.05, 0.025)
_SLACK = 0.35
_ROUNDING = 1e-11


def remainder_orders(
    network: nn.Module | Network | Problem,
    inputs: Tensor,
    *,
    direction: Mapping[str, Tensor] | None = None,
    lengths: Sequence[float] = LENGTHS,
    order: int = 3,
    seed: Seed | int = 0,
) -> RemainderOrders:
    """Fit the exponent of ``|f(theta_0 + h d) - T_k(theta_0 + h d)|`` in h for every order up to k.

    A smooth network gives k + 1. A kink within reach (ReLU, max-pooling) leaves terms of order h^2 that no derivative
    sees, so the slope stays below about 2 for every k >= 1: the order-2 model is then no expansion, though still a
    useful model (for a ReLU network it is exactly the linear part plus the part bilinear across layers).

    Args:
        network: any module; its parameters are the anchor. Used in float64, evaluation mode.
        inputs: ``(n, ...)``, in the network's dtype.
        direction: d by name; by default Gaussian with each tensor's own root mean square (1 for a zero tensor).
        lengths: h, decreasing; at least three.
        order: the highest k, 0 to 3.
        seed: names the default direction.

    Returns:
        Remainders and slopes; `smooth` flags the orders that behave.

    Raises:
        InputError: fewer than three lengths.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    if len(lengths) < 3 or min(lengths) <= 0:
        raise InputError(f"A slope needs at least three positive lengths h, found {tuple(lengths)}.")
    exact = Network.of(network).eval().to(torch.float64)
    points = inputs.double() if inputs.is_floating_point() else inputs
    d = dict(direction) if direction is not None else _typical(exact, seed)
    d = {name: value.to(exact.device, torch.float64) for name, value in d.items()}
    h = np.sort(np.array(lengths, dtype=np.float64))[::-1].copy()
    terms = taylor_terms(exact, points, d, order)
    remainder, scale = np.empty((order + 1, len(h))), 0.0
    for column, length in enumerate(h):
        moved = exact.at({name: value + float(length) * d[name] for name, value in exact.parameters.items()})(points)
        powers = float(length) ** torch.arange(order + 1, dtype=torch.float64, device=exact.device)
        models = (powers[:, None, None] * terms).cumsum(0)
        remainder[:, column] = (moved - models).square().mean((1, 2)).sqrt().cpu().numpy()
        scale = max(scale, float(moved.square().mean().sqrt()))
    slope = np.array([_slope(h, row, _ROUNDING * max(scale, 1e-300)) for row in remainder])
    return RemainderOrders(
        length=h,
        remainder=remainder,
        slope=slope,
        smooth=np.isnan(slope) | (slope > np.arange(order + 1) + 1 - _SLACK),
        samples=len(inputs),
        status=Status.EXACT,
        method=f"Taylor terms to order {order} along one direction, float64",
        error=f"slopes are local, between neighboring lengths; an order counts as smooth within {_SLACK} of k + 1",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(exact, seed),
    )


def _slope(h: np.ndarray, remainder: np.ndarray, floor: float) -> float:
    """Least-squares log-log slope over the three smallest lengths whose remainder is above rounding."""
    usable = np.flatnonzero(remainder > floor)[-3:]
    if len(usable) < 2:
        return float("nan")
    return float(np.polyfit(np.log(h[usable]), np.log(remainder[usable]), 1)[0])


def _typical(network: Network, seed: Seed) -> dict[str, Tensor]:
    """A Gaussian direction with each tensor's root mean square."""
    drawn = {}
    for name, value in network.parameters.items():
        size = float(value.square().mean().sqrt())
        drawn[name] = gaussian(value.shape, seed.child("direction", name), torch.float64, network.device) * (size or 1.0)
    return drawn
