"""Training a three-layer network through its bilinear part: smoothing, random signs, penalties, a shrinking scale.

The objective is ``E L(lambda F(x; W0 + W^rho + Sigma W', V0 + V^rho + V' Sigma), y) + R(sqrt(lambda) W', sqrt(lambda) V')``, after
Allen-Zhu, Li, Liang (recalled; the exact placement of Sigma and of the powers of lambda is not certain). Hence every
part is a switch of its own. ``(lambda F, sqrt(lambda) W', sqrt(lambda) V')`` is consistent because G2 is homogeneous of degree 2.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus.learning.pseudo import Displacement, PseudoNetwork
from isthmus.linops.random import gaussian, generator, rademacher
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.training import train

Signs = Literal["never", "fixed", "resample"]
Penalty = Literal["frobenius", "mixed24"]


@dataclass(frozen=True)
class Switches:
    """The parts of the algorithm, each on its own.

    Attributes:
        smoothing: standard deviations of W^rho and V^rho; (0, 0) for none.
        signs: Sigma: ``"never"`` (identity), ``"fixed"`` (one draw), ``"resample"`` (each step).
        penalty: ``"frobenius"``: ``weights[0] |W'|_F^2 + weights[1] |V'|_F^2``; ``"mixed24"``: the first becomes
            ``weights[0] sum_i |w'_i|^4``.
        weights: lambda_w, lambda_v; (0, 0) for none.
        decay: eta of ``lambda_{t+1} = (1 - eta) lambda_t``; 0 keeps the scale at 1.
        noise: standard deviation of the Gaussian added to each gradient entry: the noisy SGD that leaves saddles.
    """

    smoothing: tuple[float, float] = (0.0, 0.0)
    signs: Signs = "resample"
    penalty: Penalty = "frobenius"
    weights: tuple[float, float] = (0.0, 0.0)
    decay: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.signs not in ("never", "fixed", "resample") or self.penalty not in ("frobenius", "mixed24"):
            raise InputError(f"signs are 'never', 'fixed' or 'resample', penalties 'frobenius' or 'mixed24'; found {self}.")
        if min(*self.smoothing, *self.weights, self.noise) < 0 or not 0 <= self.decay < 1:
            raise InputError(f"Standard deviations and weights cannot be negative, and decay lies in [0, 1); found {self}.")


class MixedNetwork(nn.Module):
    """``lambda F(x; W0 + W^rho + Sigma W', V0 + V^rho + V' Sigma)`` with parameters W', V'.

    In training mode smoothing noise and resampled signs are drawn anew in each call, from torch's generator (which the
    training loop fences); in evaluation mode there is no smoothing, and the kept signs are used.
    """

    def __init__(self, network: PseudoNetwork, switches: Switches, seed: Seed) -> None:
        super().__init__()
        if network.second is None:
            raise InputError("Sign mixing trains the bilinear part, which needs three layers; found two.")
        self.network, self.switches = network, switches
        self.first = nn.Parameter(torch.zeros_like(network.first))
        self.second = nn.Parameter(torch.zeros_like(network.second))
        width, dtype = len(network.first), network.first.dtype
        kept = torch.ones(width, dtype=dtype) if switches.signs == "never" else rademacher((width,), seed, dtype)
        self.register_buffer("signs", kept)
        self.register_buffer("scale", torch.ones((), dtype=dtype))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs ``(n, k)``."""
        signs: Tensor = self.signs  # pyright: ignore[reportAssignmentType]
        move = Displacement(self.first, self.second)
        if self.training and self.switches.signs == "resample":
            signs = 2.0 * torch.randint(0, 2, signs.shape).to(signs) - 1.0
        move = move.mixed(signs)
        if self.training and max(self.switches.smoothing) > 0:
            one, two = self.switches.smoothing
            assert move.second is not None
            move = Displacement(
                move.first + one * torch.randn_like(move.first), move.second + two * torch.randn_like(move.second)
            )
        return self.scale * self.network.true(inputs, move)  # pyright: ignore[reportOperatorIssue]


