"""Claims about numbers: closed forms, regimes, depth. Exact integers; the subject's data play no part."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from isthmus._core.seeds import Seed
from isthmus.claims import Claim, Evidence
from isthmus.claims.claim import ScaleName
from isthmus.combinatorics.balance import critical_to_minima, layers_critical_to_minima
from isthmus.combinatorics.pieces import connectivity_graph, pieces
from isthmus.combinatorics.subspaces import critical_subspaces, minima_by_zero_groups, minima_subspaces
from isthmus.combinatorics.table import log10
from isthmus.model.problem import Problem

_LARGEST = {"smoke": 6, "desk": 7, "paper": 8}
_MILD = (25, 50, 100, 200, 400)
_VAST = (8, 16, 32, 64, 128)
_MINIMAL = 4


def exact_evidence(
    quantity: str,
    predicted: str,
    values: Sequence[float],
    *,
    threshold: float,
    reason: str,
    axis: Sequence[float] | None = None,
    names: tuple[str, str] = ("", ""),
) -> Evidence:
    """Evidence whose largest value must not exceed a threshold."""
    return Evidence.worst_of(
        np.array([values], dtype=np.float64),
        quantity=quantity,
        predicted=predicted,
        threshold=threshold,
        reason=reason,
        axis=np.array(axis if axis is not None else np.arange(1, len(values) + 1), dtype=np.float64),
        axis_name=names[0],
        measured_name=names[1],
    )


def _closed_forms(scale: ScaleName, minima: Callable[[int, int], int]) -> Evidence:
    """Largest difference between the formulas and the pieces listed one by one."""
    largest, gaps = _LARGEST[scale], []
    for m in range(1, largest + 1):
        for r in range(1, min(m, 5) + 1):
            listed = list(pieces(r, m))
            gaps.append(abs(minima(r, m) - len(listed)))
            gaps.append(abs(critical_subspaces(r, m) - sum(piece.critical for piece in listed)))
            surjections = sum((-1) ** (r - i) * math.comb(r, i) * i**m for i in range(r + 1))
            gaps.append(abs(critical_subspaces(r, m) - surjections))
    return exact_evidence(
        f"largest difference between closed forms and enumeration, r <= 5, m <= {largest}",
        "0",
        gaps,
        threshold=0.0,
        reason="integers",
    )


def check_closed_forms(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """T and G by formula, by listing every piece, and by inclusion and exclusion."""
    return _closed_forms(scale, minima_subspaces)


def control_closed_forms(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A wrong count: zero-type groups numbered as if their order mattered."""

    def ordered(r: int, m: int) -> int:
        return sum(math.factorial(j) * count for j, count in enumerate(minima_by_zero_groups(r, m)))

    return _closed_forms(scale, ordered)


def _slope(sizes: Sequence[int], ratios: Sequence[Fraction], axis: str, what: str, threshold: float, predicted: str) -> Evidence:
    logs = np.array([log10(ratio) for ratio in ratios])
    slope = float(np.polyfit(np.log10(sizes), logs, 1)[0])
    return Evidence(
        quantity=f"exponent of the number of {what} in the {axis}",
        predicted=predicted,
        estimate=slope,
        interval=(slope, slope),
        threshold=threshold,
        reason="between the predicted exponent and none",
        exact=True,
        axis=np.array(sizes, dtype=np.float64),
        axis_name=axis,
        measured=logs[None],
        measured_name=f"log10 of the number of {what}",
    )


def _mild(widths: Sequence[int]) -> Evidence:
    ratios = [1 / Fraction(critical_subspaces(r - 1, m), minima_subspaces(r, m)) for r, m in zip(_MILD, widths, strict=True)]
    what = "minimum subspaces per critical subspace of width r - 1"
    return _slope(_MILD, ratios, "minimal width", what, -0.5, "-1 at one extra unit (the ratio of saddles grows like r/4)")


