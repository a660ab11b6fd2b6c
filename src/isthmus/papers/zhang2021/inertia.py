"""Claims about the Hessian of embedded points: what is known of its inertia without forming it."""

from collections.abc import Callable

import numpy as np
import torch

from isthmus._core.seeds import Seed
from isthmus.claims import Claim, Evidence
from isthmus.claims.claim import ScaleName
from isthmus.curvature import hessian_spectrum
from isthmus.embedding import Compatible, Growth, grow, predict_inertia
from isthmus.linops.random import gaussian
from isthmus.model.derivatives import loss_gradient
from isthmus.model.problem import Problem
from isthmus.papers.zhang2021.instances import planted, split_of, threefold
from isthmus.papers.zhang2021.measures import SEEDS, inertia_gained, resolved_rows

_CRITICAL = 1e-12


def _inertia_gap(scale: ScaleName, seed: Seed, flip: bool) -> Evidence:
    """Difference of predicted and true inertia counts over shares on all sides of 0 and 1."""
    shares = (0.3, 1.0, 1.6)
    gaps = np.zeros((SEEDS[scale], len(shares)))
    for i in range(SEEDS[scale]):
        narrow = planted((2, 2, 1), seed.child(i), size=1.0)
        for j, share in enumerate(shares):
            growth = Growth("0", {0: (1 - share, share)})
            other = Growth("0", {0: (share + 1, -share)}) if flip else growth
            found = predict_inertia(narrow, other).wide
            true = hessian_spectrum(narrow._with(network=grow(narrow, growth).network)).inertia
            gaps[i, j] = abs(found.negative - true.negative) + abs(found.zero - true.zero) + abs(found.positive - true.positive)
    return Evidence.worst_of(
        gaps,
        quantity="difference between inertia counts predicted from the small network and counted in the wide one",
        predicted="0",
        threshold=0.0,
        reason="integers",
        axis=np.array(shares),
    )


