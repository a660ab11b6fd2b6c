"""Sums over all paths by dynamic programming: no path is ever written out, except those asked for by name."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import BudgetError
from isthmus._core.seeds import Seed
from isthmus.games.chain import Chain
from isthmus.model.derivatives import output_vjp
from isthmus.model.network import Network

_HOP_ENTRIES = 2**24
_BATCHES = 10


@dataclass(frozen=True)
class PathSums:
    """One number for each weight, unit and input of a chain.

    Attributes:
        edges: for each affine map, its weights' sums and its biases' (None without).
        units: for each gate, ``(units,)`` flattened.
        types: for each input entry, then one for all biases together, ``(t,)``.
    """

    edges: list[tuple[Tensor, Tensor | None]]
    units: list[Tensor]
    types: Tensor

    @property
    def total(self) -> float:
        """The sum over all paths, from every input and bias."""
        return float(self.types.sum())


def pulled_back(chain: Chain, inputs: Tensor, cotangents: Tensor) -> PathSums:
    """``w dS/dw`` for every weight, ``dS/dscale`` for every unit and input, of ``S = sum_nc u_nc f_c(x_n)``.

    With the loss gradient as cotangent these are the sums ``sum_{p through e} v_p C_p``; with ones on the chain of
    absolute weights they are the flows ``sum_{p through e} |v_p|``. Cost: one forward and one backward pass.

    Args:
        chain: its gates act as they are set.
        inputs: ``(n, ...)``, float64.
        cotangents: ``(n, c)``.
    """
    gradient = _gradients(chain, inputs, cotangents)

    def times(parameter: Tensor) -> Tensor:
        return parameter.detach() * gradient[id(parameter)]

    edges = [(times(step.weight), None if step.bias is None else times(step.bias)) for step in chain.affines]
    biases = sum((bias.sum() for _, bias in edges if bias is not None), torch.zeros((), dtype=torch.float64))
    types = torch.cat([gradient[id(chain.inputs)].reshape(-1), torch.as_tensor(biases).reshape(1)])
    return PathSums(edges, [gradient[id(gate.scale)].reshape(-1) for gate in chain.gates], types)


def weight_gradients(chain: Chain, inputs: Tensor, cotangents: Tensor) -> list[tuple[Tensor, Tensor | None]]:
    """``dS/dw`` and ``dS/db`` of ``S = sum_nc u_nc f_c(x_n)`` for every affine map."""
    found = _gradients(chain, inputs, cotangents)
    return [(found[id(step.weight)], None if step.bias is None else found[id(step.bias)]) for step in chain.affines]


def _gradients(chain: Chain, inputs: Tensor, cotangents: Tensor) -> dict[int, Tensor]:
    """Gradient of each of the chain's parameters, by its id."""
    network = Network(chain)
    gradient = network.layout.unflatten(output_vjp(network, inputs, cotangents))
    return {id(parameter): gradient[name] for name, parameter in chain.named_parameters()}


def absolute_flows(chain: Chain) -> PathSums:
    """``sum |v_p|`` over the paths through each edge and unit, and from each input: flows, and the demands pi_j."""
    return _of_ones(chain.with_weights(torch.abs))


def path_counts(chain: Chain) -> tuple[float, float]:
    """Number of paths of the architecture (biases start paths too), and how many have no zero weight."""
    everything = _of_ones(chain.with_weights(torch.ones_like)).total
    used = _of_ones(chain.with_weights(lambda w: (w != 0).to(w.dtype))).total
    return everything, used


def path_kernel_trace(chain: Chain) -> float:
    """``sum_p sum_{e in p} (v_p / w_e)^2``: the trace of the path kernel, without dividing by any weight."""
    squared = chain.with_weights(torch.square)
    pulled = weight_gradients(squared, _ones(squared), _cotangent(squared))
    return float(sum(part.sum() for pair in pulled for part in pair if part is not None))


def _of_ones(chain: Chain) -> PathSums:
    return pulled_back(chain, _ones(chain), _cotangent(chain))


def _ones(chain: Chain) -> Tensor:
    return torch.ones(1, *chain.shape, dtype=torch.float64)


def _cotangent(chain: Chain) -> Tensor:
    with torch.no_grad():
        return torch.ones_like(chain(_ones(chain)))