def check_saddles_dominate(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """One extra unit, minimal widths 25 to 400."""
    return _mild([r + 1 for r in _MILD])


def control_saddles_dominate(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Twice the minimal width: not mild any more."""
    return _mild([2 * r for r in _MILD])


def _vast(pairs: Sequence[tuple[int, int]], sizes: Sequence[int], axis: str) -> Evidence:
    ratios = [critical_to_minima(r, m) for r, m in pairs]
    return _slope(sizes, ratios, axis, "critical subspaces per minimum subspace", -4.0, "below every power of the width")


def check_minima_dominate(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Minimal width 4, widths 8 to 128, one critical point for every narrower width."""
    return _vast([(_MINIMAL, m) for m in _VAST], _VAST, "width")


def control_minima_dominate(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Width and minimal width grow together with one extra unit: not vast."""
    return _vast([(m - 1, m) for m in _VAST], _VAST, "width")


def _depth(r: int) -> Evidence:
    """``log10 ratio(1 layer) - log10 ratio(2 layers)`` where every narrower piece outnumbers minima, reversed where not."""
    signs = []
    for m in range(r, r + 9):
        base = Fraction(sum(critical_subspaces(s, m) for s in range(1, r + 1)), minima_subspaces(r, m))
        one, two = layers_critical_to_minima([r], [m]), layers_critical_to_minima([r, r], [m, m])
        if one == 0:
            return exact_evidence(
                "change of the ratio with depth", "negative", [0.0], threshold=-1e-6, reason="no saddles at all"
            )
        gap = log10(two) - log10(one)
        if base > 2 or base < Fraction(1, 2):
            signs.append(-gap if base > 1 else gap)
    return exact_evidence(
        "smallest gain of the dominating side by a second layer, log10 and negated, widths away from the balance",
        "negative: more saddles per minimum in the mild regime, fewer in the vast one",
        signs,
        threshold=-1e-6,
        reason="strictly more extreme",
    )


def check_depth(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Minimal width 12, one and two hidden layers."""
    return _depth(12)


def control_depth(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Minimal width 1: no narrower network, hence no saddles to multiply."""
    return _depth(1)


def _components(cases: Sequence[tuple[int, int]]) -> Evidence:
    extra = []
    for r, m in cases:
        nodes, edges = connectivity_graph(r, m)
        i, k = np.array(edges, dtype=int).reshape(-1, 2).T
        graph = csr_array((np.ones(len(i)), (i, k)), shape=(len(nodes), len(nodes)))
        extra.append(connected_components(graph, directed=False)[0] - 1)
    return exact_evidence(
        f"connected components of the graph of subspaces beyond one, (r, m) = {', '.join(map(str, cases))}",
        "0",
        extra,
        threshold=0.0,
        reason="integers",
    )


def check_connected(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """All pieces of small cases, joined where they have a common point."""
    return _components([(1, 3), (2, 3), (2, 4), (3, 4)] + ([(2, 5), (3, 5)] if scale != "smoke" else []))


def control_connected(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Minimal width: r! single points."""
    return _components([(2, 2), (3, 3)])


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="subspaces_connected",
        kind="exact",
        statement="The global-minimum subspaces of a layer with at least one unit more than needed are connected to one another.",
        source="the paper's abstract",
        hypotheses=(),
        check=check_connected,
        control=control_connected,
    ),
    Claim(
        id="closed_forms",
        kind="exact",
        statement="The numbers T of global-minimum subspaces and G of symmetry-induced critical subspaces have closed forms.",
        source="the paper's abstract; the forms tested are derived here",
        hypotheses=(),
        check=check_closed_forms,
        control=control_closed_forms,
    ),
    Claim(
        id="saddles_dominate_mild",
        kind="exact",
        statement="With few extra units the symmetry-induced critical subspaces outnumber those of global minima.",
        source="the paper's abstract; the exponent is derived here",
        hypotheses=(),
        check=check_saddles_dominate,
        control=control_saddles_dominate,
    ),
    Claim(
        id="minima_dominate_vast",
        kind="exact",
        statement="With many extra units the global-minimum subspaces outnumber the symmetry-induced critical ones.",
        source="the paper's abstract",
        hypotheses=(),
        check=check_minima_dominate,
        control=control_minima_dominate,
    ),
    Claim(
        id="depth_intensifies",
        kind="exact",
        statement="A second hidden layer makes the dominating kind of subspace dominate more. The balance that decides is that of all "
        "narrower pieces, sum over s <= r of G(s, m), against T(r, m); between its turn and the one-layer crossover the words mild and "
        "vast do not settle it.",
        source="the paper at second hand; sharpened here",
        hypotheses=(),
        check=check_depth,
        control=control_depth,
    ),
)
