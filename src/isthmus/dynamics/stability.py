"""How far a step size is from the limit at which a mode stops shrinking."""

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.dynamics.methods import Method, TorchSgd
from isthmus.dynamics.optimizers import OptimizerLike, Understood, preconditioner, understand_optimizer
from isthmus.dynamics.scaling import ScaledLoss, scaled_loss
from isthmus.dynamics.spectrum import ScaledKernel
from isthmus.linops.eigen import top_eigenpairs
from isthmus.model.derivatives import loss_gradient
from isthmus.model.problem import Problem, provenance
from isthmus.results.dynamics import Spectrum
from isthmus.results.optimizers import Stability
from isthmus.results.provenance import Cost

_MARGINAL = 0.95
_CATAPULT = 4.0


def stability_limit(
    problem: Problem | Spectrum,
    optimizer: OptimizerLike,
    *,
    steps: int = 1000,
    steps_per_epoch: int = 1,
    rtol: float = 1e-6,
    seed: Seed | int = 0,
) -> Stability:
    """The largest step size that the present curvature allows this optimizer, and how far it is from it.

    ``x = lr * lambda_max`` of the loss-scaled tangent kernel (the Gauss-Newton matrix of the loss as given) against the x at
    which the optimizer's update on that mode gets spectral radius 1: 2 for gradient descent, ``2 (1 + beta)`` for heavy ball,
    ``2 (1 + beta) / (1 + 2 beta)`` for Nesterov, ``2 (1 + beta1) / (1 - beta1)`` for Adam behind its preconditioner.

    Args:
        problem: network, data and loss, or a spectrum (then the optimizer must be a `Method`).
        optimizer: as in `predict_training`. Parameter groups that differ in their lr only, Adam, AdamW, RMSprop and Adagrad are
            met through ``J P^{-1} J^T``, with P from the optimizer's state or, fresh, from the gradient at the present point.
        steps: how far a schedule is read.
        steps_per_epoch: steps between two calls of a scheduler.
        rtol: of the largest eigenvalue.
        seed: names Lanczos' start vector.

    Returns:
        Limit, margin and verdict. Above the limit plain gradient descent on a network is expected to catapult up to x = 4
        (recalled from the literature, not proven here) and to diverge in the linear model at any x above 2.

    Raises:
        InputError: no limit is known for this optimizer.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    if isinstance(problem, Spectrum):
        if not isinstance(optimizer, Method):
            raise InputError("A spectrum alone knows no parameters: pass the Problem, or a Method such as TorchSgd(lr=.1).")
        top, known = _Top(problem.largest, float(problem.residuals[0]), 0, ""), Understood(optimizer, "", optimizer.words, None)
        found, source = _against(top, optimizer), problem.provenance
        share = _unstable(problem, found.limit / max(found.rate, 1e-300))
    else:
        quiet = problem.eval().to(torch.float64)
        known = understand_optimizer(optimizer, quiet.network, steps=steps, steps_per_epoch=steps_per_epoch)
        scaled, source = scaled_loss(quiet), provenance(quiet, seed)
        top, found, share = _of_problem(quiet, scaled, known, rtol, seed)
    verdict, consequence = _verdict(found, known)
    return Stability(
        learning_rate=found.rate,
        eigenvalue=found.eigenvalue,
        residual=top.residual,
        x=found.rate * found.eigenvalue,
        limit=found.limit,
        margin=found.margin,
        largest_rate=found.limit / found.eigenvalue if found.eigenvalue > 0 else math.inf,
        unstable_modes=share[0],
        unstable_share=share[1],
        optimizer=known.words,
        preconditioned=top.preconditioned,
        verdict=verdict,
        consequence=consequence,
        status=Status.CONVERGED,
        method="largest eigenvalue of the loss-scaled tangent kernel against the optimizer's own limit",
        error="residual of the eigenvalue; the limit is exact for the linearized network",
        cost=Cost(matvecs=top.matvecs, seconds=time.perf_counter() - started),
        provenance=source,
    )


@dataclass(frozen=True)
class _Top:
    value: float
    residual: float
    matvecs: int
    preconditioned: str


@dataclass(frozen=True)
class _Met:
    """The step size in question, the eigenvalue it meets, and its limit."""

    rate: float
    eigenvalue: float
    limit: float

    @property
    def margin(self) -> float:
        return self.rate * self.eigenvalue / self.limit if self.limit > 0 else math.inf


def _of_problem(
    problem: Problem, scaled: ScaledLoss, known: Understood, rtol: float, seed: Seed
) -> tuple[_Top, _Met, tuple[int, float]]:
    if known.method is not None:
        top = _largest(ScaledKernel(problem, scaled), rtol, seed)
        found = _against(top, known.method)
        if found.margin <= 1:
            return top, found, (0, 0.0)
        return top, found, _unstable_part(problem, scaled, found, seed)
    step = read_step(problem, *optimizer_over(problem, known), known.words)
    top = _largest(PreconditionedKernel(problem, scaled, step.weights), rtol, seed, step.words)
    return top, _Met(step.rate, top.value, step.limit), (int(step.rate * top.value > step.limit), math.nan)


class PreconditionedKernel(ScaledKernel):
    """``u -> B^{1/2} J P^{-1} J^T B^{1/2} u`` for a diagonal P."""

    def __init__(self, problem: Problem, scaled: ScaledLoss, weights: Tensor) -> None:
        super().__init__(problem, scaled)
        self.weights = weights

    def _between(self, direction: Tensor) -> Tensor:
        return direction / self.weights


def _largest(operator: ScaledKernel, rtol: float, seed: Seed, words: str = "") -> _Top:
    pairs = top_eigenpairs(operator, 1, rtol=rtol, seed=seed.child("stability"))
    return _Top(float(pairs.values[0]), float(pairs.residuals[0]), pairs.matvecs, words)


def _against(top: _Top, method: Method) -> _Met:
    """Where the method comes closest to its limit."""
    value = top.value + method.decay
    if isinstance(method, TorchSgd) and method.schedule is not None:
        settings = [
            TorchSgd(lr=lr, momentum=beta, dampening=method.dampening, nesterov=method.nesterov)
            for lr, beta in method.schedule
            if lr
        ]
        worst = max(settings, key=lambda one: one.lr / one.limit())
        return _Met(worst.lr, value, worst.limit())
    return _Met(method.lr, value, method.limit())


def _unstable(modes: Spectrum, edge: float) -> tuple[int, float]:
    """How many modes have an eigenvalue above `edge`, and their share of the squared error."""
    above = modes.values > edge
    total = max(float(modes.scaled_error @ modes.scaled_error), 1e-300)
    return int(above.sum()), float((modes.coefficients[above] ** 2).sum() / total)


def _unstable_part(problem: Problem, scaled: ScaledLoss, found: _Met, seed: Seed) -> tuple[int, float]:
    """The same by the largest few modes of the operator."""
    operator = ScaledKernel(problem, scaled)
    count = min(10, operator.shape[0])
    pairs = top_eigenpairs(operator, count, rtol=1e-4, seed=seed.child("unstable"))
    above = found.rate * pairs.values > found.limit
    weights = pairs.vectors.cpu().numpy()[:, above].T @ scaled.error
    return int(above.sum()), float(weights @ weights / max(scaled.error @ scaled.error, 1e-300))


@dataclass(frozen=True)
class Step:
    """What one step of a torch optimizer does to a direction: ``w -= lr P^{-1} m``.

    Attributes:
        rate: lr of the first parameter group.
        limit: the largest stable x behind P.
        weights: P as a flat vector, lr ratios of the groups included.
        decay: coupled weight decay.
        words: what P is.
    """

    rate: float
    limit: float
    weights: Tensor
    decay: float
    words: str


def optimizer_over(problem: Problem, known: Understood) -> tuple[Optimizer, list[torch.nn.Parameter]]:
    """The torch optimizer over fresh copies of the problem's parameters, and these in the network's order.

    Raises:
        InputError: it is a `Method`, which torch cannot run.
    """
    if known.make is None:
        raise InputError(f"{known.words} is no torch.optim object; pass the optimizer or factory that trains the network.")
    parameters = [torch.nn.Parameter(value.clone()) for value in problem.network.parameters.values()]
    made = known.make(parameters)
    return made[0] if isinstance(made, tuple) else made, parameters


def read_step(problem: Problem, optimizer: Optimizer, parameters: list[torch.nn.Parameter], words: str) -> Step:
    """The step of an optimizer from its settings and state at the problem's parameters.

    Args:
        problem: gives the gradient, for a preconditioner without a state.
        optimizer: as `optimizer_over` gives it.
        parameters: with it.
        words: name and settings, for messages.

    Raises:
        InputError: groups that differ in more than their lr, or an optimizer without a known limit.
    """
    group = optimizer.param_groups[0]
    others = [{k: v for k, v in one.items() if k not in ("params", "lr", "initial_lr")} for one in optimizer.param_groups]
    if any(one != others[0] for one in others):
        raise InputError(f"{words}: the groups differ in more than their lr, and no common limit exists. Ask group by group.")
    slopes = dict(zip(parameters, problem.network.layout.unflatten(loss_gradient(problem)).values(), strict=True))
    diagonal = _diagonal(optimizer, slopes)
    if diagonal is None:
        raise InputError(
            f"No stability limit is known for {type(optimizer).__name__}. Known are SGD in all forms, Adam, AdamW, RMSprop and "
            "Adagrad; predict_training(view='linearized') shows whether the linearized network diverges."
        )
    rate = float(group["lr"])
    relative = {p: float(one["lr"]) / rate if rate else 1.0 for one in optimizer.param_groups for p in one["params"]}
    flat = torch.cat([(diagonal[p] / relative[p]).reshape(-1) for p in slopes])
    decay = float(group.get("weight_decay", 0.0)) if type(optimizer) is SGD else 0.0
    return Step(rate, _limit(group), flat, decay, _origin(optimizer))


def _diagonal(optimizer: Optimizer, gradients: dict[torch.nn.Parameter, Tensor]) -> dict[torch.nn.Parameter, Tensor] | None:
    """P by parameter: ones for SGD."""
    if type(optimizer) is SGD:
        return {parameter: torch.ones_like(value) for parameter, value in gradients.items()}
    return preconditioner(optimizer, gradients)


def _limit(group: dict[str, Any]) -> float:
    if "betas" in group:
        beta = float(group["betas"][0])
        return 2 * (1 + beta) / (1 - beta)
    return TorchSgd(
        lr=1.0,
        momentum=float(group.get("momentum", 0.0)),
        dampening=float(group.get("dampening", 0.0)),
        nesterov=bool(group.get("nesterov", False)),
    ).limit()


def _origin(optimizer: Optimizer) -> str:
    if type(optimizer) is SGD:
        return "the groups' own learning rates" if len(optimizer.param_groups) > 1 else ""
    fresh = not any(float(state.get("step", 0.0)) for state in optimizer.state.values())
    return f"{type(optimizer).__name__}'s, " + ("as after its first step from here" if fresh else "from its present state")


def _verdict(found: _Met, known: Understood) -> tuple[str, str]:
    best = f"the largest stable lr is {found.limit / found.eigenvalue:.4g}" if found.eigenvalue > 0 else ""
    if found.margin < _MARGINAL:
        return "stable", f"every mode of the linearized network shrinks; {best}"
    if found.margin <= 1:
        return (
            "marginal",
            f"the top mode hardly shrinks, and a rise of the curvature by {1 / found.margin - 1:.1%} makes it grow; {best}",
        )
    plain = isinstance(known.method, TorchSgd) and not known.method.momentum and known.method.schedule is None
    if plain and found.rate * found.eigenvalue < _CATAPULT:
        return "catapult expected", (
            f"the linearized network diverges; a wide network is expected to jump to lower curvature, so that no kernel prediction "
            f"holds; {best}"
        )
    return "diverges", f"the linearized network diverges and no kernel prediction holds; {best}, or use NTK parametrization"
