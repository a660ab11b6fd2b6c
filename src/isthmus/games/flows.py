"""Flows, conservation and the strongest paths of a path game."""

import math
import time

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import BudgetError
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.games.chain import Affine, Chain
from isthmus.games.played import PlayedNetwork
from isthmus.games.prices import without_biases
from isthmus.games.sums import PathSums, hop_matrices, path_counts, path_kernel_trace, share_for_flow, strongest_paths
from isthmus.model.problem import provenance
from isthmus.results.games import PathFlows
from isthmus.results.provenance import Cost


def path_flows(game: PlayedNetwork, *, top: int = 40, seed: int = 0) -> PathFlows:
    """See `PathGame.flows`."""
    started = time.perf_counter()
    sides = _sides(game)
    flow, _ = unit_sums(game.chain, game.flow)
    total, used = path_counts(game.chain)
    paths, values, share = _single_paths(game.chain, total, top, Seed(seed).child("paths"))
    units = torch.cat(flow)
    return PathFlows(
        edge_flow=_flat(game.flow),
        edge_value=_flat(game.values),
        split=_splits(game.chain, game.flow),
        unit_flow=units.numpy(),
        unit_layer=np.repeat(np.arange(len(flow)), [len(f) for f in flow]),
        incoming=sides[0].numpy(),
        outgoing=sides[1].numpy(),
        demands=game.demands.numpy().copy(),
        top_paths=paths,
        top_values=values,
        layers=_layers(game.chain),
        path_norm=game.flow.total,
        path_kernel_trace=path_kernel_trace(game.chain),
        paths=total,
        used_fraction=used / total,
        open_fraction=_open_fraction(game),
        share_for_90=share,
        kirchhoff_residual=kirchhoff_residual(game),
        dead_units=int((units == 0).sum()),
        status=Status.EXACT,
        method=f"dynamic programming over {len(game.chain.affines)} maps, gates {game.gates}",
        error="float64 rounding; share_for_90 is an estimate with its standard error",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(game.problem),
    )


def kirchhoff_residual(game: PlayedNetwork) -> float:
    """Largest ``|sum_in w dL/dw - sum_out w dL/dw|`` over hidden units, over the largest side."""
    incoming, outgoing = _sides(game)
    largest = float(incoming.abs().max()) if len(incoming) else 0.0
    return float((incoming - outgoing).abs().max()) / largest if largest > 0 else 0.0


def _sides(game: PlayedNetwork) -> tuple[Tensor, Tensor]:
    incoming, outgoing = unit_sums(game.chain, game.values)
    return torch.cat(incoming), torch.cat(outgoing)


def unit_sums(chain: Chain, sums: PathSums) -> tuple[list[Tensor], list[Tensor]]:
    """For each hidden map, the sums over its units' incoming (biases included) and outgoing weights.

    Equal for every unit by conservation. A unit is a neuron or a channel; flattened channels keep their positions together.
    """
    incoming, outgoing = [], []
    for (weight, bias), step, (following, _) in zip(sums.edges[:-1], chain.affines[1:], sums.edges[1:], strict=True):
        into = weight.flatten(1).sum(dim=1) + (0 if bias is None else bias)
        incoming.append(into)
        outgoing.append(by_source(step, following, len(into)))
    empty = torch.zeros(0, dtype=torch.float64)
    return incoming or [empty], outgoing or [empty]


def by_source(step: Affine, amounts: Tensor, units: int) -> Tensor:
    """Sum one number per weight over the weights that leave each unit of the level before."""
    outputs = amounts.shape[0]
    grouped = amounts.reshape(step.groups, outputs // step.groups, *amounts.shape[1:]).transpose(1, 2)
    sources = grouped.flatten(0, 1).flatten(1).sum(dim=1)
    return sources.reshape(units, -1).sum(dim=1)


def _splits(chain: Chain, flow: PathSums) -> np.ndarray:
    """Each weight's share of the flow that leaves its source unit; each bias's share of all bias flow."""
    biases, parts = float(flow.types[-1]), []
    for index, (step, (weight, bias)) in enumerate(zip(chain.affines, flow.edges, strict=True)):
        units = weight.shape[1] * step.groups if index == 0 else len(flow.edges[index - 1][0])
        total = by_source(step, weight, units)
        spread = total.repeat_interleave(weight.shape[1] * step.groups // units)
        spread = spread.reshape(step.groups, 1, weight.shape[1], *[1] * (weight.ndim - 2))
        share = weight.reshape(step.groups, -1, *weight.shape[1:]) / torch.where(spread > 0, spread, torch.nan)
        parts.append(share.flatten())
        if bias is not None:
            parts.append(bias / biases if biases > 0 else torch.full_like(bias, torch.nan))
    return torch.cat(parts).numpy()


def _flat(sums: PathSums) -> np.ndarray:
    return torch.cat([part.flatten() for pair in sums.edges for part in pair if part is not None]).numpy()


def _layers(chain: Chain) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for index, step in enumerate(chain.affines):
        name = step.name if step.name not in found else f"{step.name} (map {index})"
        found[name] = (step.weight.numel(), 0 if step.bias is None else len(step.bias))
    return found


def _open_fraction(game: PlayedNetwork) -> float:
    """Share of pairs of an input path and a sample on which all gates of the path are open."""
    bare = without_biases(game.chain)
    with torch.no_grad():
        ones = torch.ones_like(game.problem.inputs)
        passed = bare.run(ones, masks=[(mask > 0).double() for mask in game.chain.masks(game.problem.inputs)]).sum()
        every = bare.run(ones[:1]).sum() * len(ones)
    return float(passed / every)


def _single_paths(chain: Chain, total: float, top: int, seed: Seed) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    try:
        hops = hop_matrices(chain)
    except BudgetError:
        return np.zeros((0, len(chain.gates) + 2), dtype=np.int64), np.zeros(0), (math.nan, math.nan)
    return *strongest_paths(hops, top), share_for_flow(hops, total, seed)
