"""Ratios, layers, crossovers, asymptotics and the table."""

import itertools
import json
import math
import subprocess
import sys
from fractions import Fraction

import pytest

from isthmus._core.errors import BudgetError, InputError
from isthmus.combinatorics.asymptotics import (
    log10_critical_below,
    log10_critical_subspaces,
    log10_minima_subspaces,
    log_mild,
    mild_ratio,
    saddle_point,
)
from isthmus.combinatorics.balance import (
    critical_to_minima,
    crossover_width,
    layers_critical,
    layers_critical_to_minima,
    layers_minima,
    nearest_crossover_width,
)
from isthmus.combinatorics.subspaces import critical_subspaces, minima_subspaces
from isthmus.combinatorics.table import count_table, log10


def test_reference_ratios() -> None:
    assert [float(critical_to_minima(4, m)) for m in (10, 20, 100)] == pytest.approx([2.78e-3, 2.8e-8, 1.9e-74], rel=0.02)
    one, two = layers_critical_to_minima([4], [5]), layers_critical_to_minima([4, 4], [5, 5])
    assert [float(one), float(two)] == pytest.approx([0.5028, 0.9232], abs=5e-5)
    assert float(layers_critical_to_minima([4], [8])) == pytest.approx(0.02103, abs=5e-6)
    assert float(layers_critical_to_minima([4, 4], [8, 8])) == pytest.approx(0.00641, abs=5e-6)
    assert one == critical_to_minima(4, 5)


def test_layers_by_brute_force_over_all_narrower_widths() -> None:
    minimal, widths = (2, 3, 2), (4, 4, 3)
    expected = sum(
        math.prod(critical_subspaces(s, m) for s, m in zip(chosen, widths, strict=True))
        for chosen in ((a, b, c) for a in (1, 2) for b in (1, 2, 3) for c in (1, 2))
        if chosen != minimal
    )
    assert layers_critical(minimal, widths) == expected
    assert layers_minima(minimal, widths) == 62 * 60 * 12


@pytest.mark.parametrize("r", range(1, 30))
def test_crossovers_by_exact_fractions(r: int) -> None:
    def ratio(m: int) -> Fraction:
        return Fraction(sum(critical_subspaces(s, m) for s in range(1, r)), minima_subspaces(r, m))

    m = crossover_width(r)
    assert ratio(m) < 1
    assert m == r or ratio(m - 1) >= 1
    n = nearest_crossover_width(r)
    assert n <= m
    assert r == 1 or critical_subspaces(r - 1, n) < minima_subspaces(r, n)
    assert n == r or critical_subspaces(r - 1, n - 1) >= minima_subspaces(r, n - 1)


def test_weights_move_the_crossover() -> None:
    assert crossover_width(4, [2, 2, 1]) >= crossover_width(4)
    assert critical_to_minima(3, 5, [2, 7]) == Fraction(2 * 30 + 7, 450)
    with pytest.raises(InputError, match="3 weights"):
        crossover_width(4, [1, 1])


def test_mild_and_vast_limits() -> None:
    def gap(r: int) -> float:
        return abs(mild_ratio(r, 1, 1) / float(Fraction(critical_subspaces(r - 1, r + 1), minima_subspaces(r, r + 1))) - 1)

    errors = [gap(r) for r in (25, 50, 100, 200)]
    assert all(later < 0.6 * earlier for earlier, later in itertools.pairwise(errors))
    errors = [abs(log_mild(r, 2) - math.log(minima_subspaces(r, r + 2))) for r in (25, 50, 100, 200)]
    assert all(later < 0.6 * earlier for earlier, later in itertools.pairwise(errors))
    vast = [float(Fraction(critical_subspaces(3, m), 3**m)) for m in (10, 20, 40)]
    assert vast[-1] == pytest.approx(1, abs=1e-6)
    assert vast == sorted(vast)


@pytest.mark.parametrize("r", [1, 2, 5, 20, 100, 300])
@pytest.mark.parametrize("h", [1, 2, 5, 20, 100, 300])
def test_the_saddle_point_is_within_its_stated_error(r: int, h: int) -> None:
    m, bound = r + h, 1 / (12 * h) + 1 / (12 * r)
    assert abs(saddle_point(r, m, groups=0.0) - math.log(critical_subspaces(r, m))) <= bound
    assert abs(saddle_point(r, m, groups=1.0) - math.log(minima_subspaces(r, m))) <= bound
    odd = saddle_point(r, m, groups=0.5) + m * math.log(2)
    assert abs(odd - math.log(minima_subspaces(r, m, symmetry="odd"))) <= bound


def test_logarithms_join_where_exact_counting_ends() -> None:
    for function, exact in ((log10_critical_subspaces, critical_subspaces), (log10_minima_subspaces, minima_subspaces)):
        for r, m in ((4, 400), (4, 401), (401, 401), (300, 401)):
            for symmetry in ("none", "odd"):
                expected = math.log10(exact(r, m, symmetry=symmetry))
                assert function(r, m, symmetry=symmetry) == pytest.approx(expected, abs=0.04)
    below = sum(critical_subspaces(s, 30) for s in range(1, 12))
    assert log10_critical_below(12, 30) == pytest.approx(math.log10(below), abs=1e-9)
    assert log10_critical_below(1, 30) == -math.inf
    assert log10_minima_subspaces(5000, 10_000) > 35_000


def test_table_and_its_words() -> None:
    table = count_table(4, 10)
    assert [row.width for row in table.rows] == list(range(4, 11))
    assert (table.rows[-1].critical, table.rows[-1].minima) == (57003, 20479560)
    assert table.rows[-1].ratio == pytest.approx(log10(critical_to_minima(4, 10)))
    assert table.crossover == 5
    assert "vast" in table.explanation[-1]
    assert "mild" in count_table(4, 4).explanation[-1]
    assert len(count_table(4, 500).rows) <= 16
    assert count_table(1, 3).rows[0].critical == 0
    with pytest.raises(InputError, match="nothing to count"):
        count_table(4, 3)
    with pytest.raises(BudgetError, match="logarithm"):
        count_table(4, 3000)


def test_the_verb_counts_without_torch_and_starts_fast() -> None:
    code = (
        "import sys, time\nfrom isthmus.cli.main import main\n"
        "try:\n    main(['count', '--minimal', '4', '--width', '10', '--inputs', '2'{}])\n"
        "except SystemExit as stop:\n    code = stop.code\n"
        "sys.stderr.write(f\"{{'torch' in sys.modules}} {{time.process_time()}} {{code}}\")"
    )
    done = subprocess.run([sys.executable, "-c", code.format("")], capture_output=True, text=True, check=True)
    torch, seconds, exit_code = done.stderr.split()
    assert (torch, exit_code) == ("False", "0")
    assert float(seconds) < 1
    assert "20,479,560" in done.stdout
    assert "vast" in done.stdout
    done = subprocess.run([sys.executable, "-c", code.format(", '--json'")], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["rows"][-1]["minima"] == "20479560"
