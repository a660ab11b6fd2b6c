"""Many copies of one small network trained at once: seeds and hyper-parameters are a leading axis.

Every member sees its own data or shared data, in a batch order that all share, and has its own start, learning rate and
weight decay. Members do not influence one another: one that diverges leaves the others as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isthmus._core.errors import InputError, ShapeError
from isthmus._core.seeds import Seed, as_seed
from isthmus.model.losses import Loss
from isthmus.model.network import Network

_DROP = 0.1


@dataclass(frozen=True)
class Ensemble:
    """Members along a leading axis.

    Attributes:
        network: whose function they share.
        points: parameters of the members, ``(g, p)``.
        buffers: buffers and frozen parameters that members have of their own, ``(g, ...)`` by name.
        finite: which members stayed finite, ``(g,)``.
    """

    network: Network
    points: Tensor
    buffers: Mapping[str, Tensor]
    finite: np.ndarray

    def outputs(self, inputs: Tensor, *, own_data: bool = False) -> Tensor:
        """Outputs ``(g, n, c)`` on shared inputs ``(n, ...)``, or each on its own ``(g, n, ...)``; without gradient."""

        def of_one(point: Tensor, own: dict[str, Tensor], x: Tensor) -> Tensor:
            return self.network.apply(self.network.layout.unflatten(point), x, {**self.network.buffers, **own})

        with torch.no_grad():
            return torch.func.vmap(of_one, in_dims=(0, 0, 0 if own_data else None))(self.points, dict(self.buffers), inputs)

    @classmethod
    def joined(cls, parts: "Sequence[Ensemble]") -> "Ensemble":
        """Ensembles of the same network, one after the other."""
        own = {name: torch.cat([part.buffers[name] for part in parts]) for name in parts[0].buffers}
        finite = np.concatenate([part.finite for part in parts])
        return cls(parts[0].network, torch.cat([part.points for part in parts]), own, finite)

    def member(self, index: int) -> Network:
        """One member as a network."""
        own = {name: value[index] for name, value in self.buffers.items()}
        return self.network.at(self.points[index], {**self.network.buffers, **own})


@dataclass(frozen=True)
class Schedule:
    """How an ensemble trains: SGD with momentum, the learning rate falling to a tenth at half time.

    Attributes:
        epochs: passes over the data.
        batch: samples of a step.
        momentum: heavy ball.
    """

    epochs: int = 300
    batch: int = 50
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or not 0 <= self.momentum < 1:
            raise InputError(f"Needed epochs >= 1, batch >= 1 and momentum in [0, 1), found {self}.")


def train_ensemble(
    network: Network,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    rates: np.ndarray,
    decays: np.ndarray | float = 0.0,
    *,
    starts: Tensor | None = None,
    buffers: Mapping[str, Tensor] | None = None,
    pull: Tensor | None = None,
    own_data: bool = False,
    schedule: Schedule = Schedule(),
    seed: Seed | int = 0,
) -> Ensemble:
    """Train g members: ``v <- momentum v + gradient + decay (w - pull)``, ``w <- w - rate v``.

    This is `torch.optim.SGD` for each member, with the loss of each batch as given, and with decay towards `pull`.

    Args:
        network: the shared function, in evaluation mode; its parameters are the default start.
        loss: the loss, with its own reduction over a batch.
        inputs: ``(n, ...)``, or ``(g, n, ...)`` with `own_data`.
        targets: ``(n, ...)``, or ``(g, n, ...)`` with `own_data`.
        rates: learning rates, ``(g,)``.
        decays: weight decays, ``(g,)`` or one for all.
        starts: ``(g, p)``; the network's own parameters for every member when None.
        buffers: ``(g, ...)`` in place of the network's buffers and frozen parameters of these names: a Taylor model's anchor, an
            output layer that does not train.
        pull: where decay pulls to, ``(p,)`` or ``(g, p)``; zero when None.
        own_data: whether each member has its own samples.
        schedule: epochs, batch size and momentum.
        seed: names the batch order.

    Returns:
        The trained members. Memory: g copies of the parameters, their velocities and one batch's graph.

    Raises:
        InputError: a rate is not positive.
        ShapeError: leading axes do not fit.
    """
    rates = np.asarray(rates, dtype=np.float64).reshape(-1)
    decays = np.broadcast_to(np.asarray(decays, dtype=np.float64), rates.shape)
    count, samples = len(rates), inputs.shape[1 if own_data else 0]
    _check(network, rates, inputs, targets, starts, own_data)
    own = dict(buffers or {})
    gradients = member_gradients(network, loss, own_data=own_data, buffers=own)
    points = network.flat.repeat(count, 1) if starts is None else starts.detach().clone()
    velocity = torch.zeros_like(points)
    anchor = torch.zeros_like(points) if pull is None else pull.to(points).expand_as(points)
    rate, decay = (torch.from_numpy(np.array(v)).to(points)[:, None] for v in (rates, decays))
    seed = as_seed(seed)
    for epoch in range(schedule.epochs):
        now = rate * (_DROP if epoch >= schedule.epochs / 2 else 1.0)
        order = torch.from_numpy(seed.child("order", epoch).numpy().permutation(samples)).to(points.device)
        for rows in order.split(schedule.batch):
            batch = (inputs[:, rows], targets[:, rows]) if own_data else (inputs[rows], targets[rows])
            velocity.mul_(schedule.momentum).add_(gradients(points, *batch)).addcmul_(decay, points - anchor)
            points -= now * velocity
    return Ensemble(network, points, own, torch.isfinite(points).all(dim=1).cpu().numpy())


def member_gradients(
    network: Network, loss: Loss, *, own_data: bool, buffers: Mapping[str, Tensor] | None = None
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """``(points (g, p), inputs, targets) -> gradients (g, p)``, each member's of its own loss.

    Args:
        network: the shared function, in evaluation mode.
        loss: the loss, with its own reduction over a batch.
        own_data: whether inputs and targets have a leading axis over members.
        buffers: ``(g, ...)`` in place of the network's buffers of these names.
    """
    given = dict(buffers or {})

    def of_one(point: Tensor, own: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        outputs = network.forward(network.layout.unflatten(point), inputs, {**network.buffers, **own})
        return loss.total(outputs, targets)

    mapped = torch.func.vmap(of_one, in_dims=(0, 0, 0, 0) if own_data else (0, 0, None, None))

    def gradients(points: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        sizes = [loss.normalizer(own) for own in targets] if own_data else [loss.normalizer(targets)]
        with torch.enable_grad():
            leaf = points.detach().requires_grad_()
            (mapped(leaf, given, inputs, targets) / leaf.new_tensor(sizes)).sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    return gradients


def _check(network: Network, rates: np.ndarray, inputs: Tensor, targets: Tensor, starts: Tensor | None, own_data: bool) -> None:
    if rates.size == 0 or not (rates > 0).all() or not np.isfinite(rates).all():
        raise InputError(f"Every member needs a positive learning rate, found {rates}.")
    lead = 2 if own_data else 1
    if inputs.shape[:lead] != targets.shape[:lead] or (own_data and len(inputs) != len(rates)):
        raise ShapeError(
            f"Inputs {tuple(inputs.shape)} and targets {tuple(targets.shape)} do not fit "
            f"{len(rates)} members with {'their own' if own_data else 'shared'} data."
        )
    if starts is not None and starts.shape != (len(rates), network.size):
        raise ShapeError(f"Starts of shape ({len(rates)}, {network.size}) are needed, found {tuple(starts.shape)}.")
