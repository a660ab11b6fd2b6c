"""Road networks: equilibria by several solvers, TNTP files, first thru node, bad input."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from isthmus._core.errors import BudgetError, InputError, ShapeError
from isthmus.games.costs import MonomialCosts
from isthmus.games.equilibrium import wardrop_equilibrium
from isthmus.games.traffic import (
    ConjugateFrankWolfe,
    RoadNetwork,
    braess,
    compiled,
    generated_grid,
    paths,
    pigou,
    read_tntp,
    read_tntp_flows,
    system_optimum,
    traffic_anarchy,
    traffic_tolls,
    user_equilibrium,
    wheatstone,
)
from isthmus.games.traffic.convex import ConvexProgram
from isthmus.results.games import TrafficAssignment

NET = """<NUMBER OF ZONES> 2
<NUMBER OF NODES> 4
<FIRST THRU NODE> {thru}
<NUMBER OF LINKS> 5
<END OF METADATA>

~ init term capacity length free_flow_time b power speed toll type ;
1 3 1 1 1 1 1 0 0 1 ;
1 4 1 1 50 0.02 1 0 0 1 ;
3 2 1 1 50 0.02 1 0 0 1 ;
4 2 1 1 1 1 1 0 0 1 ;
3 4 1 1 10 0.1 1 0 0 1 ;
"""
TRIPS = "<NUMBER OF ZONES> 2\n<TOTAL OD FLOW> 6\n<END OF METADATA>\n\nOrigin 1\n  1 : 9.0;  2 : 6.0;\nOrigin 2\n"


def zones_in_line(first_thru: int) -> RoadNetwork:
    """Zones 0, 1, 2; the cheap way from 0 to 2 leads through zone 1, the dear one through node 3."""
    tail, head = np.array([0, 1, 0, 3]), np.array([1, 2, 3, 2])
    costs = MonomialCosts(np.array([1.0, 1, 5, 5]), np.full(4, 0.1), np.ones(4))
    ends = [np.array([0, 0, 1]), np.array([2, 1, 2])]
    return RoadNetwork(4, tail, head, costs, *ends, np.array([2.0, 1, 1]), first_thru=first_thru)


def test_braess_pigou_wheatstone():
    found = user_equilibrium(braess())
    np.testing.assert_allclose(found.flow, [4, 2, 2, 4, 2], atol=1e-9)
    assert found.potential == pytest.approx(386, rel=1e-12)
    assert found.total_cost == pytest.approx(552, rel=1e-10)
    assert system_optimum(braess()).total_cost == pytest.approx(498, rel=1e-10)
    assert user_equilibrium(braess(bridge=False)).total_cost == pytest.approx(498, rel=1e-10)
    assert user_equilibrium(braess().without_link(4)).total_cost == pytest.approx(498, rel=1e-10)
    assert traffic_anarchy(braess()) == pytest.approx(1.108434, abs=1e-5)
    assert traffic_anarchy(pigou()) == pytest.approx(4 / 3, abs=1e-9)
    assert traffic_anarchy(pigou(2)) == pytest.approx(1.625752, abs=1e-6)
    assert traffic_anarchy(wheatstone()) == pytest.approx(4 / 3, abs=1e-9)


def test_tolls_make_the_optimum_the_equilibrium():
    network = generated_grid(5, 5, zones=6, seed=3)
    best = system_optimum(network, tolerance=1e-12)
    tolled = user_equilibrium(network.with_costs(network.costs.shifted(traffic_tolls(network, tolerance=1e-12))), tolerance=1e-12)
    np.testing.assert_allclose(tolled.flow, best.flow, atol=1e-4 * best.flow.max())
    assert user_equilibrium(network).total_cost > best.total_cost * (1 + 1e-4)


@pytest.mark.parametrize("solver", [ConjugateFrankWolfe(memory=m) for m in (0, 1, 2)])
def test_link_methods_agree_with_paths(solver):
    network = generated_grid(5, 6, zones=7, saturation=1.5, seed=1)
    exact = user_equilibrium(network, tolerance=1e-12)
    found = user_equilibrium(network, solver=solver, tolerance=1e-2 if solver.memory == 0 else 1e-3)
    assert found.status.ok
    assert exact.potential <= found.potential * (1 + 1e-12)
    assert found.potential - exact.potential <= found.gap * (1 + 1e-6)


def test_memory_pays():
    network = generated_grid(5, 6, zones=7, seed=1)
    steps = [len(user_equilibrium(network, solver=ConjugateFrankWolfe(memory=m), tolerance=1e-3).gap_history) for m in (0, 1, 2)]
    assert steps[2] < steps[1] < steps[0]


def test_against_a_convex_program_and_written_out_paths():
    network = generated_grid(3, 4, zones=4, saturation=2.0, seed=2)
    exact = user_equilibrium(network, tolerance=1e-13)
    oracle = user_equilibrium(network, solver=ConvexProgram(), tolerance=1e-6)
    np.testing.assert_allclose(exact.flow, oracle.flow, atol=1e-3 * exact.flow.max())
    assert exact.potential <= oracle.potential * (1 + 1e-9)
    written = wardrop_equilibrium(network.path_game(), tolerance=1e-8)
    np.testing.assert_allclose(written.loads, exact.flow, atol=1e-4)
    assert exact.used_paths >= len(network.demand)
    with pytest.raises(BudgetError, match="simple paths"):
        network.path_game(limit=10)


@pytest.mark.parametrize("seed", range(3))
def test_gap_is_what_enumeration_says(seed):
    network = generated_grid(3, 3, zones=4, saturation=2.0, seed=seed)
    found = user_equilibrium(network, solver=ConjugateFrankWolfe(memory=0, steps=5), tolerance=0)
    game = network.path_game()
    costs = game.rates.matvec(network.costs.value(found.flow))
    least = sum(d * costs[game.types == t].min() for t, d in enumerate(network.demand))
    assert found.gap == pytest.approx(float(network.costs.value(found.flow) @ found.flow) - least, rel=1e-9)


def test_first_thru_node_forbids_passing_zones():
    free, strict = user_equilibrium(zones_in_line(0)), user_equilibrium(zones_in_line(3))
    np.testing.assert_allclose(free.flow, [3, 3, 0, 0], atol=1e-9)
    np.testing.assert_allclose(strict.flow, [1, 1, 2, 2], atol=1e-9)
    assert free.potential < strict.potential


def test_same_numbers_without_numba(monkeypatch):
    network = generated_grid(4, 4, zones=5, saturation=1.5, seed=4)
    before = user_equilibrium(network, tolerance=1e-11)
    monkeypatch.setitem(sys.modules, "numba", None)
    spec = importlib.util.spec_from_file_location("isthmus_compiled_plain", compiled.__file__)
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    for name in ("known", "sweep", "trace"):
        assert not hasattr(getattr(plain, name), "py_func")  # interpreted
        monkeypatch.setattr(paths, name, getattr(plain, name))
    after = user_equilibrium(network, tolerance=1e-11)
    np.testing.assert_allclose(after.flow, before.flow, rtol=1e-9, atol=1e-12)
    assert after.used_paths == before.used_paths


def test_parallel_links_and_zero_cost_links():
    costs = MonomialCosts(np.array([0.0, 0, 0]), np.array([1.0, 1, 0]), np.ones(3))
    network = RoadNetwork(3, np.array([0, 0, 1]), np.array([1, 1, 2]), costs, np.array([0]), np.array([2]), np.array([2.0]))
    np.testing.assert_allclose(user_equilibrium(network).flow, [1, 1, 2], atol=1e-12)


def test_record_round_trip(tmp_path):
    found = user_equilibrium(braess())
    assert TrafficAssignment.load(found.save(tmp_path / "a.safetensors")).same_numbers(found)


def test_tntp_files(tmp_path):
    (tmp_path / "b_net.tntp").write_text(NET.format(thru=3))
    (tmp_path / "b_trips.tntp").write_text(TRIPS)
    network = read_tntp(tmp_path / "b_net.tntp", tmp_path / "b_trips.tntp")
    assert network.first_thru == 2 and network.nodes == 4
    np.testing.assert_array_equal(network.demand, [6.0])  # demand within zone 1 is dropped
    np.testing.assert_allclose(network.costs.value(np.full(5, 2.0)), [3, 52, 52, 3, 12])
    assert user_equilibrium(network).status.ok
    (tmp_path / "b_flow.tntp").write_text("From To Volume Cost\n1 3 4.0 1.0\n1 4 2.0 1.0\n")
    np.testing.assert_array_equal(read_tntp_flows(tmp_path / "b_flow.tntp"), [4.0, 2.0])


@pytest.mark.parametrize(
    ("net", "trips", "words"),
    [
        (NET.replace("1 3 1 1 1 1 1 0 0 1 ;", "1 3 1 ;"), TRIPS, "line 8: a link has 3 columns"),
        (NET.replace("50 0.02", "fifty 0.02"), TRIPS, "'fifty' is not a number"),
        (NET.replace("<NUMBER OF LINKS> 5", "<NUMBER OF LINKS> 7"), TRIPS, "truncated"),
        (NET.replace("<NUMBER OF NODES> 4", ""), TRIPS, "NUMBER OF NODES"),
        (NET.replace("1 3 1 1 1", "1 3 0 1 1"), TRIPS, "capacity 0"),
        (NET.replace("1 3 1 1 1 1 1", "1 3 1 1 1 -1 1"), TRIPS, "decrease with traffic"),
        (NET, TRIPS.replace("2 : 6.0", "2 ; 6.0"), "destination : demand"),
        (NET, TRIPS.replace("6.0", "-6.0"), "demand from node 0 to node 1 is -6"),
        (NET, "Origin 1\n", "no demand"),
        (NET, TRIPS.replace("2 : 6.0", "9 : 6.0"), "outside"),
    ],
)
def test_malformed_tntp(tmp_path, net, trips, words):
    (tmp_path / "x_net.tntp").write_text(net.format(thru=1))
    (tmp_path / "x_trips.tntp").write_text(trips)
    with pytest.raises(InputError, match=words):
        read_tntp(tmp_path / "x_net.tntp", tmp_path / "x_trips.tntp")


def test_missing_tntp(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_tntp(tmp_path / "no_net.tntp", tmp_path / "no_trips.tntp")


def test_unreachable_and_misfit_networks():
    costs = MonomialCosts(np.ones(1), np.ones(1), np.ones(1))
    with pytest.raises(InputError, match="no path leads from node 1 to node 0"):
        RoadNetwork(2, np.array([0]), np.array([1]), costs, np.array([1]), np.array([0]), np.array([1.0]))
    with pytest.raises(InputError, match="nothing to assign"):
        RoadNetwork(2, np.array([0]), np.array([1]), costs, np.array([0]), np.array([0]), np.array([1.0]))
    with pytest.raises(InputError, match="when empty"):
        RoadNetwork(2, [0], [1], costs.shifted(-3.0), np.array([0]), np.array([1]), np.array([1.0]))
    with pytest.raises(ShapeError, match="one each per link"):
        RoadNetwork(2, np.array([0, 1]), np.array([1]), costs, np.array([0]), np.array([1]), np.array([1.0]))
    with pytest.raises(InputError, match="2 to 4 zones"):
        generated_grid(2, 2, zones=5)


@pytest.mark.skipif("ISTHMUS_TNTP" not in os.environ, reason="set ISTHMUS_TNTP to a folder with SiouxFalls_net.tntp")
def test_sioux_falls():
    folder = Path(os.environ["ISTHMUS_TNTP"])
    network = read_tntp(folder / "SiouxFalls_net.tntp", folder / "SiouxFalls_trips.tntp")
    found = user_equilibrium(network)
    assert found.potential == pytest.approx(4231335.28711, rel=1e-9)
    assert found.relative_gap <= 1e-10
    if (folder / "SiouxFalls_flow.tntp").exists():
        np.testing.assert_allclose(found.flow, read_tntp_flows(folder / "SiouxFalls_flow.tntp"), atol=1e-2)