def check_inertia(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Inertia after a split, predicted from S and D of the small network alone, against the wide Hessian."""
    return _inertia_gap(scale, seed, flip=False)


def control_inertia(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The prediction for a share on the other side of 0 and 1."""
    return _inertia_gap(scale, seed, flip=True)


def _lost(scale: ScaleName, seed: Seed, widen: Callable[[Problem, Seed], Problem]) -> Evidence:
    """Counts of the narrow inertia minus those of the wide one, at degenerate planted points of 2-2-2-2 networks."""

    def row(of: Seed) -> np.ndarray:
        narrow = split_of(planted((2, 1, 2, 2), of, size=2.0), "0", 1, of.child("narrow"))
        return -inertia_gained(narrow, widen(narrow, of.child("wide")))

    rows, words = resolved_rows(row, scale, seed)
    return Evidence.worst_of(
        rows,
        quantity=f"largest fall of a count (negative, zero, positive eigenvalues) from the narrow network to the wide one{words}",
        predicted="at most 0",
        threshold=0.0,
        reason="integers",
        axis=np.arange(1.0, 4),
    )


def _mixed(narrow: Problem, seed: Seed) -> Problem:
    return narrow._with(network=grow(narrow, {"0": 1, "2": 1}, how="compatible", seed=seed).network)


def check_never_decreases(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Random compatible embeddings of two layers at once: no count falls."""
    return _lost(scale, seed, _mixed)


def control_never_decreases(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The wide point moved off the embedding by a tenth: its zero eigenvalues are gone."""

    def moved(narrow: Problem, s: Seed) -> Problem:
        wide = _mixed(narrow, s)
        return wide.at(wide.network.flat * (1 + 0.1 * gaussian((wide.network.size,), s.child("off"), torch.float64)))

    return _lost(scale, seed, moved)


def _freedom(scale: ScaleName, seed: Seed, nulls: bool) -> Evidence:
    """Zero eigenvalues gained minus ``K_1 + K_2 + K_1 K_2``, where one unit in each of two layers becomes 1 + K."""
    added, new = ((1, 0), (0, 1), (1, 1), (2, 1)), -1 if nulls else 0

    def row(of: Seed) -> np.ndarray:
        narrow, gaps = planted((2, 1, 1, 2), of, size=2.0), []
        for first, second in added:
            plan = Compatible({"0": (0, *[new] * first), "2": (0, *[new] * second)}, seed=of.child("mix", first, second))
            gained = inertia_gained(narrow, narrow._with(network=grow(narrow, plan).network))[1]
            gaps.append(abs(gained - (first + second + first * second)))
        return np.array(gaps)

    rows, words = resolved_rows(row, scale, seed)
    return Evidence.worst_of(
        rows,
        quantity=f"zero eigenvalues gained, off from K_1 + K_2 + K_1 K_2, over numbers of new units{words}",
        predicted="0",
        threshold=0.0,
        reason="integers",
        axis=np.array([first + second + first * second for first, second in added], dtype=np.float64),
        axis_name="degrees of freedom of the embedding",
        measured_name="difference of counts",
    )


def check_freedom(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Embeddings by copies only: the nullity grows by the degrees of freedom of the family of compatible maps."""
    return _freedom(scale, seed, nulls=False)


def control_freedom(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """With null units instead of copies the nullity grows by more."""
    return _freedom(scale, seed, nulls=True)


def _null_slopes(scale: ScaleName, seed: Seed, bias: bool) -> Evidence:
    constants = (-1.0, 0.5, 1.2)
    slopes = np.zeros((SEEDS[scale], len(constants)))
    for i in range(SEEDS[scale]):
        narrow = planted((2, 2, 1), seed.child(i), output_bias=bias)
        for j, constant in enumerate(constants):
            slopes[i, j] = float(loss_gradient(narrow._with(network=grow(narrow, Growth("0", nulls=(constant,))).network)).norm())
    return Evidence.worst_of(
        slopes,
        quantity="gradient norm after a null unit of constant output tanh(b) is added",
        predicted="0 where the next layer has a bias",
        threshold=_CRITICAL,
        reason="planted points have gradient norm 1e-16; rounding of float64 sums",
        axis=np.array(constants),
        axis_name="bias b of the null unit",
        measured_name="gradient norm",
    )


def check_null(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Null units of planted 2-2-1 networks whose output has a bias: the point stays critical."""
    return _null_slopes(scale, seed, bias=True)


def control_null(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Without that bias the new outgoing weight has a gradient."""
    return _null_slopes(scale, seed, bias=False)


def _not_saddles(scale: ScaleName, seed: Seed, residual: float) -> Evidence:
    """1 where the three-fold embedding of a planted 2-1-1-2 point has no negative eigenvalue, else 0."""
    rows = np.zeros((SEEDS[scale], 1))
    for i in range(SEEDS[scale]):
        narrow = planted((2, 1, 1, 2), seed.child(i), size=residual)
        rows[i] = float(hessian_spectrum(threefold(narrow)).inertia.negative == 0)
    return Evidence.worst_of(
        rows,
        quantity="three-fold embeddings of planted points without a negative Hessian eigenvalue (1: some)",
        predicted="0",
        threshold=0.0,
        reason="a count",
        axis=np.ones(1),
    )


def check_threefold(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Residual of norm 1e-3: the error part of the Hessian does not vanish, and the three-fold embedding is a strict saddle."""
    return _not_saddles(scale, seed, 1e-3)


def control_threefold(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Residual zero: at a global minimum that part vanishes, and no embedding is a saddle."""
    return _not_saddles(scale, seed, 0.0)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="inertia_from_the_small_network",
        kind="exact",
        statement="The inertia after a split follows from two small matrices of the narrow network: In(H) + In([[a(1-a)S, D'], [D, 0]]).",
        source="derived here; for one output and a(1-a) > 0 known since Fukumizu and Amari (2000)",
        hypotheses=(),
        check=check_inertia,
        control=control_inertia,
    ),
    Claim(
        id="inertia_never_decreases",
        kind="exact",
        statement="No count of the inertia falls under a compatible embedding; degenerate planted points, two layers grown at once with "
        "random mixing.",
        source="the journal version's text (for the zero count its proof needs the constant gradient map, which is derived here)",
        hypotheses=(),
        check=check_never_decreases,
        control=control_never_decreases,
    ),
    Claim(
        id="nullity_grows_by_the_freedom",
        kind="exact",
        statement="Without null units the number of zero eigenvalues grows by exactly the degrees of freedom of the compatible maps, "
        "K_1 + K_2 + K_1 K_2 for two hidden layers; planted 2-1-1-2 tanh networks.",
        source="the paper's journal version counts the freedom (text); that the nullity equals it is an observation made here",
        hypotheses=(),
        check=check_freedom,
        control=control_freedom,
    ),
    Claim(
        id="null_unit_needs_a_next_bias",
        kind="exact",
        statement="A null unit of non-zero constant output keeps a critical point critical when the layer that reads it has a bias, and "
        "not otherwise.",
        source="derived here; the paper's theory always has biases, its experiments have none at the output",
        hypotheses=(),
        check=check_null,
        control=control_null,
    ),
    Claim(
        id="threefold_embedding_is_a_saddle",
        kind="exact",
        statement="The three-fold global embedding (stacked, block diagonal, last weights W, W, -W) of a minimum is a strict saddle unless "
        "the error part of its Hessian vanishes; planted 2-1-1-2 tanh networks.",
        source="the journal version's text",
        hypotheses=(),
        check=check_threefold,
        control=control_threefold,
    ),
)
