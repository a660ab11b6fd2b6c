"""An optimizer for a resized module that goes on where the old one stood."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus.embedding.growth import Copies
from isthmus.model.resizing import resized_tensors
from isthmus.model.units import UnitGroup

_LINEAR = ("momentum_buffer", "exp_avg", "exp_inf")
_SQUARE = ("exp_avg_sq", "max_exp_avg_sq", "sum", "square_avg")


@dataclass(frozen=True)
class StateMap:
    """How the gradient of one layer's units, and its square, become those of the resized layer.

    Attributes:
        group: the units before.
        own: matrices ``(m', m)`` on own entries, for first and for second moments.
        outgoing: the matrix on outgoing entries, for both.
    """

    group: UnitGroup
    own: tuple[Tensor, Tensor]
    outgoing: Tensor

    @classmethod
    def of_copies(cls, copies: Copies) -> "StateMap":
        """Of a grown layer: own entries of a copy times its share, outgoing entries repeated, null units zero."""
        return cls(copies.group, (copies.shared(1), copies.shared(2)), copies.same)


def mapped_optimizer(
    optimizer: torch.optim.Optimizer, before: nn.Module, after: nn.Module, steps: Sequence[StateMap]
) -> torch.optim.Optimizer:
    """The same kind of optimizer on the resized module's parameters, its state mapped like gradients.

    First moments map like the gradient, second moments like its square; step counts are kept.

    Args:
        optimizer: of the old module.
        before: the module whose parameters it holds.
        after: the resized module.
        steps: what became of each resized layer, in order.

    Raises:
        InputError: the optimizer holds other parameters, or a state entry whose map is unknown.
    """
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in before.named_parameters()}
    free: dict[str, torch.Tensor] = dict(after.named_parameters())
    groups = []
    for group in optimizer.param_groups:
        if strange := [p for p in group["params"] if p not in names]:
            raise InputError(
                f"The optimizer holds {len(strange)} parameters that are not this module's. Pass the module that it trains."
            )
        groups.append({**{k: v for k, v in group.items() if k != "params"}, "params": [free[names[p]] for p in group["params"]]})
    made = type(optimizer)(groups, **_options(optimizer))
    slots: dict[str, dict[str, Tensor]] = {}
    for parameter, state in optimizer.state.items():
        for slot, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.ndim > 0:
                slots.setdefault(slot, {})[names[parameter]] = value
            else:
                kept = value.clone() if isinstance(value, Tensor) else value
                made.state[free[names[parameter]]][slot] = kept
    for slot, tensors in slots.items():
        for name, value in _mapped(slot, tensors, steps).items():
            made.state[free[name]][slot] = value
    return made


def mapped_gradient(tensors: dict[str, Tensor], steps: Sequence[StateMap], *, power: int = 1) -> dict[str, Tensor]:
    """What resizing makes of a gradient.

    Exact for every data set and loss where units are copied or exact copies joined, but for the outgoing weights of null
    units: theirs is the unit's constant output times the gradient of the reader's bias, and is left out.

    Args:
        tensors: by name, of the old network.
        steps: what became of each resized layer, in order.
        power: 1 for gradients, 2 for their squares.
    """
    for step in steps:
        tensors = {**tensors, **resized_tensors(tensors, step.group, step.own[power - 1], step.outgoing)}
    return tensors


def _options(optimizer: torch.optim.Optimizer) -> dict:
    """The defaults that the class takes as arguments."""
    code = type(optimizer).__init__.__code__
    return {k: v for k, v in optimizer.defaults.items() if k in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]}


def _mapped(slot: str, tensors: dict[str, Tensor], steps: Sequence[StateMap]) -> dict[str, Tensor]:
    if slot not in (*_LINEAR, *_SQUARE):
        raise InputError(
            f"The optimizer keeps {slot!r} for each parameter; how it maps to another width is not known. Known: "
            f"{', '.join((*_LINEAR, *_SQUARE))}. Start a fresh optimizer on the new module."
        )
    mapped = mapped_gradient(tensors, steps, power=1 if slot in _LINEAR else 2)
    return {name: value.clone() for name, value in mapped.items()}
