"""Removing roads from a network: does the loss fall?"""

import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus._core.status import Status
from isthmus.games.chain import Affine, Chain, Gate
from isthmus.games.flows import unit_sums
from isthmus.games.losses import LossCosts
from isthmus.games.played import PlayedNetwork
from isthmus.games.sums import PathSums, pulled_back
from isthmus.model.problem import Problem, provenance
from isthmus.results.games import BraessScan
from isthmus.results.provenance import Cost

Level = Literal["unit", "edge", "layer"]


def braess_scan(game: PlayedNetwork, *, level: Level, on: Literal["train", "heldout"], limit: int) -> BraessScan:
    """See `PathGame.braess_scan`."""
    started = time.perf_counter()
    if level not in ("unit", "edge", "layer"):
        raise InputError(f"level must be 'unit', 'edge' or 'layer', found {level!r}.")
    problem = _data(game.problem, on)
    costs = LossCosts(problem, "marginal")
    with torch.no_grad():
        outputs = game.chain(problem.inputs).numpy()
    values = pulled_back(game.chain, problem.inputs, torch.from_numpy(costs.value(outputs)))
    layer, index, flow, gain = _candidates(game, values, level)
    order = np.argsort(-flow, kind="stable")[:limit]
    layer, index, flow, gain = layer[order], index[order], flow[order], gain[order]
    if not len(order):
        raise InputError(
            f"The network has no {level} that can be removed: units need a hidden level, layers a hidden map that keeps its shape."
        )
    before = costs.loss(outputs)
    after = _without(game.chain, problem.inputs, layer, index, level, lambda y: costs.loss(y.numpy()))
    change = after - before
    return BraessScan(
        removed=index,
        layer=layer,
        flow=flow,
        change=change,
        first_order=-gain,
        layers=[step.name for step in game.chain.affines],
        level=level,
        on=on,
        loss=before,
        samples=problem.samples,
        helped=int((change < -1e-12 * (1 + abs(before))).sum()),
        status=Status.EXACT,
        method=f"one forward pass from the {level} on for each of {len(order)} removals, by flow, on {problem.samples} {on} samples",
        error=None,
        cost=Cost(matvecs=len(order), seconds=time.perf_counter() - started),
        provenance=provenance(game.problem),
    )


def _data(problem: Problem, on: str) -> Problem:
    if on == "train":
        return problem
    if on != "heldout":
        raise InputError(f"on must be 'train' or 'heldout', found {on!r}.")
    return problem.on_test_data()


def _candidates(game: PlayedNetwork, values: PathSums, level: Level) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Map and position of everything that may go, its path flow, and ``sum v_p C_p`` over the paths through it."""
    chain = game.chain
    if level == "layer":
        kept = np.array([i for i in range(len(chain.affines)) if _bypassable(chain, i)], dtype=np.int64)
        return kept, np.zeros_like(kept), np.full(len(kept), game.flow.total), np.full(len(kept), np.nan)
    if level == "unit":
        flow, gain = unit_sums(chain, game.flow)[0], unit_sums(chain, values)[0]
    else:
        flow, gain = ([weight.flatten() for weight, _ in sums.edges] for sums in (game.flow, values))
    sizes = [len(part) for part in flow]
    layer = np.repeat(np.arange(len(sizes)), sizes)
    return layer, np.concatenate([np.arange(size) for size in sizes]), torch.cat(flow).numpy(), torch.cat(gain).numpy()


def _bypassable(chain: Chain, index: int) -> bool:
    """Whether a map lies between two gates and keeps its shape."""
    position = list(chain.steps).index(chain.affines[index])
    after = next((step for step in list(chain.steps)[position:] if isinstance(step, Gate)), None)
    before = [step for step in list(chain.steps)[:position] if isinstance(step, Gate)]
    if after is None or not before:
        return False
    weight = chain.affines[index].weight
    return before[-1].shape == after.shape and weight.shape[0] == weight.shape[1] * chain.affines[index].groups


def _without(
    chain: Chain, inputs: Tensor, layer: np.ndarray, index: np.ndarray, level: Level, loss: Callable[[Tensor], float]
) -> np.ndarray:
    """The loss after each removal; everything before the map is computed once."""
    after = np.empty(len(layer))
    steps = list(chain.steps)
    with torch.no_grad():
        for number in np.unique(layer):
            step = chain.affines[int(number)]
            position = steps.index(step)
            x = _through(steps[:position], inputs)
            whole = step(x)
            for r in np.flatnonzero(layer == number):
                if level == "layer":
                    end = next(i for i in range(position, len(steps)) if isinstance(steps[i], Gate))
                    after[r] = loss(_through(steps[end + 1 :], x).flatten(1))
                    continue
                z = _zeroed(whole, int(index[r])) if level == "unit" else _cut(step, x, int(index[r]))
                after[r] = loss(_through(steps[position + 1 :], z).flatten(1))
    return after


def _through(steps: Sequence[nn.Module], x: Tensor) -> Tensor:
    for step in steps:
        x = x * step.mask(x) if isinstance(step, Gate) else step(x)
    return x


def _zeroed(whole: Tensor, unit: int) -> Tensor:
    z = whole.clone()
    z[:, unit] = 0
    return z


def _cut(step: Affine, x: Tensor, weight: int) -> Tensor:
    less = step.weight.detach().clone()
    less.view(-1)[weight] = 0
    return step.apply_map(x, less, step.bias)
