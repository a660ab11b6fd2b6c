"""Optimizer and scheduler state as named tensors and plain data, and back."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isthmus._core.errors import InputError
from isthmus.training.checkpoints import Checkpoint

_PLAIN = (bool, int, float, str, type(None))


def optimizer_state(optimizer: Optimizer, names: Mapping[nn.Parameter, str]) -> dict[str, dict[str, Tensor]]:
    """Parameter name to slot to tensor; numbers become 0-dimensional tensors.

    Raises:
        InputError: a slot holds something that is neither a tensor nor a number.
    """
    state: dict[str, dict[str, Tensor]] = {}
    for parameter, slots in optimizer.state.items():
        for slot, value in slots.items():
            if value is None:
                continue
            if not isinstance(value, Tensor | int | float):
                raise InputError(
                    f"{type(optimizer).__name__} keeps a {type(value).__name__} in its slot {slot!r}; only tensors and "
                    "numbers can be checkpointed. Use an optimizer whose state is tensors."
                )
            kept = value.detach().clone() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
            state.setdefault(names[cast(nn.Parameter, parameter)], {})[slot] = kept
    return state


def param_groups(optimizer: Optimizer, names: Mapping[nn.Parameter, str]) -> list[dict[str, Any]]:
    """The groups with parameters by name and plain options; tensor options become numbers."""
    groups = []
    for group in optimizer.param_groups:
        options = {k: _plain(v) for k, v in group.items() if k != "params"}
        groups.append({**options, "params": [names[p] for p in group["params"]]})
    return groups


def restore(optimizer: Optimizer, scheduler: Any, names: Mapping[nn.Parameter, str], saved: Checkpoint) -> None:
    """Put a checkpoint's optimizer and scheduler state into fresh objects.

    Raises:
        InputError: the optimizer's groups are not those of the checkpoint.
    """
    found = [group["params"] for group in saved.param_groups]
    mine = [[names[p] for p in group["params"]] for group in optimizer.param_groups]
    if found != mine:
        raise InputError(
            "The optimizer groups its parameters otherwise than the checkpoint does. Use the optimizer that wrote it."
        )
    for group, options in zip(optimizer.param_groups, saved.param_groups, strict=True):
        group.update({k: tuple(v) if isinstance(v, list) else v for k, v in options.items() if k != "params"})
    for parameter, name in names.items():
        if name in saved.optimizer_state:
            slots = saved.optimizer_state[name]
            optimizer.state[parameter] = {slot: value.to(parameter.device, copy=True) for slot, value in slots.items()}
    if scheduler is not None and saved.scheduler:
        scheduler.load_state_dict(_merged(scheduler.state_dict(), saved.scheduler))


def scheduler_state(scheduler: Any) -> dict[str, Any]:
    """The plain part of a scheduler's state, that of schedulers inside it included; empty without one."""
    return {} if scheduler is None else _plain_part(scheduler.state_dict())


def _plain_part(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain_part(v) for k, v in value.items() if _has_plain_part(v)}
    return [_plain_part(item) for item in value] if isinstance(value, list | tuple) else value


def _has_plain_part(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value)
    return isinstance(value, _PLAIN) or (isinstance(value, list | tuple) and all(_has_plain_part(item) for item in value))


def _merged(fresh: Any, saved: Any) -> Any:
    """`saved` over `fresh`, which keeps what was not plain enough to be saved."""
    if isinstance(fresh, dict) and isinstance(saved, dict):
        return {**fresh, **{k: _merged(fresh.get(k), v) for k, v in saved.items()}} if saved else fresh
    if isinstance(fresh, list) and isinstance(saved, list) and len(fresh) == len(saved):
        return [_merged(a, b) for a, b in zip(fresh, saved, strict=True)]
    return saved


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, _PLAIN) else str(value)
