"""Congestion games with their strategies written out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus._core.errors import InputError, ShapeError
from isthmus.games.atomic import AtomicGame, pure_equilibrium
from isthmus.games.congestion import CongestionGame
from isthmus.games.costs import MonomialCosts, anarchy_bound
from isthmus.games.equilibrium import marginal_tolls, price_of_anarchy, social_optimum, wardrop_equilibrium
from isthmus.games.solvers import FrankWolfe, MirrorDescent, ProjectedGradient, project_to_simplices
from tests.reference import games as reference

BRAESS_RATES = np.array([[1.0, 0, 1, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 1, 1]])  # s-a-t, s-b-t, s-a-b-t


def braess_game(demand: float = 6.0) -> CongestionGame:
    costs = MonomialCosts(np.array([0.0, 50, 50, 0, 10]), np.array([10.0, 1, 1, 10, 1]), np.ones(5))
    return CongestionGame(BRAESS_RATES, [0, 0, 0], [demand], costs)


def random_game(seed: int) -> tuple[CongestionGame, dict]:
    random = np.random.default_rng(seed)
    types = np.sort(np.concatenate([np.arange(3), random.integers(0, 3, 6)]))
    parts = {
        "rates": random.uniform(0, 1, (9, 5)) * (random.uniform(size=(9, 5)) < 0.6),
        "types": types,
        "demands": random.uniform(0.5, 2, 3),
        "constant": random.uniform(0, 2, 5),
        "slope": random.uniform(0.1, 2, 5),
    }
    costs = MonomialCosts(parts["constant"], parts["slope"], np.ones(5))
    return CongestionGame(parts["rates"], types, parts["demands"], costs), parts


@pytest.mark.parametrize(
    ("solver", "tolerance"), [(ProjectedGradient(), 1e-9), (MirrorDescent(step=0.01), 1e-5), (FrankWolfe(), 1e-2)]
)
def test_braess_by_three_solvers(solver, tolerance):
    found = wardrop_equilibrium(braess_game(), solver=solver, tolerance=tolerance)
    assert found.status.ok
    assert found.potential == pytest.approx(386, abs=max(1e-7, 2 * tolerance))
    np.testing.assert_allclose(found.flows, 2, atol=1e-3 if tolerance < 1e-3 else 0.1)


def test_braess_values():
    game = braess_game()
    equilibrium = wardrop_equilibrium(game, tolerance=1e-10)
    _, cost = social_optimum(game, tolerance=1e-10)
    assert equilibrium.social_cost == pytest.approx(552, rel=1e-9)
    assert cost == pytest.approx(498, rel=1e-9)
    assert price_of_anarchy(game) == pytest.approx(552 / 498, rel=1e-8)
    closed = game.without([2])
    assert wardrop_equilibrium(closed).social_cost == pytest.approx(498, rel=1e-8)


def test_tolls_make_the_optimum_an_equilibrium():
    game = braess_game()
    tolls = marginal_tolls(game, tolerance=1e-11)
    optimum, _ = social_optimum(game, tolerance=1e-11)
    tolled = game.with_costs(game.costs.shifted(tolls))
    paid = tolled.strategy_costs(optimum.flows)
    assert paid[0] == pytest.approx(paid[1], rel=1e-6)
    assert paid[2] >= paid[0] - 1e-6
    assert tolled.gap(optimum.flows).absolute < 1e-5
    assert game.gap(optimum.flows).absolute > 1


@pytest.mark.parametrize("seed", range(4))
def test_equilibrium_loads_against_a_quadratic_program(seed):
    game, parts = random_game(seed)
    exact = reference.beckmann(**parts)
    np.testing.assert_allclose(wardrop_equilibrium(game, tolerance=1e-11).loads, exact, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_social_optimum_is_the_marginal_equilibrium_and_solves_its_own_inequality(seed):
    game, parts = random_game(seed)
    exact = reference.beckmann(**{**parts, "slope": 2 * parts["slope"]})
    optimum, cost = social_optimum(game, tolerance=1e-10)
    assert optimum.gap <= 1e-7
    assert cost == pytest.approx(float(exact @ (parts["constant"] + parts["slope"] * exact)), rel=1e-6)
    assert cost <= wardrop_equilibrium(game).social_cost + 1e-9


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_pigou_meets_its_bound(degree):
    costs = MonomialCosts(np.array([1.0, 0]), np.array([0.0, 1]), np.array([1.0, degree]))
    game = CongestionGame(np.eye(2), [0, 0], [1.0], costs)
    assert price_of_anarchy(game, tolerance=1e-10) == pytest.approx(anarchy_bound(degree), abs=1e-6)


def test_known_bounds():
    assert anarchy_bound(1) == pytest.approx(4 / 3)
    assert anarchy_bound(2) == pytest.approx(1.625752, abs=1e-6)
    assert anarchy_bound(0) == 1


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_affine_anarchy_stays_below_four_thirds(seed):
    game, _ = random_game(seed)
    assert 1 - 1e-6 <= price_of_anarchy(game, tolerance=1e-8) <= 4 / 3 + 1e-6


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_gap_bounds_the_potential(seed):
    game, _ = random_game(seed)
    weights = np.random.default_rng(seed + 1).exponential(1, 9)
    flows = weights / np.bincount(game.types, weights)[game.types] * game.demands[game.types]
    best = wardrop_equilibrium(game, tolerance=1e-10).potential
    gap = game.gap(flows)
    assert -1e-9 <= game.potential(flows) - best <= gap.absolute + 1e-9
    assert gap.by_type.sum() == pytest.approx(gap.absolute)


def test_strategy_costs_are_the_gradient_of_the_potential():
    game, _ = random_game(7)
    flows = game.uniform()
    step = 1e-6 * np.eye(9)
    slope = [(game.potential(flows + e) - game.potential(flows - e)) / 2e-6 for e in step]
    np.testing.assert_allclose(game.strategy_costs(flows), slope, rtol=1e-6)


def test_replicator_lowers_the_potential_at_every_step():
    game, _ = random_game(3)
    found = wardrop_equilibrium(game, solver=MirrorDescent(), tolerance=1e-7)
    assert found.status.ok
    assert (np.diff(found.potential_history) <= 1e-12).all()


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_projection_is_the_nearest_point(seed):
    random = np.random.default_rng(seed)
    types = np.concatenate([np.arange(3), random.integers(0, 3, 8)])
    masses = random.uniform(0, 2, 3)
    point = random.normal(size=11)
    projected = project_to_simplices(point, types, masses)
    np.testing.assert_allclose(np.bincount(types, projected), masses, atol=1e-12)
    assert (projected >= 0).all()
    for _ in range(20):
        raw = random.exponential(1, 11)
        other = raw / np.bincount(types, raw)[types] * masses[types]
        assert (point - projected) @ (other - projected) <= 1e-9  # obtuse angle: the nearest point of a convex set


def test_atomic_equilibrium_by_brute_force():
    random = np.random.default_rng(0)
    for _ in range(10):
        strategies = [[tuple(random.choice(5, 2, replace=False)) for _ in range(3)] for _ in range(4)]
        game = AtomicGame(strategies, MonomialCosts(random.uniform(0, 1, 5), random.uniform(0, 1, 5), np.ones(5)))
        profile, _ = pure_equilibrium(game)
        assert all(
            game.player_costs([*profile[:i], c, *profile[i + 1 :]])[i] >= game.player_costs(profile)[i] - 1e-9
            for i, c in itertools.product(range(4), range(3))
        )
        changed = [*profile]
        changed[1] = (profile[1] + 1) % 3
        rise = game.player_costs(changed)[1] - game.player_costs(profile)[1]
        assert game.potential(changed) - game.potential(profile) == pytest.approx(rise)


def test_slope_of_costs_by_differences():
    costs = MonomialCosts(np.array([1.0, 0, 2, 1]), np.array([0.5, 2, 1, 3]), np.array([0.0, 1, 2.5, 0.5]))
    loads = np.array([1.3, 0.4, 2.0, 0.7])
    np.testing.assert_allclose(costs.slope(loads), (costs.value(loads + 1e-6) - costs.value(loads - 1e-6)) / 2e-6, rtol=1e-6)
    assert np.isfinite(costs.slope(np.zeros(4))).all()


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: MonomialCosts(np.array([1.0]), np.array([-1.0]), np.array([1.0])), InputError, "decreases with its load"),
        (lambda: MonomialCosts(np.ones(2), np.ones(3), np.ones(2)), ShapeError, "one entry per resource"),
        (lambda: MonomialCosts(np.array([np.nan]), np.ones(1), np.ones(1)), InputError, "not finite"),
        (lambda: CongestionGame(np.eye(2), [0, 0], [-1.0], MonomialCosts(1, 1, 1)), InputError, "demand of type 0"),
        (lambda: CongestionGame(np.eye(2), [0, 0], [1.0, 1.0], MonomialCosts(1, 1, 1)), InputError, "needs a strategy"),
        (lambda: CongestionGame(np.eye(2), [0], [1.0], MonomialCosts(1, 1, 1)), ShapeError, "2 strategies"),
        (lambda: AtomicGame([], MonomialCosts(1, 1, 1)), InputError, "at least one strategy"),
        (lambda: price_of_anarchy(braess_game(), shift=-1000), InputError, "has no meaning"),
    ],
)
def test_bad_input(build, error, words):
    with pytest.raises(error, match=words):
        build()
