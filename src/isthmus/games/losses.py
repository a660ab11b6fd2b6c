"""The loss as costs of a congestion game: resources are pairs of a sample and an output, their loads are the outputs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from isthmus._core.errors import HypothesisError, InputError
from isthmus.model.derivatives import output_gradient
from isthmus.model.problem import Problem

CostKind = Literal["marginal", "average"]
_CONVEX = (
    "mse_entries", "sum", "cross_entropy", "cross_entropy_sum", "HuberLoss", "SmoothL1Loss", "L1Loss", "BCEWithLogitsLoss",
    "SoftMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "NLLLoss",
)  # fmt: skip


@dataclass(frozen=True)
class LossCosts:
    """Costs ``c_mk`` of a problem's outputs; implements `games.costs.Costs` on loads flattened from ``(n, c)``.

    ``marginal``: ``c = dL/dyhat``, so that the potential is ``L - L(0)``. ``average``: ``l c(l) = L(l) - L(0)`` entry by entry,
    so that the social cost is ``L - L(0)``; it exists for squared losses, whose entries do not interact.

    Attributes:
        problem: data and loss, in float64.
        kind: which of the two.
        constant: added to every cost.
    """

    problem: Problem
    kind: CostKind
    constant: float = 0.0

    def __post_init__(self) -> None:
        name = self.problem.loss.name
        if self.kind not in ("marginal", "average"):
            raise InputError(f"cost must be 'marginal' or 'average', found {self.kind!r}.")
        if self.kind == "average" and not self.squared:
            raise HypothesisError(
                f"Average costs were asked for the loss {name}. Its outputs of one sample interact (or it is not squared), so no cost "
                "of one output alone exists. Use cost='marginal', or nn.MSELoss."
            )
        if not name.startswith(_CONVEX):
            raise HypothesisError(
                f"The loss {name} is not known to be convex in the outputs, and without convexity a gap certifies nothing. Known: "
                f"{', '.join(_CONVEX)}."
            )

    @property
    def squared(self) -> bool:
        """Whether the loss is a sum of squares."""
        return self.problem.loss.name in ("mse_entries", "sum")

    def value(self, loads: np.ndarray) -> np.ndarray:
        """The costs at these outputs, in the shape of `loads`."""
        if self.squared:
            cost = 2 * (self._weight * loads.reshape(-1) - self._targets) / self.problem.normalizer
            return cost.reshape(loads.shape) + self.constant
        outputs = torch.from_numpy(np.array(loads)).reshape(self.problem.samples, -1)
        return output_gradient(self.problem, outputs).numpy().reshape(loads.shape) + self.constant

    def potential(self, loads: np.ndarray) -> float:
        """``sum_e int_0^l c``: ``L - L(0)`` for marginal costs, ``sum (l^2 / 2 - 2 y l) / normalizer`` for average ones."""
        shift = self.constant * float(loads.sum())
        if self.squared:
            flat = loads.reshape(-1)
            return float(flat @ (self._weight * flat - 2 * self._targets)) / self.problem.normalizer + shift
        return self.loss(loads) - self.loss(np.zeros_like(loads)) + shift

    def loss(self, loads: np.ndarray) -> float:
        """The loss that was given, at these outputs."""
        outputs = torch.from_numpy(np.array(loads)).reshape(self._shape)
        return float(self.problem.loss.total(outputs, self.problem.targets)) / self.problem.normalizer

    def marginal(self) -> "LossCosts":
        """Marginal costs of average costs; a shift stays, as a constant does.

        Raises:
            HypothesisError: the costs are marginal already; their social cost is not the loss.
        """
        if self.kind == "marginal":
            raise HypothesisError(
                "The social optimum of marginal costs is not what training minimizes. Ask for it under cost='average', where the "
                "social cost is the loss."
            )
        return LossCosts(self.problem, "marginal", self.constant)

    def shifted(self, constant: np.ndarray | float) -> "LossCosts":
        """The same costs plus a number."""
        return LossCosts(self.problem, self.kind, self.constant + float(constant))

    @property
    def _weight(self) -> float:
        """Weight of the load in a squared loss's cost ``2 (weight l - y) / normalizer``."""
        return 1.0 if self.kind == "marginal" else 0.5

    @cached_property
    def _targets(self) -> np.ndarray:
        return self.problem.targets.numpy().reshape(-1)

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        """Shape of the outputs that the loss takes."""
        network = self.problem.network.eval()
        with torch.no_grad():
            shape = network.forward(network.parameters, self.problem.inputs[:1]).shape[1:]
        return (self.problem.samples, *shape)
