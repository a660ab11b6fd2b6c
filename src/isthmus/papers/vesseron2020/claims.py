"""Claims of the abstract, made precise by a reconstruction: networks are games, and what follows for their loss."""

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.errors import HypothesisError, UnsupportedLayer, VerificationError
from isthmus._core.numerics import tolerance
from isthmus._core.seeds import Seed
from isthmus.claims import Claim, Evidence, Hypothesis
from isthmus.claims.claim import ScaleName
from isthmus.games.pathgame import PathGame
from isthmus.games.solvers import FrankWolfe
from isthmus.model.data import Sgd
from isthmus.model.derivatives import loss_gradient
from isthmus.model.problem import Problem
from isthmus.papers.vesseron2020.instances import exact, network, random_problem, squared
from isthmus.training import train

SOURCE = "reconstruction, derived here; the paper's abstract states that deep networks are congestion games"
_SEEDS = {"smoke": 3, "desk": 10, "paper": 30}
_STEPS = 500
_SAMPLES = {"smoke": 200, "desk": 2000, "paper": 10_000}
_SOLVED = 1e-6


def game_of(problem: Problem, samples: int) -> PathGame | None:
    """The problem's game on its first samples; None where it has none."""
    try:
        return PathGame(problem.subset(slice(0, samples)))
    except (UnsupportedLayer, HypothesisError, VerificationError):
        return None


PATH_NETWORK = Hypothesis("the network is a path network with a convex loss", lambda problem: game_of(problem, 8) is not None)


def _written_out(problem: Problem) -> Tensor:
    """Outputs as sums over all paths of input times gates times weights, one path after the other."""
    layers = [step for step in problem.network.module if isinstance(step, nn.Linear)]  # pyright: ignore[reportGeneralTypeIssues]
    relu = any(isinstance(step, nn.ReLU) for step in problem.network.module)  # pyright: ignore[reportGeneralTypeIssues]
    weights = [layer.weight.detach() for layer in layers]
    gates, h = [], problem.inputs
    for weight in weights[:-1]:
        z = h @ weight.T
        gates.append((z > 0).double() if relu else torch.ones_like(z))
        h = z * gates[-1]
    total = torch.zeros(problem.samples, len(weights[-1]), dtype=torch.float64)
    for units in itertools.product(*(range(w.shape[1]) for w in weights), range(len(weights[-1]))):
        value = problem.inputs[:, units[0]].clone()
        for gate, unit in zip(gates, units[1:-1], strict=True):
            value = value * gate[:, unit]
        for weight, (a, b) in zip(weights, itertools.pairwise(units), strict=True):
            value = value * weight[b, a]
        total[:, units[-1]] += value
    return total


def _loads(scale: ScaleName, seed: Seed, activation: type[nn.Module] | None) -> Evidence:
    gaps = []
    for index in range(_SEEDS[scale]):
        problem = random_problem((4, 3, 4, 2), seed.child(index), activation=activation)
        outputs = problem.network(problem.inputs)
        gaps.append(float((_written_out(problem) - outputs).abs().max() / outputs.abs().max()))
    return exact(
        "largest difference between outputs and loads (sums over all written-out paths), relative",
        "0",
        gaps,
        tolerance("float64", terms=96, depth=6),
        "float64 rounding of sums over 96 paths",
    )


