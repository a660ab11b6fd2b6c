"""Reading a `torch.optim` object: its closed form where there is one, and the same optimizer over other parameters."""

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from isthmus._core.errors import InputError
from isthmus.dynamics.methods import Method, TorchSgd
from isthmus.model.network import Network

Factory = Callable[[Iterable[nn.Parameter]], Any]
OptimizerLike = Method | Optimizer | tuple[Optimizer, Any] | Factory
_SGD_OPTIONS = ("lr", "momentum", "dampening", "nesterov", "weight_decay")


@dataclass(frozen=True)
class Understood:
    """An optimizer as the predictor sees it.

    Attributes:
        method: its closed form; None when it has none.
        reason: why it has none; "" when it has.
        words: name and settings.
        make: the same optimizer (with its present state) over other parameters of the same shapes; None for a `Method`.
    """

    method: Method | None
    reason: str
    words: str
    make: Factory | None


def understand_optimizer(optimizer: OptimizerLike, network: Network, *, steps: int = 1, steps_per_epoch: int = 1) -> Understood:
    """What is known about an optimizer before it runs.

    A closed form exists for `torch.optim.SGD` over all the network's parameters with the same settings in every group and
    a fresh state, at constant settings or under a scheduler that needs no measurement; for everything else the optimizer
    itself is run on the linearized network.

    Args:
        optimizer: a `Method`; a `torch.optim` object over the network's parameters, in their order; a pair of it and a
            scheduler; or a factory ``parameters -> optimizer`` or ``-> (optimizer, scheduler)``.
        network: whose parameters it trains.
        steps: how far a scheduler is read.
        steps_per_epoch: optimizer steps between two calls of the scheduler.

    Raises:
        InputError: not an optimizer, over other parameters, or with a scheduler that waits for a measured value.
    """
    if isinstance(optimizer, Method):
        return Understood(optimizer, "", optimizer.words, None)
    found, scheduler, make = _instance(optimizer, network)
    words = _words(found, scheduler)
    reason = _no_closed_form(found)
    if reason:
        return Understood(None, reason, words, make)
    schedule = None if scheduler is None else _read_schedule(found, scheduler, steps, steps_per_epoch)
    group = found.param_groups[0]
    method = TorchSgd(
        lr=float(group["lr"]),
        momentum=float(group["momentum"]),
        dampening=float(group["dampening"]),
        nesterov=bool(group["nesterov"]),
        weight_decay=float(group["weight_decay"]),
        schedule=schedule,
    )
    return Understood(method, "", words, make)


def _instance(optimizer: Any, network: Network) -> tuple[Optimizer, Any, Factory]:
    """An optimizer to read, its scheduler or None, and a factory of the same over other parameters."""
    pair = (optimizer, None) if isinstance(optimizer, Optimizer) else optimizer
    if isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Optimizer):
        places = _places(pair[0], network)
        inner, scheduler = copy.deepcopy(pair)
        return inner, scheduler, lambda parameters: _again(pair, places, list(parameters))
    if isinstance(optimizer, type) or not callable(optimizer):
        raise InputError(
            f"An optimizer was needed, found {optimizer!r}. Pass torch.optim.SGD(model.parameters(), lr=.1), a function "
            "parameters -> optimizer, or one of isthmus.dynamics' methods, e.g. TorchSgd(lr=.1, momentum=.9)."
        )
    made = optimizer([nn.Parameter(value.clone()) for value in network.parameters.values()])
    inner, scheduler = made if isinstance(made, tuple) else (made, None)
    if not isinstance(inner, Optimizer):
        raise InputError(f"The factory returned a {type(inner).__name__}; a torch.optim.Optimizer is needed.")
    _places(inner, network)
    return inner, scheduler, optimizer


def _again(pair: tuple[Optimizer, Any], places: list[int], parameters: Sequence[nn.Parameter]) -> Any:
    """The same class, options, state and scheduler over other parameters; `places` says which takes whose place."""
    optimizer, scheduler = copy.deepcopy(pair)
    left, groups = iter(places), []
    for group in optimizer.param_groups:
        options = {name: value for name, value in group.items() if name != "params"}
        groups.append({**options, "params": [parameters[next(left)] for _ in group["params"]]})
    code = type(optimizer).__init__.__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    made = type(optimizer)(groups, **{k: v for k, v in optimizer.defaults.items() if k in known})
    made.load_state_dict(optimizer.state_dict())
    if scheduler is None:
        return made
    scheduler.optimizer = made
    return made, scheduler


