"""Which units may change their sign or their scale without changing the function, and a scale that two networks share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from isthmus._core.errors import UnsupportedLayer
from isthmus._core.seeds import Seed
from isthmus.linops.random import gaussian, rademacher
from isthmus.model.network import Network
from isthmus.model.units import Slot, UnitGroup
from isthmus.symmetry.matching import scaled_state
from isthmus.symmetry.rows import rows_at

Freedom = Literal["none", "sign", "positive", "both"]
Symmetries = Literal["permutations", "signs", "all"]
_ODD = {"tanh", "erf", "sin", "sinh", "asinh", "atan", "tan", "hardtanh"}
_POSITIVE = {"relu", "leaky_relu", "_prelu_kernel", "abs"}
_NEITHER = {
    "gelu", "silu", "sigmoid", "softplus", "elu", "mish", "hardswish", "hardsigmoid", "log_sigmoid_forward", "exp", "cos",
    "hardtanh(min_val=0.0, max_val=6.0)", "glu", "square", "pow", "_softmax", "celu", "hardshrink", "softshrink",
}  # fmt: skip
_EXACT = 1e-10
_PLAIN = {"dense neuron", "conv channel"}


@dataclass(frozen=True)
class Gauge:
    """What a unit of a group may be multiplied by.

    Attributes:
        freedom: nothing, -1, any positive number, or any number but 0.
        makers: slots that are multiplied; a norm's scale and shift where there is one, else the incoming weights.
        readers: slots that are divided.
    """

    freedom: Freedom = "none"
    makers: tuple[Slot, ...] = ()
    readers: tuple[Slot, ...] = ()

    @property
    def odd(self) -> bool:
        """Whether a unit may change its sign."""
        return self.freedom in {"sign", "both"}

    @property
    def scalable(self) -> bool:
        """Whether a unit may be multiplied by a positive number."""
        return self.freedom in {"positive", "both"}

    def apply(self, state: dict[str, Tensor], factors: Tensor) -> dict[str, Tensor]:
        """The state with unit i multiplied by ``factors[i]``, and divided where it is read."""
        return scaled_state(scaled_state(state, self.makers, factors), self.readers, 1 / factors)


def unit_gauge(network: Network, group: UnitGroup, inputs: Tensor, symmetries: Symmetries) -> Gauge:
    """The sign and scale freedom of one group: its activations' place in the table, confirmed by the outputs.

    The confirmation multiplies random units in the network with perturbed parameters, at two magnitudes, in float64; what
    changes an output by more than 1e-10 of the largest is not free, whatever the table says (pooling, other norms).

    Args:
        network: the network.
        group: from `exchangeable_units`.
        inputs: a few examples.
        symmetries: ``"permutations"`` asks for neither, ``"signs"`` for signs where the table knows the activation,
            ``"all"`` for signs and scales of every group.

    Raises:
        UnsupportedLayer: ``"all"``, and an activation that is not in the table.
    """
    if symmetries == "permutations" or group.obstacle is not None or group.kind not in _PLAIN:
        return Gauge()
    odd, positive, known = (
        all(_within(a, names) for a in group.activations) for names in (_ODD, _POSITIVE, _ODD | _POSITIVE | _NEITHER)
    )
    if not known and symmetries == "all":
        raise UnsupportedLayer(
            f"The symmetry of the activation {' -> '.join(group.activations)} of {group.name} is not known, so it cannot be said "
            "whether its units may change sign or scale. Use symmetries='signs', which moves such units by permutations alone."
        )
    positive = positive and symmetries == "all"
    if not odd and not positive:
        return Gauge()
    for makers in _makers(network, group):
        gauge = Gauge("both", makers, group.outgoing)
        signs = odd and _is_free(network, gauge, group.size, inputs, sign=True)
        scales = positive and _is_free(network, gauge, group.size, inputs, sign=False)
        if signs or scales:
            return Gauge("both" if signs and scales else "sign" if signs else "positive", makers, group.outgoing)
    return Gauge()


def _within(activation: str, names: set[str]) -> bool:
    options = "(" in activation and not activation.startswith("leaky_relu")
    return (activation if options else activation.partition("(")[0]) in names


def _makers(network: Network, group: UnitGroup) -> list[tuple[Slot, ...]]:
    """What may carry the factor: the incoming weights, or the scale and shift of a norm."""
    buffers = {name for name, _ in network.module.named_buffers()}
    norm = tuple(slot for slot in group.state if slot.tensor not in buffers)
    return [norm, group.incoming] if norm else [group.incoming]


def _is_free(network: Network, gauge: Gauge, size: int, inputs: Tensor, *, sign: bool) -> bool:
    exact = network.eval().to(torch.float64)
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    for magnitude in (1.0, 30.0):
        seed = Seed(0).child("gauge", str(magnitude))
        noisy = {
            k: v + v.std(correction=0) * gaussian(v.shape, seed.child(k), v.dtype, v.device) for k, v in exact.parameters.items()
        }
        state = scaled_state({**exact.buffers, **noisy}, gauge.makers, torch.full((size,), magnitude, dtype=torch.float64))
        factors = rademacher((size,), seed, torch.float64) if sign else (3 * gaussian((size,), seed, torch.float64)).exp()
        one, other = (exact.at_state(s)(inputs) for s in (state, gauge.apply(state, factors)))
        if not bool((one - other).abs().max() <= _EXACT * one.abs().max()):
            return False
    return True


def unit_scales(
    state: dict[str, Tensor], sizes: Sequence[int], gauges: Sequence[Gauge]
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The state with every scalable unit's makers at norm one, and the norms they had.

    Groups are treated in order of execution, so that equivalent networks come out as permutations of one another.
    """
    norms = []
    for size, gauge in zip(sizes, gauges, strict=True):
        norm = torch.ones(size, dtype=torch.float64)
        if gauge.scalable:
            length = rows_at(state, gauge.makers, size).double().cpu().norm(dim=1)
            norm = torch.where(length > 0, length, norm)
            state = gauge.apply(state, 1 / norm)
        norms.append(norm)
    return state, norms
