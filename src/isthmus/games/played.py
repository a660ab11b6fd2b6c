"""What a routing game is made of: a network read as a chain, its data, its prices and its flows."""

from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from isthmus._core.errors import HypothesisError, InputError
from isthmus.games.chain import Chain
from isthmus.games.losses import CostKind, LossCosts
from isthmus.games.sums import PathSums, absolute_flows, pulled_back
from isthmus.games.tracing import as_chain
from isthmus.model.problem import Problem

GateChoice = Literal["frozen", "linear"]


class PlayedNetwork:
    """A network and its data, ready for questions about paths; `PathGame` asks them.

    Attributes:
        problem: in float64 and evaluation mode.
        costs: of the resources.
        chain: the network as maps and gates.
        signed: whether path values may be negative.
        gates: ``"linear"`` when there are none, else ``"frozen"``.
    """

    def __init__(
        self, problem: Problem, cost: CostKind = "marginal", gates: GateChoice = "frozen", *, signed: bool = True
    ) -> None:
        self.problem = problem.eval().to(torch.float64)
        self.costs = LossCosts(self.problem, cost)
        self.chain: Chain = as_chain(self.problem.network, self.problem.inputs)
        self.signed = signed
        if gates not in ("frozen", "linear"):
            raise InputError(f"gates must be 'frozen' or 'linear', found {gates!r}.")
        if not self.chain.linear and (gates == "linear" or not signed):
            raise HypothesisError(
                "The network has ReLU-like gates, which open and close with the weights. Only gates='frozen' in the signed game "
                "speaks about it, and then about its present linear piece."
            )
        weights = [p for step in self.chain.affines for p in (step.weight, step.bias) if p is not None]
        if not signed and any(bool((w < 0).any()) for w in weights):
            raise HypothesisError(
                "The unsigned game needs weights of at least 0; this network has negative ones. Use signed=True."
            )
        self.gates: GateChoice = "linear" if self.chain.linear else "frozen"

    @cached_property
    def outputs(self) -> Tensor:
        """The loads, ``(n, c)``."""
        with torch.no_grad():
            return self.chain(self.problem.inputs)

    @cached_property
    def prices(self) -> Tensor:
        """Costs ``c_mk`` of the resources at the network's outputs, ``(n, c)``."""
        return torch.from_numpy(self.costs.value(self.outputs.numpy()))

    @cached_property
    def values(self) -> PathSums:
        """``sum v_p C_p`` over the paths through each weight and unit and from each type."""
        return pulled_back(self.chain, self.problem.inputs, self.prices)

    @cached_property
    def flow(self) -> PathSums:
        """``sum |v_p|`` over the same paths."""
        return absolute_flows(self.chain)

    @property
    def demands(self) -> Tensor:
        """``pi_j``: the L1 norm of the paths from each input entry, then from all biases, ``(t,)``."""
        return self.flow.types
