"""Training by hand: one loop in plain torch, one in plain numpy."""

import copy
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.seeds import Seed


def batches(samples: int, batch: int, epochs: int, seed: Seed) -> Iterable[np.ndarray]:
    """The documented order: a permutation drawn from ``seed / order / epoch``, cut into batches, the last one smaller."""
    for epoch in range(epochs):
        order = seed.child("order", epoch).numpy().permutation(samples)
        yield from (order[i : i + batch] for i in range(0, samples, batch))


def plain_loop(
    module: nn.Module, inputs: Tensor, targets: Tensor, loss: nn.Module, factory: Callable, order: Iterable[np.ndarray],
    steps_per_epoch: int, watch: Callable[[nn.Module, torch.optim.Optimizer], Callable[[], None]] | None = None,
) -> nn.Module:  # fmt: skip
    """The loop that everybody writes; the scheduler steps once an epoch. What `watch` returns is called after each step."""
    module = copy.deepcopy(module).train()
    made = factory(module.parameters())
    optimizer, scheduler = made if isinstance(made, tuple) else (made, None)
    tell = watch(module, optimizer) if watch is not None else None
    for step, rows in enumerate(order, start=1):
        optimizer.zero_grad()
        loss(module(inputs[rows]), targets[rows]).backward()
        optimizer.step()
        if scheduler is not None and step % steps_per_epoch == 0:
            scheduler.step()
        if tell is not None:
            tell()
    return module


def linear_regression(
    weight: np.ndarray, x: np.ndarray, y: np.ndarray, order: Iterable[np.ndarray], lr: float, momentum: float
) -> np.ndarray:
    """Heavy-ball descent on ``mean (x w - y)^2`` with the gradient written out."""
    velocity = np.zeros_like(weight)
    for rows in order:
        residual = x[rows] @ weight - y[rows]
        gradient = 2 * x[rows].T @ residual / residual.size
        velocity = momentum * velocity + gradient
        weight = weight - lr * velocity
    return weight