def _places(optimizer: Optimizer, network: Network) -> list[int]:
    """For each tensor of the optimizer, the position of the network's parameter it stands for: same shape, best same values."""
    theirs = [p.detach() for group in optimizer.param_groups for p in group["params"]]
    free = dict(enumerate(network.parameters.values()))
    places = []
    for tensor in theirs:
        fitting = [place for place, value in free.items() if value.shape == tensor.shape]
        equal = [place for place in fitting if torch.equal(free[place], tensor.to(free[place]))]
        if not fitting:
            break
        places.append((equal or fitting)[0])
        del free[places[-1]]
    if free or len(places) < len(theirs):
        raise InputError(
            f"The optimizer trains {len(theirs)} tensors and the network has {len(network.parameters)} trainable ones, of other shapes "
            "or number. Pass an optimizer over all of model.parameters(); freeze the others with requires_grad_(False)."
        )
    return places


def _no_closed_form(optimizer: Optimizer) -> str:
    """Why the optimizer does not act on each mode alone; "" when it does."""
    if type(optimizer) is not SGD:
        return f"{type(optimizer).__name__} acts on weights, not on modes"
    groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    if any(group[name] != groups[0][name] for group in groups for name in (*_SGD_OPTIONS, "maximize")):
        return "its parameter groups have different settings"
    if groups[0]["maximize"]:
        return "it maximizes the loss"
    if any(slots.get("momentum_buffer") is not None for slots in optimizer.state.values()):
        return "it already holds momentum"
    return ""


def _read_schedule(optimizer: Optimizer, scheduler: Any, steps: int, steps_per_epoch: int) -> tuple[tuple[float, float], ...]:
    """``(lr, momentum)`` in force in each step, from a scheduler that is stepped once an epoch."""
    settings = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch: scheduler before optimizer, which is not stepped here
        for step in range(steps):
            group = optimizer.param_groups[0]
            settings.append((float(group["lr"]), float(group["momentum"])))
            if (step + 1) % steps_per_epoch == 0:
                try:
                    scheduler.step()
                except TypeError as fault:
                    raise InputError(
                        f"{type(scheduler).__name__} waits for a measured value at each step, so the run cannot be known "
                        "beforehand. Predict with a constant step size, or with a scheduler that only counts steps."
                    ) from fault
    return tuple(settings)


def _words(optimizer: Optimizer, scheduler: Any) -> str:
    options = optimizer.param_groups[0]
    kept = {
        k: v for k, v in options.items() if isinstance(v, int | float) and not isinstance(v, bool) and v and k != "initial_lr"
    }
    pairs = [f"{name} {value:.4g}" for name, value in kept.items()]
    pairs += ["nesterov"] if options.get("nesterov") else []
    pairs += [f"betas {options['betas'][0]:g}, {options['betas'][1]:g}"] if "betas" in options else []
    pairs += [type(scheduler).__name__] if scheduler is not None else []
    groups = f", {len(optimizer.param_groups)} parameter groups" if len(optimizer.param_groups) > 1 else ""
    return f"{type(optimizer).__name__} ({', '.join(pairs)}{groups})"


def preconditioner(optimizer: Optimizer, gradients: Mapping[nn.Parameter, Tensor]) -> dict[nn.Parameter, Tensor] | None:
    """The diagonal P of an adaptive optimizer (``w -= lr P^{-1} m``), from its state or, fresh, as after a first step from here.

    ``sqrt(v_hat) + eps`` for Adam and AdamW, ``sqrt(v) + eps`` for RMSprop, ``sqrt(sum) + eps`` for Adagrad; None for an
    optimizer whose P is not known.

    Args:
        optimizer: over the keys of `gradients`.
        gradients: the present gradient of each parameter.
    """
    slot = {"Adam": "exp_avg_sq", "AdamW": "exp_avg_sq", "RMSprop": "square_avg", "Adagrad": "sum"}.get(type(optimizer).__name__)
    if slot is None:
        return None
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            count = float(state.get("step", 0.0))
            if count:
                second = state[slot].to(gradients[parameter])
                second = second / (1 - group["betas"][1] ** count) if "betas" in group else second
            else:
                second = gradients[parameter].square() * (1 - group["alpha"] if "alpha" in group else 1.0)
            found[parameter] = second.sqrt() + group["eps"]
    return found
