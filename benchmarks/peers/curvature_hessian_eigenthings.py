"""hessian-eigenthings 1.0.0a5: top ten Hessian eigenvalues, and SLQ of 3 probes of 40 steps.

``python curvature_hessian_eigenthings.py top10 REFERENCE.json [clustered] | slq``. Its Lanczos takes a number of steps:
`told` is the least that reaches the accuracy, which its user could not know, `own rule` the least at which it calls all ten
converged. The search for these numbers is not timed.
"""

import numpy as np
import torch
from hessian_eigenthings import HessianOperator
from hessian_eigenthings.algorithms.lanczos import lanczos, lanczos_tridiagonal
from hessian_eigenthings.algorithms.spectral_density import spectral_density
from hessian_eigenthings.loss_fns.standard import supervised_loss
from subject import chosen
from torch import nn

from curvature import ACCURACIES, answer, error, timed


def problem_operator():
    net, x, y = chosen()
    return HessianOperator(net, [(x, y)], supervised_loss(nn.CrossEntropyLoss()))


def top10(reference):
    operator, rows = problem_operator(), {}
    start = torch.randn(operator.size, generator=torch.Generator().manual_seed(0))
    run = lanczos_tridiagonal(operator, start, 130)
    alphas, betas = run.alphas.double().numpy(), run.betas.double().numpy()
    for accuracy in ACCURACIES:
        told = own = None
        for m in range(12, 129):
            values, vectors = np.linalg.eigh(np.diag(alphas[:m]) + np.diag(betas[: m - 1], 1) + np.diag(betas[: m - 1], -1))
            if told is None and error(values, reference) <= accuracy:
                told = m
            sure = np.abs(betas[m - 1] * vectors[-1, -10:]) < accuracy * np.abs(values[-10:])
            if own is None and np.all(sure):
                own = m
        for rule, steps in (("told", told), ("own rule", own)):
            if steps is None:
                continue
            spent, found = timed(lambda m=steps: lanczos(operator, k=10, max_iter=m, which="LA", seed=0, reorthogonalize=True))
            rows[f"{accuracy:g} {rule}"] = [spent, error(found.eigenvalues.numpy(), reference), f"{steps} steps"]
    spent, found = timed(lambda: lanczos(operator, k=10, max_iter=80, which="LA", seed=0))
    rows["80 steps at its defaults"] = [spent, error(found.eigenvalues.numpy(), reference), "not reorthogonalized: copies"]
    return rows


def slq():
    operator = problem_operator()
    return timed(lambda: spectral_density(operator, num_runs=3, lanczos_steps=40, seed=0))[0]


answer(top10, slq)
