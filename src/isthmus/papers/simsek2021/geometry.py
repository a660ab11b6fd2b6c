"""Claims about the subspaces themselves, checked on teachers and students built from the seed."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.errors import HypothesisError
from isthmus._core.seeds import Seed
from isthmus.claims import Claim, Evidence
from isthmus.claims.claim import ScaleName
from isthmus.combinatorics.pieces import Piece, pieces
from isthmus.combinatorics.subspaces import critical_subspaces, minima_subspaces
from isthmus.linops.random import gaussian
from isthmus.model.derivatives import jacobian, loss_gradient, loss_value
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.zoo import SigmoidSoftplus, mlp
from isthmus.papers.simsek2021.counting import exact_evidence
from isthmus.papers.simsek2021.landmarks import landmark
from isthmus.papers.simsek2021.students import (
    grid,
    random_students,
    student_module,
    student_problem,
    teacher,
    teacher_row,
    train_students,
)
from isthmus.symmetry.expansion import ExpansionManifold, expansion_manifold
from isthmus.symmetry.layers import hidden_layers, select_units
from isthmus.symmetry.membership import locate
from isthmus.symmetry.paths import zero_loss_path
from isthmus.symmetry.profile import path_profile
from isthmus.symmetry.reduction import reduce

_ZERO = 1e-20
_RANK = 1e-9
_SPACING = {"smoke": 1.0, "desk": 0.25, "paper": 0.25}
_STUDENTS = {"smoke": 6, "desk": 40, "paper": 200}


def _zero_modes(network: Network, inputs: Tensor) -> int:
    """Zero eigenvalues of the squared-error Hessian at zero loss: parameters minus the rank of the outputs' Jacobian."""
    values = np.linalg.svd(jacobian(network, inputs).reshape(-1, network.size).cpu().numpy(), compute_uv=False)
    return network.size - int((values > _RANK * values[0]).sum())


def _two_layers(extra: int, seed: Seed) -> tuple[ExpansionManifold, Tensor]:
    """A random network with two hidden layers of three and two units, and `extra` units more in each."""
    inputs = gaussian((60, 3), seed.child("inputs"), torch.float64)
    small = mlp([3, 3, 2, 1], "tanh", seed=seed.child("network")).double()
    return expansion_manifold(small, [3 + extra, 2 + extra], inputs), inputs


def _isolation(extra: int, scale: ScaleName, seed: Seed) -> Evidence:
    """Zero modes at zero-loss ends of training, their distance from an order of the teacher's units; zero modes of a deep one."""
    inputs = grid(_SPACING[scale])
    ends = train_students(random_students(2 * _STUDENTS[scale], 4 + extra, seed), inputs, teacher(inputs), steps=400)
    points = [row for row, loss in zip(ends.points, ends.cost, strict=True) if loss < _ZERO]
    known, modes = teacher_row().reshape(3, -1).T, []
    for row in points:
        units = row.reshape(3, -1).T
        apart = float(torch.cdist(known, units).min(dim=1).values.max())
        modes.append(_zero_modes(Network(student_module(row)), inputs) + (apart > 1e-6))
    deep, few = _two_layers(extra, seed.child("deep"))
    modes.append(_zero_modes(deep.sample(deep.random_pieces(seed.child("deep")), seed=seed.child("deep")), few))
    return exact_evidence(
        f"flat directions at the {len(points)} of {2 * _STUDENTS[scale]} ends of training with loss < {_ZERO:g}, plus one where an end is "
        "no order of the teacher's units; last: of a network with two hidden layers",
        "0",
        modes if points else [float("nan")],
        threshold=0.0,
        reason="a minimum without flat directions is isolated",
    )


