"""Ways to compute the empirical tangent kernel; all are exact and agree to rounding."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus._core.plan import Plan
from isthmus.engine.memory import require_memory
from isthmus.kernel.structured import Contribution, add_trace, fill, gram_contribution, linear_contribution
from isthmus.model.capture import capturable, linear_factors
from isthmus.model.derivatives import jacobian
from isthmus.model.network import Network


@dataclass(frozen=True)
class Computed:
    """A kernel ``(n, c, m, d)`` (``(n, 1, m, 1)`` for the trace), the rule of each module, and the plan followed."""

    kernel: Tensor
    layers: dict[str, str]
    plan: Plan


class Method(ABC):
    """A way to compute the kernel; `plan` says what it would cost before it runs."""

    @abstractmethod
    def plan(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Plan:
        """Forecast operations and peak bytes for these inputs."""

    @abstractmethod
    def compute(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Computed:
        """The kernel.

        Raises:
            BudgetError: it would not fit in memory.
        """


@dataclass(frozen=True)
class JacobianContraction(Method):
    """Form the Jacobian ``(n, c, p)`` and multiply: works for every network, memory ``n c p``."""

    def plan(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Plan:
        """Forecast: ``2 (nc)(md) p`` operations, half of it when both sides are equal."""
        sizes = _Sizes.of(network, inputs, others, outputs)
        jacobians = (sizes.n + (0 if others is None else sizes.m)) * sizes.c * network.size
        return Plan("Jacobian contraction", sizes.pairs * 2 * network.size, sizes.bytes(jacobians + sizes.entries))

    def compute(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Computed:
        """The kernel by ``J J'^T``."""
        plan = self.plan(network, inputs, others, outputs)
        kernel = _empty(plan, network, inputs, others, outputs)
        rows, columns = _jacobians(network, inputs, others)
        if outputs == "trace":
            kernel[:, 0, :, 0] = rows.flatten(1) @ columns.flatten(1).T
        else:
            fill(kernel, [gram_contribution(rows, columns)], symmetric=others is None)
        return Computed(kernel, dict.fromkeys(_owners(network), "Jacobian contraction"), plan)


@dataclass(frozen=True)
class Structured(Method):
    """Layer products for Linear layers, Jacobian contraction for all other parameters."""

    def plan(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Plan:
        """Forecast from the layers' shapes, read off a few samples."""
        return self._forecast(network, inputs, others, outputs, capturable(network, inputs))

    def _forecast(
        self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str, served: dict[str, nn.Linear]
    ) -> Plan:
        sizes = _Sizes.of(network, inputs, others, outputs)
        factors = linear_factors(network, inputs[:1], served)
        rest = _rest(network, list(served))
        flops, stored = sizes.pairs * 2 * rest.layout.size if rest else 0.0, (sizes.n * sizes.c * rest.layout.size if rest else 0)
        for factor in factors:
            (_, positions, fan_in), fan_out = factor.inputs.shape, factor.deltas.shape[-1]
            stored += sizes.n * positions * (fan_in + sizes.c * fan_out)
            if positions == 1:
                flops += sizes.pairs * 2 * fan_out + sizes.samples * 2 * fan_in
            else:
                flops += (sizes.pairs + sizes.n * positions) * 2 * fan_out * fan_in
                stored += sizes.n * sizes.c * fan_out * fan_in
        sides = 1 if others is None else 2
        names = f"{len(served)} Linear layers structured" + (", the rest by Jacobian contraction" if rest else "")
        return Plan(f"structured ({names})", flops, sizes.bytes(stored * sides + sizes.entries))

    def compute(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Computed:
        """The kernel, layer by layer."""
        served = capturable(network, inputs)
        plan = self._forecast(network, inputs, others, outputs, served)
        kernel = _empty(plan, network, inputs, others, outputs)
        left = linear_factors(network, inputs, served)
        right = left if others is None else linear_factors(network, others, served)
        rest = _rest(network, list(served))
        rows = _jacobians(rest, inputs, others) if rest else None
        if outputs == "trace":
            for one, other in zip(left, right, strict=True):
                add_trace(kernel[:, 0, :, 0], one, other)
            if rows is not None:
                kernel[:, 0, :, 0] += rows[0].flatten(1) @ rows[1].flatten(1).T
        else:
            parts: list[Contribution] = [linear_contribution(*pair) for pair in zip(left, right, strict=True)]
            parts += [gram_contribution(*rows)] if rows is not None else []
            fill(kernel, parts, symmetric=others is None)
        names = dict.fromkeys(served, "structured Linear")
        return Computed(kernel, names | (dict.fromkeys(_owners(rest), "Jacobian contraction") if rest else {}), plan)


@dataclass(frozen=True)
class Auto(Method):
    """Whichever of `Structured` and `JacobianContraction` needs fewer operations."""

    def choose(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Method:
        """The method that would run."""
        options: list[Method] = [Structured(), JacobianContraction()]
        return min(options, key=lambda method: method.plan(network, inputs, others, outputs).flops)

    def plan(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Plan:
        """The chosen method's plan."""
        return self.choose(network, inputs, others, outputs).plan(network, inputs, others, outputs)

    def compute(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Computed:
        """The kernel by the chosen method."""
        return self.choose(network, inputs, others, outputs).compute(network, inputs, others, outputs)


@dataclass(frozen=True)
class _Sizes:
    """Counts behind the cost model: entries that must be computed, symmetric half only when sides are equal."""

    n: int
    m: int
    c: int
    entries: int
    pairs: float
    samples: float
    itemsize: int

    @classmethod
    def of(cls, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> "_Sizes":
        n, m = len(inputs), len(inputs if others is None else others)
        c = network(inputs[:1]).shape[1]
        half = 0.5 if others is None else 1.0
        square = n * m * (c * c if outputs == "full" else 1)
        contracted = n * m * (c * c if outputs == "full" else c)
        return cls(n, m, c, square, contracted * half, n * m * half, network.flat[:1].element_size())

    def bytes(self, numbers: float) -> float:
        return numbers * self.itemsize


def _empty(plan: Plan, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Tensor:
    """Room for the kernel, asked for before it is taken."""
    n, m = len(inputs), len(inputs if others is None else others)
    size = network(inputs[:1]).shape[1]
    instead = "outputs='trace'" if outputs == "full" and size > 1 else "fewer inputs, or several calls on pieces of `others`"
    require_memory(plan.bytes, what=f"The kernel of {n} x {m} inputs with {size} outputs", instead=instead)
    c = size if outputs == "full" else 1
    make = torch.empty if outputs == "full" else torch.zeros
    return make(n, c, m, c, dtype=network.dtype, device=network.device)


def _rest(network: Network, served: list[str]) -> Network | None:
    """The network with only those parameters free that no structured layer serves."""
    done = {f"{name}.{kind}" for name in served for kind in ("weight", "bias")}
    left = [name for name in network.parameters if name not in done]
    return network.restricted(left) if left else None


def _owners(network: Network) -> list[str]:
    return list(dict.fromkeys(name.rpartition(".")[0] or name for name in network.parameters))


def _jacobians(network: Network, inputs: Tensor, others: Tensor | None) -> tuple[Tensor, Tensor]:
    rows = jacobian(network, inputs)
    return rows, rows if others is None else jacobian(network, others)
