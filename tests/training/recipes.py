"""Networks that draw and count while they train, and the optimizers and schedulers people use."""

from functools import partial

import torch
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, RMSprop
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

from isthmus.model.problem import Problem

SAMPLES, BATCH, EPOCHS = 22, 5, 6
PER_EPOCH = 5
TOTAL = EPOCHS * PER_EPOCH


def noisy_problem() -> Problem:
    """Dropout draws, BatchNorm counts, and the last batch of an epoch is smaller."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
    inputs = torch.randn(SAMPLES, 4, generator=generator)
    return Problem(module, inputs, torch.randint(0, 3, (SAMPLES,), generator=generator), nn.CrossEntropyLoss())


def _with(scheduler, params, **options):
    optimizer = SGD(params, lr=0.1, momentum=0.9)
    return optimizer, scheduler(optimizer, **options)


def _warmup(params):
    optimizer = SGD(params, lr=0.1)
    parts = [LinearLR(optimizer, 0.1, total_iters=2), CosineAnnealingLR(optimizer, 4)]
    return optimizer, SequentialLR(optimizer, parts, milestones=[2])


def _chained(params):
    optimizer = Adam(params, lr=0.01)
    return optimizer, ChainedScheduler([ExponentialLR(optimizer, 0.9), MultiStepLR(optimizer, [2, 3])])


class Staged(StepLR):
    """A scheduler of one's own, whose state holds functions beside numbers."""

    def __init__(self, optimizer) -> None:
        self.stages = {"rule": lambda count: 0.5 if count % 2 else 1.5, "count": 0}
        super().__init__(optimizer, 1)

    def get_lr(self) -> list[float]:
        self.stages["count"] += 1
        return [group["lr"] * self.stages["rule"](self.stages["count"]) for group in self.optimizer.param_groups]


def _groups(params):
    params = list(params)
    return SGD([{"params": params[:2], "lr": 0.2}, {"params": params[2:], "weight_decay": 0.01}], lr=0.05, momentum=0.5)


RECIPES = {
    "sgd": partial(SGD, lr=0.1),
    "momentum": partial(SGD, lr=0.1, momentum=0.9, nesterov=True),
    "two groups": _groups,
    "adam": partial(Adam, lr=0.01),
    "adamw amsgrad": partial(AdamW, lr=0.01, amsgrad=True),
    "rmsprop": partial(RMSprop, lr=0.01, momentum=0.5, centered=True),
    "nadam": partial(NAdam, lr=0.01),
    "adagrad": partial(Adagrad, lr=0.05),
    "step": partial(_with, StepLR, step_size=2, gamma=0.5),
    "multistep": partial(_with, MultiStepLR, milestones=[1, 3]),
    "lambda": partial(_with, LambdaLR, lr_lambda=lambda epoch: 0.8**epoch),
    "one cycle": partial(_with, OneCycleLR, max_lr=0.2, total_steps=EPOCHS + 1),
    "warm-up then cosine": _warmup,
    "chained": _chained,
    "one's own": partial(_with, Staged),
}
