"""Slow independent oracles for games: enumeration of paths, dense convex programs, brute force."""

import itertools
from collections.abc import Sequence

import cvxpy
import numpy as np


def beckmann(rates: np.ndarray, types: np.ndarray, demands: np.ndarray, constant: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Loads that minimize the potential of a game with affine costs, by a quadratic program over the strategies."""
    flows = cvxpy.Variable(len(types), nonneg=True)
    loads = rates.T @ flows
    objective = constant @ loads + 0.5 * cvxpy.sum(cvxpy.multiply(slope, cvxpy.square(loads)))
    masses = [cvxpy.sum(flows[np.flatnonzero(types == t)]) == r for t, r in enumerate(demands)]
    cvxpy.Problem(cvxpy.Minimize(objective), masses).solve(
        solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12
    )
    return np.asarray(loads.value)


def best_matrix(
    inputs: np.ndarray, targets: np.ndarray, budgets: np.ndarray | None, *, unsigned: bool = False
) -> tuple[float, np.ndarray]:
    """Least squared loss ``sum_k (yhat - y)^2 / 2``, mean over samples, over B (K x d) with column budgets."""
    matrix = cvxpy.Variable((targets.shape[1], inputs.shape[1]))
    loss = cvxpy.sum_squares(inputs @ matrix.T - targets) / (2 * len(inputs))
    limits = []
    if budgets is not None and unsigned:
        limits = [matrix >= 0, cvxpy.sum(matrix, axis=0) == budgets]
    elif budgets is not None:
        limits = [cvxpy.sum(cvxpy.abs(matrix), axis=0) <= budgets]
    problem = cvxpy.Problem(cvxpy.Minimize(loss), limits)
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    return float(problem.value), np.asarray(matrix.value)


def best_path_values(rates: np.ndarray, types: np.ndarray, budgets: np.ndarray, targets: np.ndarray, samples: int) -> float:
    """Least squared loss over free path values with a budget on each type's L1 norm; loads are ``rates.T @ v``."""
    values = cvxpy.Variable(len(types))
    loss = cvxpy.sum_squares(rates.T @ values - targets) / (2 * samples)
    limits = [cvxpy.norm1(values[np.flatnonzero(types == t)]) <= r for t, r in enumerate(budgets)]
    problem = cvxpy.Problem(cvxpy.Minimize(loss), limits)
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    return float(problem.value)


def paths(weights: Sequence[np.ndarray]) -> list[tuple[tuple[int, ...], float]]:
    """Every path ``(input, hidden, ..., output)`` of a dense network with its value."""
    widths = [weights[0].shape[1], *(w.shape[0] for w in weights)]

    def value(units: tuple[int, ...]) -> float:
        return float(np.prod([w[b, a] for w, (a, b) in zip(weights, itertools.pairwise(units), strict=True)]))

    return [(units, value(units)) for units in itertools.product(*(range(n) for n in widths))]


def gates(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray] | None, inputs: np.ndarray, relu: bool) -> list[np.ndarray]:
    """Open gates of each hidden layer, ``(n, units)``, by a plain forward pass."""
    h, masks = inputs, []
    for layer, w in enumerate(weights[:-1]):
        z = h @ w.T + (0 if biases is None else biases[layer])
        mask = (z > 0) if relu else np.ones_like(z, dtype=bool)
        masks.append(mask)
        h = z * mask
    return masks


def path_costs(found: list, masks: list[np.ndarray], inputs: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """``C_p = sum_m x_j A_p g_k`` for every path, sample by sample."""
    costs = []
    for units, _ in found:
        open_ = np.ones(len(inputs))
        for mask, unit in zip(masks, units[1:-1], strict=True):
            open_ = open_ * mask[:, unit]
        costs.append(float(np.sum(inputs[:, units[0]] * open_ * slope[:, units[-1]])))
    return np.array(costs)
