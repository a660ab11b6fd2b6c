"""Ways to compute the empirical tangent kernel; all are exact and agree to rounding."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from isthmus._core.plan import Plan
from isthmus.engine.memory import available_bytes, require_memory
from isthmus.kernel.structured import Share, Sizes, choose, filling, passes, row_contribution
from isthmus.kernel.tiles import Contribution, fill
from isthmus.linops.allocation import uninitialized
from isthmus.model.capture import Capture, Part, capture, understand
from isthmus.model.derivatives import jacobian, jacobian_bytes, output_jvp
from isthmus.model.network import Network
from isthmus.model.uses import Convolution, Lookup, Product, Scale, Use

_BUDGET = 2**26
_FORWARD_MODE = 3.0


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
        """Forecast operations and peak bytes for these inputs; `outputs` is ``"full"`` or ``"trace"``."""

    @abstractmethod
    def compute(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Computed:
        """The kernel.

        Raises:
            BudgetError: it would not fit in memory.
        """


class _Forecasting(Method):
    """A method whose forecast follows from the network's layers and the counts of samples and outputs."""

    def plan(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Plan:
        """Forecast from the layers' shapes, read off three samples."""
        known = _understood(network, inputs, others)
        return self.forecast(network, inputs, known, _sizes(network, inputs, others, outputs, known.outputs))

    @abstractmethod
    def forecast(self, network: Network, inputs: Tensor, known: Capture, sizes: Sizes) -> Plan:
        """The plan for a network whose layers are known."""


@dataclass(frozen=True)
class JacobianContraction(_Forecasting):
    """Form the Jacobian ``(n, c, p)`` and multiply: works for every network, memory ``n c p``."""

    def forecast(self, network: Network, inputs: Tensor, known: Capture, sizes: Sizes) -> Plan:
        """Forecast: c backward passes a sample, and ``2 (nc)(md) p`` operations, half of it when both sides are equal."""
        flops = sizes.contractions * 2 * network.size + sizes.rows * 2 * max(_uses_flops(known.sample), 2.0 * network.size)
        rows = jacobian_bytes(network, known.graph, sizes.c, sizes.rows // sizes.c)
        return Plan("Jacobian contraction", flops, rows + sizes.itemsize * sizes.entries)

    def compute(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Computed:
        """The kernel by ``J J'^T``."""
        plan = self.plan(network, inputs, others, outputs)
        kernel = _empty(plan, _sizes(network, inputs, others, outputs), network)
        fill(kernel, [_jacobian_contribution(network, inputs, others, outputs)], symmetric=others is None)
        return Computed(kernel, dict.fromkeys(_owners(network), "Jacobian contraction"), plan)


@dataclass(frozen=True)
class NtkVectorProducts(_Forecasting):
    """One column at a time, ``J (J'^T e)``: memory of one gradient, time of n c forward-mode passes over all samples.

    The choice when neither the Jacobian nor the layers' factors fit in memory, or when outputs are many and a forward
    pass is cheap beside the parameters.
    """

    def forecast(self, network: Network, inputs: Tensor, known: Capture, sizes: Sizes) -> Plan:
        """Forecast: a backward pass of one sample and a forward-mode pass of n samples for each column."""
        flops = sizes.samples * sizes.c * _FORWARD_MODE * max(_uses_flops(known.sample), 2.0 * network.size)
        bytes = sizes.itemsize * float(sizes.entries + (sizes.c + 1) * network.size)
        return Plan("NTK-vector products", flops, bytes + known.graph * len(inputs))

    def compute(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Computed:
        """The kernel, column by column; with equal sides only for samples up to the column's."""
        plan = self.plan(network, inputs, others, outputs)
        kernel = _empty(plan, _sizes(network, inputs, others, outputs), network)
        right = inputs if others is None else others
        for j in range(len(right)):
            rows = slice(0, j + 1) if others is None else slice(0, len(inputs))
            gradients = jacobian(network, right[j : j + 1])[0]
            columns = torch.stack([output_jvp(network, inputs[rows], gradient) for gradient in gradients], dim=2)
            block = columns.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] if outputs == "trace" else columns
            kernel[rows, :, j] = block
            if others is None:
                kernel[j, :, rows] = block.permute(2, 0, 1)
        return Computed(kernel, dict.fromkeys(_owners(network), "NTK-vector products"), plan)


@dataclass(frozen=True)
class Structured(_Forecasting):
    """Layer by layer from what went in and the outputs' derivatives at what came out, without a Jacobian.

    Rules serve Linear and matrix products, Conv (any stride, padding, dilation, groups), Embedding, the affine
    parameters of Layer-, RMS-, Group-, Instance- and evaluating BatchNorm, PReLU, added and multiplied parameters,
    nn.MultiheadAttention, and LSTM, GRU and RNN through their formulas; parameters used twice or tied include all
    cross terms. Each layer takes the cheaper of the Gram matrix over positions and per-sample gradients. Parameters
    without a rule get their exact Jacobian by autograd, and the record names them.

    Args:
        budget: bytes of per-sample gradients held at once, at least; a quarter of the kernel's size when that is more.
    """

    budget: float = field(default=_BUDGET, kw_only=True)

    def forecast(self, network: Network, inputs: Tensor, known: Capture, sizes: Sizes) -> Plan:
        """Forecast: forward and c backward passes, and the cheaper way for every layer."""
        parts = known.sample
        shares = choose(parts, sizes)
        left = network.restricted(known.left).layout.size if known.left else 0
        samples, once = sizes.rows / sizes.c, _uses_flops(parts)
        flops = sum(share.flops for share in shares) + sizes.contractions * 2 * left
        flops += samples * (1 + sizes.c) * once + (sizes.rows * 2 * once if left else 0)
        stored = _held(shares, sizes) + sizes.itemsize * (sizes.rows * left + sizes.entries)
        beside = max(self._capturing(shares, sizes), filling(shares, parts, sizes, self._budget(sizes)))
        method = f"structured ({len(known.served)} parameters by layer products"
        method += f", {len(known.left)} by Jacobian contraction)" if known.left else ")"
        return Plan(method, flops, stored + beside)

    def compute(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Computed:
        """The kernel, layer by layer."""
        known = _understood(network, inputs, others)
        sizes = _sizes(network, inputs, others, outputs, known.outputs)
        plan = self.forecast(network, inputs, known, sizes)
        kernel = _empty(plan, sizes, network)
        shares = choose(known.sample, sizes)
        left = self._captured(network, inputs, known, shares, sizes)
        right = left if others is None else self._captured(network, others, known, shares, sizes)
        rest = [_jacobian_contribution(network.restricted(known.left), inputs, others, outputs)] if known.left else []
        for number, group in enumerate(passes(shares, left, right, sizes, self._budget(sizes))):
            fill(kernel, group + (rest if number == 0 else []), symmetric=others is None, fresh=number == 0)
        return Computed(kernel, _rules(shares, known), plan)

    def _captured(self, network: Network, inputs: Tensor, known: Capture, shares: Sequence[Share], sizes: Sizes) -> list[Part]:
        wanted = {share.part for share in shares}
        return capture(
            network,
            inputs,
            known,
            formed={share.part for share in shares if share.formed},
            without=set(range(len(known.sample))) - wanted,
            budget=self._capturing(shares, sizes),
        )

    def _capturing(self, shares: Sequence[Share], sizes: Sizes) -> float:
        """Bytes for graphs and deltas of the samples at hand: never more than a quarter of what is kept, where that is much."""
        return max(self.budget, _held(shares, sizes) / 4)

    def _budget(self, sizes: Sizes) -> float:
        return max(self.budget, sizes.entries * sizes.itemsize / 4)


@dataclass(frozen=True)
class Auto(Method):
    """The method of least operations among those that fit in memory."""

    def choose(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Method:
        """The method that would run."""
        return self._ranked(network, inputs, others, outputs)[0][0]

    def plan(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Plan:
        """The chosen method's plan."""
        return self._ranked(network, inputs, others, outputs)[0][1]

    def compute(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Computed:
        """The kernel by the chosen method."""
        return self.choose(network, inputs, others, outputs).compute(network, inputs, others, outputs)

    def _ranked(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> list[tuple[Method, Plan]]:
        """Methods and plans: those that fit by operations, then the others by memory."""
        known = _understood(network, inputs, others)
        sizes = _sizes(network, inputs, others, outputs, known.outputs)
        options = (Structured(), JacobianContraction(), NtkVectorProducts())
        plans = [(method, method.forecast(network, inputs, known, sizes)) for method in options]
        free = available_bytes()
        return sorted(plans, key=lambda pair: (pair[1].bytes > free, pair[1].flops if pair[1].bytes <= free else pair[1].bytes))


def _sizes(network: Network, inputs: Tensor, others: Tensor | None, outputs: str, width: int | None = None) -> Sizes:
    return Sizes(
        n=len(inputs),
        m=len(inputs if others is None else others),
        c=network(inputs[:1]).shape[1] if width is None else width,
        sides=1 if others is None else 2,
        trace=outputs == "trace",
        itemsize=network.flat[:1].element_size(),
    )


def _empty(plan: Plan, sizes: Sizes, network: Network) -> Tensor:
    """Room for the kernel, asked for before it is taken."""
    smaller = "fewer inputs" if sizes.trace or sizes.c == 1 else "outputs='trace'"
    instead = f"{smaller}, or ntk_operator, which needs no kernel in memory"
    what = f"The kernel of {sizes.n} x {sizes.m} inputs with {sizes.c} outputs"
    require_memory(plan.bytes, what=what, instead=instead)
    c = 1 if sizes.trace else sizes.c
    return uninitialized((sizes.n, c, sizes.m, c), network.flat)


def _understood(network: Network, inputs: Tensor, others: Tensor | None) -> Capture:
    few = inputs[:4] if others is None or len(inputs) > 1 else torch.cat([inputs[:1], others[:3]])
    return understand(network, few)


def _jacobian_contribution(network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Contribution:
    rows = jacobian(network, inputs)
    return row_contribution(rows, rows if others is None else jacobian(network, others), trace=outputs == "trace")


def _owners(network: Network) -> list[str]:
    return list(dict.fromkeys(name.rpartition(".")[0] or name for name in network.parameters))


def _held(shares: Sequence[Share], sizes: Sizes) -> float:
    """Bytes that are kept of all samples while the kernel is filled."""
    return sizes.itemsize * sizes.rows / sizes.c * sum(share.numbers for share in shares)


def _rules(shares: Sequence[Share], known: Capture) -> dict[str, str]:
    """Module to the rule that served it, by its largest parameter; modules with parameters left say so."""
    rules: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for share in shares:
        part = known.sample[share.part]
        owner = part.region.name.rpartition(".")[0] or part.region.name
        if part.uses[0].size > sizes.get(owner, 0):
            sizes[owner] = part.uses[0].size
            way = "Gram over positions" if share.gram else "per-sample gradients"
            rules[owner] = f"{_FORMS.get(type(part.uses[0]), 'shift')}, {way}"
    for name in known.left:
        rules[name.rpartition(".")[0] or name] = "Jacobian contraction"
    return rules


_FORMS: dict[type[Use], str] = {Product: "product", Convolution: "convolution", Lookup: "lookup", Scale: "scale"}


def _uses_flops(parts: Sequence[Part]) -> float:
    """Operations of one sample's forward pass in the layers that have rules."""
    return sum(2.0 * use.positions * use.size for part in parts for use in part.uses if not isinstance(use, Lookup))
