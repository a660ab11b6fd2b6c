"""Critical points of narrow networks in wide ones."""

import torch
from torch import nn

import isthmus
from isthmus.model.zoo import mlp
from tests.architecture.user import data, problem_of


def _layer(module: nn.Module) -> str:
    return isthmus.unit_curvature(problem_of(module), batches=1).layers[0]


def _growth(module: nn.Module) -> isthmus.Growth:
    return isthmus.Growth(_layer(module), {0: (0.5, 0.5)})


def _planted(module: nn.Module) -> isthmus.Problem:
    inputs = torch.randn(200, *data()[0].shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    outputs = isthmus.Network(module, dtype=torch.float64).eval()(inputs)
    return isthmus.plant(isthmus.Problem(module, inputs, outputs, nn.MSELoss(), dtype=torch.float64))


def _census() -> isthmus.Problem:
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    return isthmus.Problem(mlp([1, 1, 1], "tanh").double(), x, x**2, nn.MSELoss())


def _relu() -> isthmus.Problem:
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    return isthmus.Problem(mlp([1, 2, 1]).double(), x, x**2, nn.MSELoss())


CASES = {
    "Growth": lambda module, _: isthmus.grow(problem_of(module), _growth(module)),
    "Compatible": lambda module, _: isthmus.grow(problem_of(module), _layer(module), how="compatible"),
    "grow": lambda module, _: isthmus.grow(module, _layer(module), inputs=data()[0]),
    "shrink": lambda module, _: isthmus.shrink(problem_of(module), tolerance=0.5),
    "unit_curvature": lambda module, _: isthmus.unit_curvature(problem_of(module)),
    "predict_inertia": lambda module, _: isthmus.predict_inertia(problem_of(module), _growth(module)),
    "plant": lambda module, _: _planted(module),
    "census": lambda module, _: isthmus.census(_census(), [1], starts=[4]),
    "condensation": lambda module, _: isthmus.condensation(_census()),
    "initialization_regime": lambda *_: isthmus.initialization_regime(_relu()),
    "measured_regime": lambda *_: isthmus.measured_regime(_relu(), 1.0, widths=(2, 3, 4, 5), seeds=2, steps=3),
    "model_rank": lambda module, _: isthmus.model_rank(problem_of(module)),
    "identify_plateau": lambda module, _: isthmus.identify_plateau(problem_of(module)),
    "lift_depth": lambda *_: isthmus.lift_depth(_relu(), "0"),
    "prune_layer": lambda *_: isthmus.prune_layer(isthmus.lift_depth(_relu(), "0").problem, "2"),
    "escape": lambda module, _: isthmus.escape(_planted(module)),
}
WITHOUT = set()
