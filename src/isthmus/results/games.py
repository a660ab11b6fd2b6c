"""Records of the view of games."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from isthmus.results.record import Record


@dataclass(frozen=True, kw_only=True)
class GameEquilibrium(Record):
    """A flow of a congestion game with its distance from equilibrium.

    Attributes:
        flows: mass on each strategy, ``(s,)``.
        types: player type of each strategy.
        loads: of the resources, ``(e,)``.
        strategy_costs: ``(s,)``.
        demands: mass of each type, ``(t,)``.
        potential_history: Beckmann's potential at each iteration, ``(i,)``.
        gap_history: absolute gap at each iteration.
        potential: at the end.
        social_cost: ``sum_e l_e c_e`` at the end.
        gap: absolute Wardrop gap, a bound on potential - minimum.
        relative_gap: gap over ``sum_p f_p C_p``; NaN when this is not positive.
        average_excess: gap over the total mass.
    """

    schema: ClassVar[str] = "games/equilibrium"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "flows": ("s",),
        "types": ("s",),
        "loads": ("e",),
        "strategy_costs": ("s",),
        "demands": ("t",),
        "potential_history": ("i",),
        "gap_history": ("i",),
    }

    flows: np.ndarray
    types: np.ndarray
    loads: np.ndarray
    strategy_costs: np.ndarray
    demands: np.ndarray
    potential_history: np.ndarray
    gap_history: np.ndarray
    potential: float
    social_cost: float
    gap: float
    relative_gap: float
    average_excess: float


@dataclass(frozen=True, kw_only=True)
class TrafficAssignment(Record):
    """Link flows of a road network.

    Attributes:
        tail: start node of each link, ``(e,)``.
        head: end node.
        flow: traffic on each link.
        cost_per_unit: what a traveler pays on it, tolls of the marginal problem not included.
        gap_history: relative gap at each iteration, ``(i,)``.
        objective: ``"user equilibrium"`` or ``"system optimum"``.
        potential: what was minimized: ``sum int c`` at equilibrium, the total cost at the optimum.
        total_cost: ``sum_e x_e c_e``.
        gap: absolute, in units of cost times traffic; a bound on potential - minimum.
        relative_gap: ``(c.x - sum q dist) / c.x`` under the costs of the objective.
        average_excess: gap over total demand.
        used_paths: paths with flow; -1 when the solver keeps link flows only.
    """

    schema: ClassVar[str] = "games/traffic"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "tail": ("e",),
        "head": ("e",),
        "flow": ("e",),
        "cost_per_unit": ("e",),
        "gap_history": ("i",),
    }

    tail: np.ndarray
    head: np.ndarray
    flow: np.ndarray
    cost_per_unit: np.ndarray
    gap_history: np.ndarray
    objective: str
    potential: float
    total_cost: float
    gap: float
    relative_gap: float
    average_excess: float
    used_paths: int


@dataclass(frozen=True, kw_only=True)
class Certificate(Record):
    """How far a network is from the equilibrium of its routing game, and so from the best loss within budgets.

    Player types are the input entries, then one for all biases. With marginal costs ``loss - least loss within the
    budgets <= gap``; with gates frozen the rivals keep every gate of this network as it is.

    Attributes:
        used: ``sum_p v_p C_p`` of each type, ``(t,)``.
        budgets: R_j, the L1 norm of path values that rivals may use.
        price_upper: upper bound on (or, when `kind` is exact, the value of) the best price ``max_p |C_p|`` of each type.
        price_lower: price of an actual path; equal to `price_upper` when exact.
        gap_by_input: ``used + budget * price``, ``(t,)``; sums to the gap.
        gap_by_output: by the output at which the used and the best paths end, ``(c,)``; sums to the gap.
        gap_by_sample: ``(n,)``; sums to the gap.
        best_path: the path that gains most: input (-1 for a bias), unit at each gate level (-1 before a bias starts), output.
        best_path_gain: what moving its type's whole budget to it would gain at these prices.
        best_path_sign: +1 or -1, the sign of value that lowers the loss.
        loss: as given, on these samples.
        potential: what the gap bounds: the loss for marginal costs, Beckmann's potential for average ones.
        gap: upper bound on potential - least potential within the budgets.
        gap_lower: the same from `price_lower`; no certificate.
        path_norm: ``sum_p |v_p|`` at these parameters.
        gradient_norm: of the loss in the chain's weights.
        node_gap: largest constrained stationarity defect of a unit in the unsigned game; NaN in the signed one.
        rank_limit: narrowest hidden level below min(inputs, outputs), or 0.
        kind: ``"exact"`` or ``"upper_bound"``.
        cost_kind: ``"marginal"`` or ``"average"``.
        gates: ``"frozen"`` or ``"linear"``.
        signed: whether path values may be negative.
        verdict: equilibrium, critical but no equilibrium, or neither.
    """

    schema: ClassVar[str] = "games/certificate"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys(("used", "budgets", "price_upper", "price_lower", "gap_by_input"), ("t",)),
        "gap_by_output": ("c",),
        "gap_by_sample": ("n",),
        "best_path": ("level",),
    }

    used: np.ndarray
    budgets: np.ndarray
    price_upper: np.ndarray
    price_lower: np.ndarray
    gap_by_input: np.ndarray
    gap_by_output: np.ndarray
    gap_by_sample: np.ndarray
    best_path: np.ndarray
    best_path_gain: float
    best_path_sign: int
    loss: float
    potential: float
    gap: float
    gap_lower: float
    path_norm: float
    gradient_norm: float
    node_gap: float
    rank_limit: int
    kind: str
    cost_kind: str
    gates: str
    signed: bool
    verdict: str


@dataclass(frozen=True, kw_only=True)
class PathFlows(Record):
    """Sums over paths for every weight, unit and input, without listing paths, and the strongest paths.

    Weights and biases of all maps lie one after another (`layers` says which); units are neurons or channels.

    Attributes:
        edge_flow: ``sum_{p through e} |v_p|``, ``(e,)``.
        edge_value: ``sum_{p through e} v_p C_p = w_e dL/dw_e``, ``(e,)``.
        split: share of its source unit's flow that takes the edge, NaN where the source is dead; invariant under rescaling.
        unit_flow: flow through each hidden unit, ``(u,)``.
        unit_layer: index of its map, ``(u,)``.
        incoming: Kirchhoff's law, left side: ``sum_in w dL/dw + b dL/db``, ``(u,)``.
        outgoing: right side: ``sum_out w dL/dw``, ``(u,)``.
        demands: ``pi_j``, the L1 norm of paths from each input, then of all bias paths, ``(t,)``.
        top_paths: input or -1, units at each level, output, ``(k, level)``; empty when single paths are out of reach.
        top_values: signed values of these paths, ``(k,)``.
        layers: name of each map, its number of weights and of biases.
        path_norm: ``sum_p |v_p|``.
        path_kernel_trace: ``sum_p sum_{e in p} (v_p / w_e)^2``.
        paths: number of paths of the architecture.
        used_fraction: share of them without a zero weight.
        open_fraction: share of pairs of a path and a sample whose gates are all open; paths from inputs only.
        share_for_90: share of all paths that carries 90 % of the flow, and its standard error.
        kirchhoff_residual: largest ``|incoming - outgoing|`` over the largest ``|incoming|``.
        dead_units: hidden units without flow.
    """

    schema: ClassVar[str] = "games/flows"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys(("edge_flow", "edge_value", "split"), ("e",)),
        **dict.fromkeys(("unit_flow", "unit_layer", "incoming", "outgoing"), ("u",)),
        "demands": ("t",),
        "top_paths": ("k", "level"),
        "top_values": ("k",),
    }

    edge_flow: np.ndarray
    edge_value: np.ndarray
    split: np.ndarray
    unit_flow: np.ndarray
    unit_layer: np.ndarray
    incoming: np.ndarray
    outgoing: np.ndarray
    demands: np.ndarray
    top_paths: np.ndarray
    top_values: np.ndarray
    layers: dict[str, tuple[int, int]]
    path_norm: float
    path_kernel_trace: float
    paths: float
    used_fraction: float
    open_fraction: float
    share_for_90: tuple[float, float]
    kirchhoff_residual: float
    dead_units: int


@dataclass(frozen=True, kw_only=True)
class BraessScan(Record):
    """What removing each unit, edge or layer does to the loss.

    Attributes:
        removed: position of each removed thing in its map (unit, flat weight index, or 0 for a layer), ``(r,)``.
        layer: index of its map, ``(r,)``.
        flow: path flow that ran through it.
        change: loss without it - loss, ``(r,)``; negative: removal helps.
        first_order: ``-sum_{p through it} v_p C_p``, the change at fixed prices; a lower bound for units of the last hidden level.
        layers: names of the maps.
        level: ``"unit"``, ``"edge"`` or ``"layer"``.
        on: ``"train"`` or ``"heldout"``.
        loss: before.
        samples: examples.
        helped: how many removals lower the loss.
    """

    schema: ClassVar[str] = "games/braess"
    dims: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(("removed", "layer", "flow", "change", "first_order"), ("r",))

    removed: np.ndarray
    layer: np.ndarray
    flow: np.ndarray
    change: np.ndarray
    first_order: np.ndarray
    layers: list[str]
    level: str
    on: str
    loss: float
    samples: int
    helped: int


@dataclass(frozen=True, kw_only=True)
class GameTimeline(Record):
    """Certificates along a training run.

    Attributes:
        step: optimizer steps at the checkpoints, ``(t,)``.
        epoch: the same in epochs.
        loss: on the samples used.
        gap: upper bound on loss - least loss within the budgets, each checkpoint's own path norms being its budgets.
        gap_lower: the same from actual paths.
        gradient_norm: of the loss on the same samples.
        path_norm: sum of the budgets.
        kirchhoff: largest relative residual of the units' conservation law.
        samples: how many training examples.
        kind: of the gap.
        gates: ``"frozen"`` or ``"linear"``.
        reason: why nothing was measured, or "".
    """

    schema: ClassVar[str] = "games/timeline"
    dims: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(
        ("step", "epoch", "loss", "gap", "gap_lower", "gradient_norm", "path_norm", "kirchhoff"), ("t",)
    )

    step: np.ndarray
    epoch: np.ndarray
    loss: np.ndarray
    gap: np.ndarray
    gap_lower: np.ndarray
    gradient_norm: np.ndarray
    path_norm: np.ndarray
    kirchhoff: np.ndarray
    samples: int
    kind: str
    gates: str
    reason: str
