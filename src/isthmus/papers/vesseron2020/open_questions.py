"""What the game view opens: price of anarchy, tolls, Braess, learning dynamics; each with what was found here."""

from collections.abc import Sequence

import numpy as np
from torch import nn

from isthmus._core.seeds import Seed
from isthmus.claims import Claim, Evidence, Hypothesis
from isthmus.claims.claim import ScaleName
from isthmus.games.chain import Affine
from isthmus.games.congestion import CongestionGame
from isthmus.games.costs import MonomialCosts
from isthmus.games.equilibrium import price_of_anarchy, social_optimum, wardrop_equilibrium
from isthmus.games.losses import CostKind
from isthmus.games.pathgame import PathGame
from isthmus.games.solvers import MirrorDescent
from isthmus.model.problem import Problem
from isthmus.papers.vesseron2020.claims import PATH_NETWORK, game_of
from isthmus.papers.vesseron2020.instances import exact, random_problem, splitting, written

_SEEDS = {"smoke": 3, "desk": 10, "paper": 30}
_SAMPLES = {"smoke": 200, "desk": 2000, "paper": 10_000}
_SOLVED = 1e-8
_CLASSES = np.array([0, 1, 2, 1])


def _anarchy(problems: Sequence[Problem]) -> Evidence:
    excess = []
    for problem in problems:
        game = PathGame(problem, "average", signed=False)
        made = game.strategies()
        selfish = game.costs.loss(wardrop_equilibrium(made, tolerance=_SOLVED).loads)
        best = game.costs.loss(social_optimum(made, tolerance=_SOLVED)[0].loads)
        excess.append((selfish - best) / problem.samples)
    return exact(
        "loss at the equilibrium under average costs minus the least loss, per sample",
        "0: a price of anarchy of one",
        excess,
        1e-6,
        "accuracy of the solved equilibria",
    )


