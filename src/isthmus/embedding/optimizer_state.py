"""An optimizer for a grown module that goes on where the old one stood."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus.embedding.growth import Copies
from isthmus.model.resizing import resized_tensors

_LINEAR = ("momentum_buffer", "exp_avg", "exp_inf")
_SQUARE = ("exp_avg_sq", "max_exp_avg_sq", "sum", "square_avg")


def mapped_optimizer(
    optimizer: torch.optim.Optimizer, narrow: nn.Module, wide: nn.Module, steps: Sequence[Copies]
) -> torch.optim.Optimizer:
    """The same kind of optimizer on the wide module's parameters, its state mapped like gradients.

    First moments map like the gradient (own entries of a copy times its share, outgoing entries unchanged, null units
    zero), second moments by the squares of these factors; step counts are kept.

    Args:
        optimizer: of the narrow module.
        narrow: the module whose parameters it holds.
        wide: the grown module.
        steps: what the units of the grown layers copy, in order.

    Raises:
        InputError: the optimizer holds other parameters, or a state entry whose map is unknown.
    """
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in narrow.named_parameters()}
    free: dict[str, torch.Tensor] = dict(wide.named_parameters())
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


def mapped_gradient(tensors: dict[str, Tensor], steps: Sequence[Copies], *, power: int = 1) -> dict[str, Tensor]:
    """What growth makes of a gradient: own entries of a copy times its share, outgoing entries repeated, null units zero.

    Exact for every data set and loss, but for the outgoing weights of null units: theirs is the unit's constant output times
    the gradient of the reader's bias.

    Args:
        tensors: by name, of the narrow network.
        steps: what the units of the grown layers copy, in order.
        power: 1 for gradients, 2 for their squares.
    """
    for copies in steps:
        tensors = {**tensors, **resized_tensors(tensors, copies.group, copies.shared(power), copies.same)}
    return tensors


def _options(optimizer: torch.optim.Optimizer) -> dict:
    """The defaults that the class takes as arguments."""
    code = type(optimizer).__init__.__code__
    return {k: v for k, v in optimizer.defaults.items() if k in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]}


def _mapped(slot: str, tensors: dict[str, Tensor], steps: Sequence[Copies]) -> dict[str, Tensor]:
    if slot not in (*_LINEAR, *_SQUARE):
        raise InputError(
            f"The optimizer keeps {slot!r} for each parameter; how it maps to a wider network is not known. Known: "
            f"{', '.join((*_LINEAR, *_SQUARE))}. Start a fresh optimizer on the grown module."
        )
    mapped = mapped_gradient(tensors, steps, power=1 if slot in _LINEAR else 2)
    return {name: value.clone() for name, value in mapped.items()}
