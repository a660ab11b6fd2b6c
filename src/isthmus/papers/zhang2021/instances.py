"""Small networks at exact critical points, and wide networks that pass near narrow ones."""

import functools

import torch
from torch import nn

from isthmus._core.seeds import Seed
from isthmus.curvature import polish
from isthmus.embedding import Growth, grow, plant
from isthmus.linops.random import gaussian
from isthmus.model.data import Sgd, three_steps
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.resizing import Recipe, module_of, resized, unit_group
from isthmus.model.zoo import mlp
from isthmus.training import train

_SAMPLES, _INPUTS = 40, 2


def planted(widths: tuple[int, ...], seed: Seed, *, size: float = 0.3, output_bias: bool = True) -> Problem:
    """A tanh network of these widths at random parameters, with targets that make them an exact critical point."""
    net = mlp(widths, "tanh", seed=seed.child("init"), output_bias=output_bias).double()
    inputs = 1.5 * gaussian((_SAMPLES, widths[0]), seed.child("inputs"), torch.float64)
    start = Problem(net, inputs, torch.zeros(_SAMPLES, widths[-1], dtype=torch.float64), nn.MSELoss())
    return plant(start.at(1.2 * gaussian((start.network.size,), seed.child("point"), torch.float64)), size=size, seed=seed)


def split_of(problem: Problem, layer: str, units: int, seed: Seed) -> Problem:
    """The problem with random units of a layer split with random shares, one after the other."""
    draw = seed.numpy()
    for _ in range(units):
        group = unit_group(problem, layer)
        share = float(draw.uniform(0.2, 0.8))
        growth = Growth(layer, {int(draw.integers(group.size)): (1 - share, share)})
        problem = problem._with(network=grow(problem, growth).network)
    return problem


def perturbed_clone(problem: Problem, layer: str, seed: Seed) -> Problem:
    """As one split, but the clone's own weights are off by a tenth: no embedding."""
    group = unit_group(problem, layer)
    wide = split_of(problem, layer, 1, seed)
    twin = unit_group(wide, layer)
    tensors = dict(wide.network.parameters)
    for slot in twin.incoming:
        moved = tensors[slot.tensor].clone().movedim(slot.axis, 0)
        moved[group.size] = moved[group.size] * 1.1 + 0.1 * moved.std()
        tensors[slot.tensor] = moved.movedim(0, slot.axis)
    return wide._with(network=wide.network.at(tensors, wide.network.buffers))


def parked(problem: Problem, layer: str, seed: Seed) -> Problem:
    """With one more unit of random own weights and no output: the same function, and no critical point in general."""
    group = unit_group(problem, layer)
    own = torch.cat([torch.eye(group.size), gaussian((1, group.size), seed.child("parked"), torch.float64)])
    outgoing = torch.cat([torch.eye(group.size), torch.zeros(1, group.size)])
    recipe = Recipe(own, outgoing, torch.zeros(group.size + 1))
    return problem._with(network=resized(problem.network, group, recipe, inputs=problem.inputs))


def threefold(problem: Problem) -> Problem:
    """Three copies of a multilayer perceptron side by side, the third with the opposite output: the same function."""
    module = module_of(problem.network)
    linear = [sub for sub in module.modules() if isinstance(sub, nn.Linear)]
    for place, layer in enumerate(linear):
        weight, last = layer.weight.detach(), place == len(linear) - 1
        if last:
            weight = torch.cat([weight, weight, -weight], dim=1)
        else:
            weight = torch.cat([weight] * 3) if place == 0 else torch.block_diag(weight, weight, weight)
            layer.bias = nn.Parameter(layer.bias.detach().repeat(3))
        layer.weight = nn.Parameter(weight)
    return problem._with(network=Network(module).eval())


def humps() -> Problem:
    """Two ReLU humps on eight points: what small starts fit with units of two directions."""
    x = torch.linspace(-1, 1, 8, dtype=torch.float64)[:, None]
    y = 0.2 * torch.relu(x - 1 / 3) + 0.2 * torch.relu(-x - 1 / 3)
    return Problem(mlp([1, 2, 1], output_bias=False).double(), x, y, nn.MSELoss())


def wide_run(width: int, spread: float, steps: int, seed: Seed) -> list[Problem]:
    """A wide tanh network on the paper's one-dimensional data under gradient descent, at a half and at the end."""
    start = one_dimensional(width)
    start = start.at(spread * gaussian((start.network.size,), seed.child("start"), torch.float64))
    marks = [steps // 2, steps]
    run = train(start, Sgd(lr=0.005, momentum=0.0), steps=steps, batch=start.samples, checkpoints=marks, seed=seed)
    return [run.problem_at(step) for step in marks]


def one_dimensional(width: int) -> Problem:
    """The paper's one-dimensional data and a tanh network of this width without output bias."""
    data = three_steps()
    net = mlp([1, width, 1], "tanh", output_bias=False).double()
    return Problem(net, data.train_inputs, data.train_targets, nn.MSELoss())


@functools.cache
def width_one_optimum() -> Problem:
    """The only critical point of width 1 that is not degenerate or saturated on these data, found by descent."""
    return polish(one_dimensional(1).at(torch.tensor([0.1, 0.0, 3.0], dtype=torch.float64)), toward="minimum").problem


def small_init(width: int) -> float:
    """The paper's standard deviation ``m^(-3/2)`` of a condensing initialization."""
    return width**-1.5