def hop_matrices(chain: Chain) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every hop as a dense matrix ``(out, in)`` and a bias ``(out,)``.

    Raises:
        BudgetError: a convolution unrolled would have more than 2^24 entries.
    """
    shapes = [math.prod(shape) for shape in chain.level_shapes()]
    with torch.no_grad():
        sizes = [*shapes[1:], chain(_ones(chain)).shape[1]]
    largest = max(a * b for a, b in zip(shapes, sizes, strict=True))
    if largest > _HOP_ENTRIES:
        raise BudgetError(
            f"Written out, one map of this network has {largest:,} entries (limit {_HOP_ENTRIES:,}). Single paths need them; edge "
            "flows, demands, Kirchhoff residuals and the upper-bound certificate do not."
        )
    found = [chain.hop_matrix(index) for index in range(len(shapes))]
    return [(weight.numpy(), bias.numpy()) for weight, bias in found]


def strongest_paths(hops: list[tuple[np.ndarray, np.ndarray]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The paths of largest ``|v_p|``, strongest first, by k-best dynamic programming.

    Args:
        hops: from `hop_matrices`.
        count: how many.

    Returns:
        Units ``(k, levels)`` with -1 for levels before the bias at which a path starts, and signed values ``(k,)``.
    """
    size = hops[0][0].shape[1]
    best, history = np.ones((size, 1)), []
    for weight, bias in hops:
        candidates = (np.abs(weight)[:, :, None] * best[None]).reshape(len(weight), -1)
        candidates = np.concatenate([candidates, np.abs(bias)[:, None]], axis=1)
        keep = min(count, candidates.shape[1])
        chosen = np.argpartition(-candidates, keep - 1, axis=1)[:, :keep]
        history.append((chosen, best.shape[1]))
        best = np.take_along_axis(candidates, chosen, axis=1)
    order = np.argsort(-best, axis=None)[:count]
    ends, slots = np.unravel_index(order, best.shape)
    kept = best[ends, slots] > 0
    return _followed(hops, history, ends[kept], slots[kept])


def _followed(
    hops: list[tuple[np.ndarray, np.ndarray]], history: list[tuple[np.ndarray, int]], ends: np.ndarray, slots: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Read paths backwards off the choices."""
    units = np.full((len(ends), len(hops) + 1), -1, dtype=np.int64)
    values = np.ones(len(ends))
    units[:, -1] = ends
    running = np.ones(len(ends), dtype=bool)
    for level in range(len(hops) - 1, -1, -1):
        weight, bias = hops[level]
        chosen, width = history[level]
        here = np.maximum(units[:, level + 1], 0)
        pick = chosen[here, np.minimum(slots, chosen.shape[1] - 1)]
        from_bias = pick == weight.shape[1] * width
        before = np.minimum(pick // width, weight.shape[1] - 1)
        step = np.where(from_bias, bias[here], weight[here, before])
        values = np.where(running, values * step, values)
        running = running & ~from_bias
        units[running, level] = before[running]
        slots = np.where(running, pick % width, 0)
    return units, values


def share_for_flow(
    hops: list[tuple[np.ndarray, np.ndarray]], total_paths: float, seed: Seed, *, share: float = 0.9, draws: int = 4000
) -> tuple[float, float]:
    """Which share of all paths carries 90 % of the flow, and its standard error.

    Paths are drawn with probability ``|v_p| / sum |v|`` by the splits of the flow; with t the value below which the draws
    hold 10 % of the flow, the number of paths above t is ``sum |v| E[1(|v_p| >= t) / |v_p|]``.

    Args:
        hops: from `hop_matrices`.
        total_paths: number of paths.
        seed: names the draws.
        share: of the flow.
        draws: how many paths, in ten batches whose spread is the error.
    """
    forward = [np.ones(hops[0][0].shape[1])]
    for weight, bias in hops:
        forward.append(np.abs(weight) @ forward[-1] + np.abs(bias))
    norm = float(forward[-1].sum())
    if norm == 0:
        return math.nan, math.nan
    values = _drawn_values(hops, forward, draws, seed.numpy()).reshape(_BATCHES, -1)
    estimates = []
    for batch in values:
        threshold = np.quantile(batch, 1 - share)
        estimates.append(norm * float(np.mean((batch >= threshold) / batch)) / total_paths)
    return float(np.mean(estimates)), float(np.std(estimates, ddof=1) / math.sqrt(_BATCHES))


def _drawn_values(
    hops: list[tuple[np.ndarray, np.ndarray]], forward: list[np.ndarray], draws: int, random: np.random.Generator
) -> np.ndarray:
    """``|v_p|`` of paths drawn in proportion to it, from the outputs backwards."""
    unit = random.choice(len(forward[-1]), draws, p=forward[-1] / forward[-1].sum())
    values, running = np.ones(draws), np.ones(draws, dtype=bool)
    for (weight, bias), before in zip(reversed(hops), reversed(forward[:-1]), strict=True):
        flow = np.concatenate([np.abs(weight) * before, np.abs(bias)[:, None]], axis=1)
        ends = np.cumsum(flow, axis=1)
        level = random.uniform(size=draws) * ends[unit, -1]
        pick = np.array([np.searchsorted(ends[u], x, side="right") for u, x in zip(unit, level, strict=True)])
        pick = np.minimum(pick, weight.shape[1])
        started = pick == weight.shape[1]
        source = np.minimum(pick, weight.shape[1] - 1)
        step = np.where(started, np.abs(bias)[unit], np.abs(weight)[unit, source])
        values = np.where(running, values * step, values)
        running = running & ~started
        unit = source
    return values
