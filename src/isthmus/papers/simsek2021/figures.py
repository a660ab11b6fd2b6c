"""The paper's experiments: what joins the minima, who outnumbers whom, and students of many widths.

    python -m isthmus.papers.simsek2021.figures FOLDER [smoke|desk|paper]

writes the records and the figures. At desk scale (the default) Levenberg-Marquardt goes to rounding level in minutes; at paper
scale the students are trained as the authors did, by up to a million steps of Adam and a bounded polish: up to two days of one core.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, shortest_path
from torch import Tensor

from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.claims.claim import ScaleName
from isthmus.combinatorics.balance import critical_to_minima, crossover_width
from isthmus.combinatorics.pieces import connectivity_graph
from isthmus.combinatorics.table import log10
from isthmus.linops.least_squares import LeastSquares
from isthmus.model.problem import provenance, versions
from isthmus.papers.simsek2021.students import (
    grid,
    random_students,
    student_problem,
    teacher,
    teacher_row,
    train_long,
    train_students,
)
from isthmus.plots.subspaces import plot_graph, plot_ratios, plot_students
from isthmus.results.provenance import Cost, Provenance
from isthmus.results.symmetry import UNIT_KINDS, CountRatios, StudentRuns, SubspaceGraph
from isthmus.symmetry.reduction import reduce


@dataclass(frozen=True)
class Experiment:
    """A teacher-student experiment.

    Attributes:
        scale: its name.
        widths: of the students.
        runs: students of each width.
        examined: width whose zero-loss students are reduced, unit by unit.
        spacing: of the grid of inputs.
        train: ``(starts, inputs, targets)`` to where training ends.
        method: the training in words.
    """

    scale: ScaleName
    widths: tuple[int, ...]
    runs: int
    examined: int
    spacing: float
    train: Callable[[Tensor, Tensor, Tensor], LeastSquares]
    method: str


SCALES = {
    "smoke": Experiment("smoke", (4, 6), 3, 6, 1.0, partial(train_students, steps=150), "Levenberg-Marquardt, 150 evaluations"),
    "desk": Experiment(
        "desk", (4, 5, 6, 8, 10, 20, 45), 20, 10, 0.25, partial(train_students, steps=500), "Levenberg-Marquardt, 500 evaluations"
    ),
    "paper": Experiment(
        "paper", (5, 10, 20, 45), 50, 10, 0.25, train_long, "Adam, up to 10 blocks of 100,000 steps, then SLSQP within +-10"
    ),
}


def student_runs(experiment: Experiment = SCALES["desk"], *, seed: Seed | int = 0) -> StudentRuns:
    """Train students of the authors' four-unit teacher and examine the units of those that reach zero loss.

    Args:
        experiment: which students, how many, and how they are trained.
        seed: names the initializations.

    Returns:
        The record.
    """
    started, seed, zero = time.perf_counter(), as_seed(seed), 1e-20
    inputs = grid(experiment.spacing)
    targets = teacher(inputs)
    ends = {}
    for m in experiment.widths:
        ends[m] = experiment.train(random_students(experiment.runs, m, seed.child(m)), inputs, targets)
    counts, reduced = np.zeros(len(UNIT_KINDS), dtype=np.int64), []
    for row, loss in zip(ends[experiment.examined].points, ends[experiment.examined].cost, strict=True):
        if loss < zero:
            found = reduce(student_problem(row, inputs, targets))
            reduced.append(found.widths[0])
            for role in found.roles[0]:
                counts[UNIT_KINDS.index(role.kind)] += 1
    return StudentRuns(
        width=np.array(experiment.widths),
        loss=np.stack([ends[m].cost.numpy() for m in experiment.widths]),
        kind_count=counts,
        reduced=np.array(reduced, dtype=np.int64),
        teacher=len(teacher_row()) // 3,
        examined=experiment.examined,
        zero=zero,
        inputs=len(inputs),
        steps=max(end.steps for end in ends.values()),
        scale=experiment.scale,
        status=Status.CONVERGED,
        method=f"{experiment.method}; Glorot-uniform starts; units by isthmus.reduce",
        error=f"{experiment.runs} seeds for each width",
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


def main(folder: str, scale: str = "desk") -> None:
    """Measure, save the records and draw."""
    graph, ratios, students = subspace_graph(3, 4), count_ratios(), student_runs(SCALES[scale])
    drawn = {"graph": plot_graph(graph), "ratios": plot_ratios(ratios), "students": plot_students(students)}
    for (name, figure), record in zip(drawn.items(), (graph, ratios, students), strict=True):
        record.save(Path(folder) / f"{name}.safetensors")
        FigureCanvasSVG(figure).print_svg(str(Path(folder) / f"{name}.svg"))


if __name__ == "__main__":
    main(*sys.argv[1:])