def check_linear(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Random deep linear networks: every output is the load that all path flows put on it."""
    return _loads(scale, seed, None)


def control_linear(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The same sums for tanh networks, which are no path networks."""
    return _loads(scale, seed, nn.Tanh)


def _edge_identity(game: PathGame, *, gated: bool) -> float:
    """Largest violation of conservation at units and of ``sum over a cut = <c, outputs>``, relative."""
    outputs = game.outputs if gated else game.chain.run(game.problem.inputs, masks=_open(game)).detach()
    scale = float((game.prices * game.outputs).abs().sum())
    total = float((game.prices * outputs).sum())
    return max(game.kirchhoff_residual, abs(float(game.values.types.sum()) - total) / max(scale, 1e-300))


def _open(game: PathGame) -> list[Tensor]:
    return [torch.ones_like(mask) for mask in game.chain.masks(game.problem.inputs)]


def check_gated(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """On this network: value is conserved at every unit, and every cut totals prices times outputs."""
    game = game_of(problem, _SAMPLES[scale])
    assert game is not None
    return _identity_evidence([_edge_identity(game, gated=True)])


def control_gated(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A ReLU network whose loads are computed as if all gates were open."""
    made = random_problem((5, 8, 6, 3), seed, samples=20, activation=nn.ReLU)
    return _identity_evidence([_edge_identity(PathGame(made), gated=False)])


def _identity_evidence(values: list[float]) -> Evidence:
    return exact(
        "largest relative violation of Kirchhoff's law at a unit, or of the total over a cut",
        "0",
        values,
        1e-9,
        "float64 rounding of sums over samples and weights",
    )


def _descended(widths: tuple[int, ...], scale: ScaleName, seed: Seed) -> Evidence:
    gaps = []
    for index in range(_SEEDS[scale]):
        problem = random_problem(widths, seed.child(index), samples=10, orthonormal=True)
        run = train(problem, Sgd(lr=0.01, momentum=0.9), steps=_STEPS, batch=10, checkpoints=(), seed=seed)
        found = PathGame(run.problem_at(_STEPS)).certificate()
        gaps.append(found.gap / found.loss)
    return exact(
        f"gap over loss after gradient descent, widths {'-'.join(map(str, widths))}",
        "0: the network ends at an equilibrium, which is the global minimum",
        gaps,
        1e-4,
        f"what {_STEPS} steps of heavy ball leave on orthonormal inputs",
    )


def check_wide(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Deep linear networks at least as wide as inputs or outputs, trained: they end at an equilibrium."""
    return _descended((3, 4, 4, 2), scale, seed)


def control_wide(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A hidden level of width one: training ends at the best rank-one network, which is no equilibrium."""
    return _descended((3, 1, 2), scale, seed)


def _excess(problem: Problem, seed: Seed) -> tuple[float, float, float]:
    """Loss above the best within the budgets, the gap, and the gradient norm."""
    game = PathGame(problem)
    found = game.certificate()
    solved = game.equilibrate(tolerance=_SOLVED)
    gradient = float(loss_gradient(problem).norm())
    return found.loss - game.costs.loss(solved.loads), found.gap, gradient


def check_certificate(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Random deep linear networks: excess over gap never exceeds one."""
    ratios = []
    for index in range(2 * _SEEDS[scale]):
        excess, gap, _ = _excess(random_problem((4, 3, 4, 3), seed.child(index)), seed)
        ratios.append(excess / gap)
    return _certificate_evidence(ratios, "gap")


def control_certificate(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Near the origin of a deep network the gradient norm is tiny and the excess is not."""
    random = seed.numpy()
    weights = [1e-3 * random.normal(size=(3, 3)) for _ in range(3)]
    made = squared(network(weights), np.eye(3), random.normal(size=(3, 3)))
    game = PathGame(made)
    budgets = np.append(np.ones(3), 0.0)
    excess = game.certificate(budgets=budgets).loss - _best_loss(made, seed)
    return _certificate_evidence([excess / float(loss_gradient(made).norm())], "gradient norm")


def _best_loss(problem: Problem, seed: Seed) -> float:
    """Least loss over matrices with column sums of absolute values at most one, by a network that spends that budget."""
    rich = squared(network([np.eye(3)]), problem.inputs.numpy(), problem.targets.numpy())
    game = PathGame(rich)
    return game.costs.loss(game.equilibrate(tolerance=_SOLVED).loads)


def _certificate_evidence(ratios: list[float], name: str) -> Evidence:
    return exact(
        f"(loss - least loss within the budgets) over {name}", "at most 1", ratios, 1 + 1e-6, "accuracy of the solved optimum"
    )


def _dead_unit() -> Problem:
    """A constrained critical point with a dead unit that is no equilibrium."""
    weights = [np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[0.5, 0.0], [0.5, 0.0], [0.0, 1.0]])]
    return squared(network(weights), np.eye(2), np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5]]))


def check_equilibrium(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Unsigned games: the loss at equilibrium equals the least loss that plain Frank-Wolfe, another road, comes to."""
    values = []
    for index in range(_SEEDS[scale]):
        random = seed.child(index).numpy()
        made = squared(network([np.full((3, 3), 1 / 3)]), random.uniform(0, 1, (8, 3)), random.uniform(0, 1, (8, 3)))
        game = PathGame(made, signed=False)
        losses = [
            game.costs.loss(game.equilibrate(solver=solver, tolerance=accuracy).loads)
            for solver, accuracy in ((None, _SOLVED), (FrankWolfe(steps=400), 3e-3))
        ]
        values.append(losses[0] - losses[1])
    return _equilibrium_evidence(values)


def control_equilibrium(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A point at which every unit's used arcs are its cheapest (stationary), yet a dead unit hides better paths."""
    game = PathGame(_dead_unit(), signed=False)
    found = game.certificate()
    if found.node_gap > _SOLVED:
        return _equilibrium_evidence([np.nan])
    return _equilibrium_evidence([found.loss - game.costs.loss(game.equilibrate(tolerance=_SOLVED).loads)])


def _equilibrium_evidence(values: list[float]) -> Evidence:
    return exact(
        "loss at a point that passes for an equilibrium, minus the least loss",
        "0",
        values,
        1e-5,
        "accuracy of the solved equilibrium",
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="linear_is_game",
        kind="exact",
        statement="A deep linear network is a routing game: its outputs are the loads that signed path flows put on pairs of a sample "
        "and an output, and its loss is their potential.",
        source=SOURCE,
        hypotheses=(),
        check=check_linear,
        control=control_linear,
    ),
    Claim(
        id="nonlinear_is_game",
        kind="exact",
        statement="With its gates frozen, this network is a routing game: value is conserved at every unit and totals prices times outputs "
        "over every cut.",
        source=SOURCE,
        hypotheses=(PATH_NETWORK,),
        check=check_gated,
        control=control_gated,
    ),
    Claim(
        id="surface_results_recovered",
        kind="exact",
        statement="Deep linear networks at least as wide as inputs or outputs train to an equilibrium, which is the global minimum; with a "
        "narrower level they end at a rank-limited optimum that is no equilibrium.",
        source=SOURCE + "; agrees with known results on deep linear networks",
        hypotheses=(),
        check=check_wide,
        control=control_wide,
    ),
    Claim(
        id="certificate_bounds_excess",
        kind="exact",
        statement="The gap bounds how far the loss is above the best within the budgets; a small gradient norm bounds nothing.",
        source="derived here",
        hypotheses=(),
        check=check_certificate,
        control=control_certificate,
    ),
    Claim(
        id="equilibrium_is_global",
        kind="exact",
        statement="An equilibrium of the routing game attains the least loss within the budgets; a constrained critical point need not be "
        "an equilibrium (a dead unit can hide better paths), so 'local minima are equilibria' is false as it stands.",
        source="derived here; corrects the literal reading",
        hypotheses=(),
        check=check_equilibrium,
        control=control_equilibrium,
    ),
)