@dataclass(frozen=True)
class NoisySgd:
    """SGD on (W', V') with the gradient of the penalty and Gaussian noise; an optimizer factory.

    Attributes:
        lr: learning rate.
        switches: penalty and noise.
        scale: lambda of the penalty's arguments.
        seed: names the noise.
    """

    lr: float
    switches: Switches
    scale: float = 1.0
    seed: Seed = field(default_factory=Seed)

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer over W' and V', in this order."""
        return _PenalizedSgd(parameters, self)


class _PenalizedSgd(torch.optim.SGD):
    def __init__(self, parameters: Iterable[nn.Parameter], recipe: NoisySgd) -> None:
        super().__init__(parameters, lr=recipe.lr)
        self._recipe, self._draws = recipe, generator(recipe.seed)

    def step(self, closure: Any = None) -> Any:
        """Add penalty and noise to the gradients, and step."""
        first, second = self.param_groups[0]["params"]
        for parameter, slope in ((first, self._slope_first(first)), (second, self._slope(second, 1))):
            if parameter.grad is not None:
                noise = torch.randn(parameter.shape, generator=self._draws, dtype=parameter.dtype).to(parameter.device)
                parameter.grad += slope + self._recipe.switches.noise * noise
        return super().step(closure)

    @torch.no_grad()
    def _slope_first(self, value: Tensor) -> Tensor:
        """Gradient of ``lambda_w |sqrt(l) W'|_F^2``, or of ``lambda_w sum_i |sqrt(l) w'_i|^4``."""
        if self._recipe.switches.penalty == "frobenius":
            return self._slope(value, 0)
        squares = value.square().sum(1, keepdim=True)
        return 4 * self._recipe.switches.weights[0] * self._recipe.scale**2 * squares * value

    @torch.no_grad()
    def _slope(self, value: Tensor, index: int) -> Tensor:
        return 2 * self._recipe.switches.weights[index] * self._recipe.scale * value


@dataclass(frozen=True)
class Mixed:
    """What sign mixing learned.

    Attributes:
        network: the output network, signs and the chosen smoothing noise absorbed into its weights.
        scale: lambda at the end; predictions are ``scale * network.start(x)``.
        losses: training loss at the start and after each stage, with the kept signs and without smoothing.
        final_loss: training loss of the output.
        move: the learned (W', V').
    """

    network: PseudoNetwork
    scale: float
    losses: list[float]
    final_loss: float
    move: Displacement


def train_by_mixing(
    problem: Problem,
    switches: Switches,
    *,
    stages: int = 1,
    steps: int = 1000,
    lr: float = 0.01,
    batch: int = 50,
    draws: int = 8,
    start: Displacement | None = None,
    seed: Seed | int = 0,
) -> Mixed:
    """Train (W', V') of a three-layer ReLU network by noisy SGD on the mixed objective, stage by stage.

    Each stage takes `steps` steps at its scale lambda, warm-started; then lambda shrinks by (1 - decay). At the end signs are
    fixed and, of `draws` smoothing noises, the one with the smallest training loss is kept.

    Args:
        problem: ``Sequential(Linear, ReLU, Linear, ReLU, Linear(bias=False))`` at its start, data and loss.
        switches: the parts.
        stages: T.
        steps: T_w.
        lr: learning rate.
        batch: samples of a step.
        draws: smoothing noises to choose from; 1 noiseless candidate where there is no smoothing.
        start: (W', V') to begin at; zero by default, the saddle.
        seed: names signs, noise and batch order.

    Raises:
        InputError: two layers, or fewer than one stage.
        NumericalError: the loss stopped being finite.
    """
    seed, base = as_seed(seed), PseudoNetwork.of(problem)
    if stages < 1 or draws < 1:
        raise InputError(f"Needed at least one stage and one draw, found {stages} and {draws}.")
    module = MixedNetwork(base, switches, seed.child("signs"))
    if start is not None and start.second is not None:
        module.first.data, module.second.data = start.first.clone(), start.second.clone()
    now = problem._with(network=Network(module.train()))
    losses, scale = [_loss(now)], 1.0
    for stage in range(stages):
        recipe = NoisySgd(lr, switches, scale, seed.child("noise", stage))
        run = train(now, recipe, steps=steps, batch=batch, seed=seed.child("stage", stage), checkpoints=())
        saved = run.checkpoint(steps)
        scale *= 1 - switches.decay
        buffers = {**now.network.buffers, "scale": torch.tensor(scale, dtype=now.network.dtype)}
        now = now.at(saved.parameters, buffers)
        losses.append(_loss(now))
    move = Displacement(now.network.parameters["first"], now.network.parameters["second"])
    output, final = _output(base, move.mixed(now.network.buffers["signs"]), switches, scale, problem, draws, seed.child("draws"))
    return Mixed(output, scale, losses, final, move)


def _loss(problem: Problem) -> float:
    quiet = problem.eval()
    return float(problem.loss(quiet.network(problem.inputs), problem.targets))


def _output(
    base: PseudoNetwork, move: Displacement, switches: Switches, scale: float, problem: Problem, draws: int, seed: Seed
) -> tuple[PseudoNetwork, float]:
    """The displaced network with the smoothing noise of least training loss."""
    assert base.second is not None and move.second is not None
    one, two = switches.smoothing
    best: tuple[PseudoNetwork, float] | None = None
    for index in range(draws if max(one, two) > 0 else 1):
        noise = [gaussian(w.shape, seed.child(index, name), w.dtype) for name, w in (("w", base.first), ("v", base.second))]
        candidate = PseudoNetwork(
            base.first + move.first + one * noise[0],
            base.first_bias,
            base.second + move.second + two * noise[1],
            base.second_bias,
            base.output,
        )
        loss = float(problem.loss(scale * candidate.start(problem.inputs), problem.targets))
        if best is None or loss < best[1]:
            best = candidate, loss
    assert best is not None
    return best
