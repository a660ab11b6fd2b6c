"""The paper's experiments at desk scale: what joins the minima, who outnumbers whom, and students of many widths.

    python -m isthmus.papers.simsek2021.figures FOLDER

writes the records and the figures. The authors trained with long Adam runs; here Levenberg-Marquardt goes to rounding level.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, shortest_path

from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.combinatorics.balance import critical_to_minima, crossover_width
from isthmus.combinatorics.pieces import connectivity_graph
from isthmus.combinatorics.table import log10
from isthmus.model.problem import provenance, versions
from isthmus.papers.simsek2021.students import grid, random_students, student_problem, teacher, teacher_row, train_students
from isthmus.plots.subspaces import plot_graph, plot_ratios, plot_students
from isthmus.results.provenance import Cost, Provenance
from isthmus.results.symmetry import UNIT_KINDS, CountRatios, StudentRuns, SubspaceGraph
from isthmus.symmetry.reduction import reduce

WIDTHS = (4, 5, 6, 8, 10, 20, 45)


def student_runs(
    widths: Sequence[int] = WIDTHS,
    *,
    runs: int = 20,
    examined: int = 10,
    steps: int = 500,
    spacing: float = 0.25,
    seed: Seed | int = 0,
) -> StudentRuns:
    """Train students of the authors' four-unit teacher and examine the units of those that reach zero loss.

    Args:
        widths: of the students; `examined` must be among them.
        runs: students of each width.
        examined: width whose zero-loss students are reduced, unit by unit.
        steps: evaluations allowed for each run.
        spacing: of the grid of inputs.
        seed: names the initializations.

    Returns:
        The record.
    """
    started, seed, zero = time.perf_counter(), as_seed(seed), 1e-20
    inputs = grid(spacing)
    targets = teacher(inputs)
    ends = {m: train_students(random_students(runs, m, seed.child(m)), inputs, targets, steps=steps) for m in widths}
    counts, reduced = np.zeros(len(UNIT_KINDS), dtype=np.int64), []
    for row, loss in zip(ends[examined].points, ends[examined].cost, strict=True):
        if loss < zero:
            found = reduce(student_problem(row, inputs, targets))
            reduced.append(found.widths[0])
            for role in found.roles[0]:
                counts[UNIT_KINDS.index(role.kind)] += 1
    return StudentRuns(
        width=np.array(widths),
        loss=np.stack([ends[m].cost.numpy() for m in widths]),
        kind_count=counts,
        reduced=np.array(reduced, dtype=np.int64),
        teacher=len(teacher_row()) // 3,
        examined=examined,
        zero=zero,
        inputs=len(inputs),
        steps=steps,
        status=Status.CONVERGED,
        method=f"batched Levenberg-Marquardt, {steps} evaluations, Glorot-uniform starts; units by isthmus.reduce",
        error=f"{runs} seeds for each width",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(student_problem(teacher_row(), inputs, targets), seed),
    )


def subspace_graph(r: int, m: int) -> SubspaceGraph:
    """All subspaces of equal function of a layer, and which of them have a common point.

    Args:
        r: irreducible units.
        m: width.

    Returns:
        The graph, laid out by classical scaling of its distances.
    """
    started = time.perf_counter()
    nodes, edges = connectivity_graph(r, m)
    first, second = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    graph = csr_array((np.ones(len(first)), (first, second)), shape=(len(nodes), len(nodes)))
    distance = shortest_path(graph, directed=False, unweighted=True)
    squared = np.minimum(distance, len(nodes)) ** 2
    center = np.eye(len(nodes)) - 1 / len(nodes)
    values, vectors = np.linalg.eigh(-0.5 * center @ squared @ center)
    places = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0))
    return SubspaceGraph(
        x=places[:, 1].copy(),
        y=places[:, 0].copy(),
        zero_groups=np.array([node.zero_groups for node in nodes]),
        first=first.copy(),
        second=second.copy(),
        minimal=r,
        width=m,
        components=int(connected_components(graph, directed=False)[0]),
        diameter=float(distance.max()),
        status=Status.EXACT,
        method="all pairs of subspaces tested for a common point; generic irreducible units",
        error=None,
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=Provenance(versions=versions()),
    )


def count_ratios(minimal: Sequence[int] = (2, 4, 8, 16, 32), extra: int = 24) -> CountRatios:
    """Critical subspaces per subspace of minima, one critical point for every narrower width.

    Args:
        minimal: minimal widths.
        extra: largest number of units more than needed.
    """
    started, steps = time.perf_counter(), range(extra + 1)
    return CountRatios(
        minimal=np.array(minimal),
        extra=np.array(steps),
        log10_ratio=np.array([[log10(critical_to_minima(r, r + h)) for h in steps] for r in minimal]),
        crossover=np.array([crossover_width(r) - r for r in minimal]),
        status=Status.EXACT,
        method="exact integers",
        error=None,
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=Provenance(versions=versions()),
    )


def main(folder: str) -> None:
    """Measure, save the records and draw."""
    graph, ratios, students = subspace_graph(3, 4), count_ratios(), student_runs()
    drawn = {"graph": plot_graph(graph), "ratios": plot_ratios(ratios), "students": plot_students(students)}
    for (name, figure), record in zip(drawn.items(), (graph, ratios, students), strict=True):
        record.save(Path(folder) / f"{name}.safetensors")
        FigureCanvasSVG(figure).print_svg(str(Path(folder) / f"{name}.svg"))


if __name__ == "__main__":
    main(sys.argv[1])