def check_realizable(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """One-hot inputs, each with its class: some column-stochastic matrix fits all targets."""
    inputs = [seed.child(i).numpy().integers(0, 4, 12) for i in range(_SEEDS[scale])]
    return _anarchy([splitting(np.eye(4)[x], np.eye(3)[_CLASSES[x]]) for x in inputs])


def control_realizable(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Random one-hot targets on random nonnegative inputs, which no matrix fits."""
    random = seed.numpy()
    return _anarchy([splitting(random.dirichlet(np.ones(4), 12), np.eye(3)[random.integers(0, 3, 12)])])


def _largest_fall(problem: Problem, cost: CostKind) -> float:
    """How far forbidding one input-output pair lowers the loss at equilibrium, relative."""
    game = PathGame(problem, cost, signed=False)
    made = written(game)
    before = game.costs.loss(wardrop_equilibrium(made, tolerance=_SOLVED).loads)
    after = [game.costs.loss(wardrop_equilibrium(made.without([s]), tolerance=_SOLVED).loads) for s in range(len(made.types))]
    return (before - min(after)) / before


def _deletions(cost: CostKind, count: int, seed: Seed) -> Evidence:
    falls = []
    for index in range(count):
        random = seed.child(index).numpy()
        falls.append(_largest_fall(splitting(random.uniform(0, 1, (2, 3)), random.uniform(0, 1, (2, 3))), cost))
    return exact(
        f"largest relative fall of the equilibrium loss when one of 9 input-output pairs is forbidden, {cost} costs",
        "none",
        falls,
        1e-5,
        "accuracy of the solved equilibria",
    )


def check_no_braess(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Marginal costs: the equilibrium is the optimum, and fewer strategies cannot do better."""
    return _deletions("marginal", 4 * _SEEDS[scale], seed)


def control_no_braess(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Average costs on instances of the same kind: Braess's paradox occurs."""
    return _deletions("average", 4 * _SEEDS[scale], seed)


def _removals(game: PathGame, *, last: bool) -> float:
    """Largest amount by which the loss after removing a unit undercuts its first-order value, relative to the loss."""
    scan = game.braess_scan(limit=64)
    chosen = (scan.layer == scan.layer.max()) == last
    short = scan.first_order[chosen] - scan.change[chosen]
    return float(short.max()) / scan.loss if len(short) else 0.0


def _removal_evidence(values: list[float]) -> Evidence:
    return exact(
        "largest shortfall of the loss without a unit below loss - sum of v_p C_p over its paths, relative to the loss",
        "0",
        values,
        1e-9,
        "float64 rounding",
    )


def check_removal(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """On this network: the 64 strongest units; those of the last hidden map count."""
    game = game_of(problem, _SAMPLES[scale])
    assert game is not None
    return _removal_evidence([_removals(game, last=True)])


def control_removal(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Units of earlier maps of random ReLU networks, for which the inequality is not true."""
    games = [PathGame(random_problem((3, 6, 5, 2), seed.child(i), activation=nn.ReLU)) for i in range(12)]
    return _removal_evidence([max(_removals(game, last=False) for game in games)])


def _ends_affine(problem: Problem) -> bool:
    """Only then are the outputs affine in the size of a unit of the last hidden map."""
    game = game_of(problem, 8)
    if game is None or len(game.chain.affines) < 2:
        return False
    return any(isinstance(step, Affine) for step in game.chain.hops()[-1])


def _tolled(scale: ScaleName, seed: Seed, charge: float) -> Evidence:
    gaps = []
    for index in range(_SEEDS[scale]):
        random = seed.child(index).numpy()
        game = PathGame(splitting(random.dirichlet(np.ones(4), 10), random.uniform(0, 1, (10, 3))), "average", signed=False)
        made = game.strategies()
        best = social_optimum(made, tolerance=_SOLVED)[0]
        average, marginal = game.costs.value(best.loads), game.costs.marginal().value(best.loads)
        paid = made.rates.matvec(average + charge * (marginal - average))
        least = np.array([paid[made.types == t].min() for t in range(len(made.demands))])
        gaps.append(float(best.flows @ paid - made.demands @ least))
    return exact("Wardrop gap of the best network when tolls are charged", "0", gaps, 1e-5, "accuracy of the solved optimum")


def check_tolls(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Marginal tolls ``l c'(l)`` on top of average costs."""
    return _tolled(scale, seed, 1.0)


def control_tolls(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Half of them."""
    return _tolled(scale, seed, 0.5)


def _ratios(power: float, count: int, seed: Seed) -> Evidence:
    found = []
    for index in range(count):
        random = seed.child(index).numpy()
        types = np.sort(np.concatenate([np.arange(2), random.integers(0, 2, 4)]))
        costs = MonomialCosts(random.uniform(0, 1, 4), random.uniform(0.1, 2, 4), np.full(4, power))
        game = CongestionGame(random.uniform(0, 1, (6, 4)), types, random.uniform(0.5, 2, 2), costs)
        found.append(price_of_anarchy(game, tolerance=1e-6))
    pigou = CongestionGame(
        np.eye(2), [0, 0], [1.0], MonomialCosts(np.array([1.0, 0]), np.array([0.0, 1]), np.array([1.0, power]))
    )
    found.append(price_of_anarchy(pigou, tolerance=1e-9))
    name = "affine" if power == 1 else f"degree {power:g}"
    return exact(
        f"price of anarchy, nonnegative costs, {name}", "at most 4/3", found, 4 / 3 + 1e-5, "accuracy of the solved equilibria"
    )


def check_affine(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Random games with affine costs, as squared loss has, and Pigou's, which meets the bound."""
    return _ratios(1.0, 4 * _SEEDS[scale], seed)


def control_affine(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Costs of degree four exceed it."""
    return _ratios(4.0, 1, seed)


def _replicated(scale: ScaleName, seed: Seed, *, interior: bool) -> Evidence:
    gaps = []
    for index in range(_SEEDS[scale]):
        random = seed.child(index).numpy()
        inputs = np.eye(3)[np.arange(6) % 3] + 0.1 * random.uniform(size=(6, 3))
        made = PathGame(splitting(inputs, random.uniform(0, 1, (6, 3))), signed=False).strategies()
        start = made.uniform() if interior else made.best_response(-made.strategy_costs(made.uniform()))
        found = wardrop_equilibrium(made, solver=MirrorDescent(step=0.2, steps=1500), tolerance=1e-4, start=start)
        rises = float(np.maximum(np.diff(found.potential_history), 0).max(initial=0.0))
        gaps.append(found.gap + rises)
    return exact(
        "gap after replicator dynamics on path flows, plus any rise of the potential",
        "0",
        gaps,
        5e-3,
        "what 1500 steps leave",
    )


def check_replicator(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """From flows that use every path."""
    return _replicated(scale, seed, interior=True)


def control_replicator(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """From flows on the dearest paths alone: what is not used is never learned."""
    return _replicated(scale, seed, interior=False)


OPEN_QUESTIONS: tuple[Claim, ...] = (
    Claim(
        id="realizable_classes_no_anarchy",
        kind="exact",
        statement="Price of anarchy: when one-hot targets can be fitted exactly (squared loss, nonnegative paths and inputs), selfish "
        "routing under average costs loses nothing; when they cannot, it does.",
        source="reconstruction of 'classification is an equilibrium' (second hand), derived here",
        hypotheses=(),
        check=check_realizable,
        control=control_realizable,
    ),
    Claim(
        id="affine_anarchy",
        kind="exact",
        statement="Price of anarchy: with affine nonnegative costs, as shifted squared loss has, it is at most 4/3.",
        source="known result on congestion games, recalled from notes; measured here",
        hypotheses=(),
        check=check_affine,
        control=control_affine,
    ),
    Claim(
        id="no_braess_at_optimum",
        kind="exact",
        statement="Braess: under marginal costs forbidding paths never lowers the loss at equilibrium; under average costs it can.",
        source="derived here; the abstract names open problems",
        hypotheses=(),
        check=check_no_braess,
        control=control_no_braess,
    ),
    Claim(
        id="last_hidden_removal",
        kind="exact",
        statement="Braess: removing a unit of the last hidden map leaves a loss of at least L - sum of v_p C_p over its paths, so at a "
        "critical point it never helps training; earlier units can violate this.",
        source="derived here",
        hypotheses=(PATH_NETWORK, Hypothesis("it has hidden units, and no gate follows its last map", _ends_affine)),
        check=check_removal,
        control=control_removal,
    ),
    Claim(
        id="tolls_reach_the_optimum",
        kind="exact",
        statement="Tolls: marginal tolls make the best network an equilibrium of selfish routing under average costs.",
        source="known result on congestion games, recalled; derived here for networks",
        hypotheses=(),
        check=check_tolls,
        control=control_tolls,
    ),
    Claim(
        id="replicator_finds_the_optimum",
        kind="exact",
        statement="Learning dynamics: replicator dynamics on path flows lowers the loss at every step and reaches the optimum when every "
        "path starts with some flow.",
        source="derived here",
        hypotheses=(),
        check=check_replicator,
        control=control_replicator,
    ),
)