def check_isolated(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Students of the teacher's own width; two hidden layers of minimal width."""
    return _isolation(0, scale, seed)


def control_isolated(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Students with one unit more; one more in each of two layers."""
    return _isolation(1, scale, seed)


def _lowest_path(problem: Problem, end: Network) -> float:
    """Largest loss on the path of equal function, or on the straight line where no unit is free."""
    try:
        return float(path_profile(problem, zero_loss_path(problem.network, end, problem.inputs), points=9).loss.max())
    except HypothesisError:
        low, high = problem.network.flat, end.flat
        return max(loss_value(problem.at(low + float(t) * (high - low))) for t in np.linspace(0, 1, 21))


def _connection(extra: int, scale: ScaleName, seed: Seed) -> Evidence:
    """Random orders of the teacher, and of a network with two hidden layers, joined two by two."""
    inputs, worst = grid(_SPACING[scale]), []
    small = expansion_manifold(student_module(teacher_row()), [4 + extra], inputs)
    for index in range(3 if scale == "smoke" else 10):
        generator = seed.child(index)
        start = small.sample(small.random_pieces(generator.child("start")), seed=generator.child("start"))
        layer = hidden_layers(start, inputs)[0]
        order = generator.child("order").numpy().permutation(layer.size)
        order = order if (order != np.arange(layer.size)).any() else np.roll(order, 1)
        end = select_units(start, layer, order.tolist())
        worst.append(_lowest_path(Problem(start, inputs, teacher(inputs)[:, None], nn.MSELoss()), end))
    deep, few = _two_layers(extra, seed.child("deep"))
    start = deep.sample(deep.random_pieces(seed.child("deep start")), seed=seed.child("deep start"))
    end = start
    for layer in hidden_layers(start, few):
        end = select_units(end, layer, np.roll(np.arange(layer.size), 1).tolist())
    worst.append(_lowest_path(Problem(start, few, deep.network(few), nn.MSELoss()), end))
    return exact_evidence(
        "largest loss on the path between two orders of the units, one and two hidden layers",
        "0",
        worst,
        threshold=1e-25,
        reason="rounding of float64 outputs, squared",
    )


def check_connects(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """One unit more in every layer."""
    return _connection(1, scale, seed)


def control_connects(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """No unit more: isolated orders, of which only straight lines can be tried."""
    return _connection(0, scale, seed)


def _random_teacher(width: int, seed: Seed) -> tuple[Network, Tensor]:
    inputs = gaussian((40, 2), seed.child("inputs"), torch.float64)
    row = gaussian((3 * width,), seed.child("units"), torch.float64)
    return Network(student_module(row)), inputs


def _found_pieces(chosen: Sequence[Piece], manifold: ExpansionManifold, inputs: Tensor, seed: Seed) -> int:
    """How many different pieces the sampled points of these pieces are found on, each a zero-loss network."""
    found = set()
    for index, piece in enumerate(chosen):
        place = locate(manifold, manifold.sample((piece,), seed=seed.child(index)), inputs)
        if place is not None:
            found.add(place.pieces)
    return len(found)


def _counted(predicted: int, chosen: Sequence[Piece], manifold: ExpansionManifold, inputs: Tensor, seed: Seed) -> Evidence:
    found = _found_pieces(chosen, manifold, inputs, seed)
    return exact_evidence(
        f"difference between {predicted} and the {found} different subspaces on which sampled networks of equal function lie",
        "0",
        [abs(predicted - found)],
        threshold=0.0,
        reason="integers",
    )


def check_count(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A random two-unit teacher at width 4 (5 at desk scale): one point of every piece, located again without its label."""
    width = 4 if scale == "smoke" else 5
    network, inputs = _random_teacher(2, seed)
    manifold = expansion_manifold(network, [width], inputs)
    return _counted(minima_subspaces(2, width), list(pieces(2, width)), manifold, inputs, seed)


def control_count(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A wrong count: G, which leaves out the zero-type groups."""
    network, inputs = _random_teacher(2, seed)
    manifold = expansion_manifold(network, [4], inputs)
    return _counted(critical_subspaces(2, 4), list(pieces(2, 4)), manifold, inputs, seed)


def _dimensions(free: bool, seed: Seed) -> Evidence:
    """H minus the dimension spanned by random points of each piece, largest over pieces."""
    gaps, widths = [], (3, 4, 5)
    for width in widths:
        network, inputs = _random_teacher(2, seed)
        manifold, least = expansion_manifold(network, [width], inputs), []
        for piece in itertools.islice(pieces(2, width), 0, None, 5 * (width - 2)):
            span = 3 * width
            points = torch.stack([manifold.sample((piece,), seed=seed.child(k if free else 0)).flat for k in range(span)])
            values = np.linalg.svd((points[1:] - points[0]).numpy(), compute_uv=False)
            least.append(int((values > 1e-9 * max(values[0], 1e-3)).sum()))
        gaps.append(width - 2 - min(least))
    return exact_evidence(
        "h minus the smallest dimension spanned by random points of a subspace, h = 1, 2, 3 units more than needed",
        "0: the smallest dimension is h (one output)",
        gaps,
        threshold=0.0,
        reason="integers",
        axis=[width - 2 for width in widths],
    )


def check_dimension(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Points drawn freely on each piece."""
    return _dimensions(True, seed)


def control_dimension(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Outgoing vectors and free units held at one draw: single points, no subspace."""
    return _dimensions(False, seed)


def _criticality(critical: bool, scale: ScaleName, seed: Seed) -> Evidence:
    """Largest gradient norm over the pieces that grow from narrow critical points of positive loss."""
    slopes, spacing = [], _SPACING[scale]
    for name in ("1", "2a", "2b", "3"):
        problem = landmark(name, spacing)
        width = int(name[0]) + 2
        manifold = expansion_manifold(problem.network, [width], problem.inputs)
        chosen = [piece for piece in pieces(int(name[0]), width) if piece.critical == critical]
        for index, piece in enumerate(chosen[:: max(1, len(chosen) // 12)]):
            point = manifold.sample((piece,), seed=seed.child(name, index), critical=critical)
            slopes.append(float(loss_gradient(problem._with(network=point)).norm()))
    return exact_evidence(
        "largest gradient norm at width r + 2, from one, two and three units that fit the four-unit teacher at positive loss",
        "0",
        slopes,
        threshold=1e-10,
        reason="the narrow point's own gradient (1e-13) times the largest split factor",
    )


def check_critical(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Copies with scalar shares of the outgoing vectors, the G(r, m) pieces."""
    return _criticality(True, scale, seed)


def control_critical(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Pieces with a zero-type group, which are critical at zero loss only."""
    return _criticality(False, scale, seed)


def _students_reduce(rows: Sequence[Tensor], targets: Tensor, inputs: Tensor, tried: int) -> Evidence:
    """Share of the zero-loss students behind which no four-unit network is found."""
    missed = [float(reduce(student_problem(row, inputs, targets), steps=100).widths != (4,)) for row in rows]
    return exact_evidence(
        f"share of the {len(rows)} of {tried} width-10 students with loss < {_ZERO:g} that do not reduce to four units",
        "0",
        [float(np.mean(missed))] if missed else [float("nan")],
        threshold=0.0,
        reason="every student lies on the expansion manifold",
    )


def check_students(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Trained students of the four-unit teacher."""
    inputs = grid(_SPACING[scale])
    ends = train_students(random_students(_STUDENTS[scale], 10, seed), inputs, teacher(inputs), steps=400)
    rows = [row for row, loss in zip(ends.points, ends.cost, strict=True) if loss < _ZERO]
    return _students_reduce(rows, teacher(inputs), inputs, _STUDENTS[scale])


def control_students(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Width-10 networks that compute the function of a six-unit teacher."""
    inputs = grid(_SPACING[scale])
    six = Network(student_module(gaussian((18,), seed.child("six"), torch.float64)))
    manifold = expansion_manifold(six, [10], inputs)
    wide = [manifold.sample(manifold.random_pieces(seed.child(i)), seed=seed.child(i)) for i in range(3)]
    rows = [torch.cat([one.parameters["0.weight"].T.reshape(-1), one.parameters["2.weight"][0]]) for one in wide]
    return _students_reduce(rows, six(inputs)[:, 0], inputs, len(rows))


def _zero_functions(activations: Sequence[nn.Module], seed: Seed) -> Evidence:
    """Two units ``(w, a), (-w, a)`` (tanh) or four ``+-w_1, +-w_2`` with outgoing a, a, -a, -a: the largest output."""
    inputs = gaussian((200, 3), seed.child("inputs"), torch.float64)
    w = gaussian((2, 3), seed.child("units"), torch.float64)
    rows, out = torch.stack([w[0], -w[0], w[1], -w[1]]), torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    largest = [float((activation(inputs @ rows.T) @ out).abs().max()) for activation in activations]
    return exact_evidence(
        "largest output of four units with distinct incoming and nonzero outgoing vectors, +-w_1 and +-w_2 with a, a, -a, -a",
        "0 for tanh and sigmoid",
        largest,
        threshold=1e-14,
        reason="rounding",
    )


def check_zero_functions(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Tanh and sigmoid."""
    return _zero_functions([nn.Tanh(), nn.Sigmoid()], seed)


def control_zero_functions(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The teacher's activation, which has no parity."""
    return _zero_functions([SigmoidSoftplus()], seed)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="isolated_minima",
        kind="exact",
        statement="A network of minimal width that reaches zero loss does so at isolated points, one for each order of its units.",
        source="the paper's abstract; checked for its four-unit teacher, and a random network with two hidden layers",
        hypotheses=(),
        check=check_isolated,
        control=control_isolated,
    ),
    Claim(
        id="one_extra_neuron_connects",
        kind="exact",
        statement="One more neuron in each layer connects all these minima by paths of zero loss.",
        source="the paper's abstract",
        hypotheses=(),
        check=check_connects,
        control=control_connects,
    ),
    Claim(
        id="count_of_minima",
        kind="exact",
        statement="For two layers and width m = r + h the networks that compute the function form T(r, m) affine subspaces.",
        source="the paper's abstract; for generic units and an activation without parity",
        hypotheses=(),
        check=check_count,
        control=control_count,
    ),
    Claim(
        id="dimension_at_least_h",
        kind="exact",
        statement="Each of these subspaces has dimension at least h.",
        source="the paper's abstract",
        hypotheses=(),
        check=check_dimension,
        control=control_dimension,
    ),
    Claim(
        id="count_of_critical",
        kind="exact",
        statement="A critical point of width r gives G(r, m) affine subspaces of critical points at width m: copies, no zero-type groups.",
        source="the paper's abstract; which pieces is derived here",
        hypotheses=(),
        check=check_critical,
        control=control_critical,
    ),
    Claim(
        id="students_on_manifold",
        kind="exact",
        statement="Every trained student at zero loss lies on the teacher's expansion manifold: joining and a refit lead back to four.",
        source="the paper at second hand; for finitely many inputs it can fail, and is a measurement here",
        hypotheses=(),
        check=check_students,
        control=control_students,
    ),
    Claim(
        id="zero_functions_outside",
        kind="exact",
        statement="For activations with parity (tanh, sigmoid) units with distinct incoming and nonzero outgoing vectors can cancel, so "
        "that networks of equal function exist outside the expansion manifold: its hypothesis on the activation cannot be dropped.",
        source="derived here",
        hypotheses=(),
        check=check_zero_functions,
        control=control_zero_functions,
    ),
)
