"""curvlinops 3.0.1 with scipy's eigsh: top ten Hessian eigenvalues, and SLQ of 3 probes of 40 steps.

``python curvature_curvlinops.py top10 REFERENCE.json [clustered] | slq``. `told`: the loosest of four tolerances that
reaches the accuracy, `its tol`: the accuracy asked of it.
"""

import numpy as np
from curvlinops import HessianLinearOperator
from curvlinops.papyan2020traces.spectrum import lanczos_approximate_spectrum
from scipy.sparse.linalg import eigsh
from subject import chosen
from torch import nn

from curvature import ACCURACIES, answer, error, timed


def problem_operator():
    net, x, y = chosen()
    return HessianLinearOperator(net, nn.CrossEntropyLoss(), list(net.parameters()), [(x, y)], check_deterministic=False)


def top10(reference):
    operator, rows = problem_operator().to_scipy(), {}
    start = np.random.default_rng(0).standard_normal(operator.shape[0]).astype(np.float32)
    missing = list(ACCURACIES)
    for tol in (1e-2, 3e-3, 1e-3, 1e-4):
        spent, values = timed(lambda t=tol: eigsh(operator, 10, which="LA", tol=t, v0=start, return_eigenvectors=False))
        for accuracy in [a for a in missing if error(values, reference) <= a]:
            rows[f"{accuracy:g} told"] = [spent, error(values, reference), f"tol {tol:g}"]
            missing.remove(accuracy)
        if not missing:
            break
    for tol in ACCURACIES:
        spent, values = timed(lambda t=tol: eigsh(operator, 10, which="LA", tol=t, v0=start, return_eigenvectors=False))
        rows[f"{tol:g} its tol"] = [spent, error(values, reference), f"tol {tol:g}"]
    return rows


def slq():
    operator = problem_operator()
    return timed(lambda: lanczos_approximate_spectrum(operator, 40, num_repeats=3, boundaries=(-0.13, 0.3)))[0]


answer(top10, slq)
