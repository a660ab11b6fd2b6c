"""Another library's top ten Hessian eigenvalues and its SLQ, run by that library's own Python; prints one JSON object.

``python peer_curvature.py top10|slq hessian-eigenthings|curvlinops|pyhessian [REFERENCE.json]``. Peers that must be told how long
to run are told the least that reaches each accuracy, which their user could not know; the search for it is not timed.
"""

import json
import sys
import time

import numpy as np
import torch
from torch import nn

from subject import classifier

ACCURACIES = (1e-3, 1e-5)


def timed(work):
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def error(values, reference):
    return float(np.abs(np.sort(np.asarray(values))[::-1][:10] / reference - 1).max())


def eigenthings_operator():
    from hessian_eigenthings import HessianOperator
    from hessian_eigenthings.loss_fns.standard import supervised_loss

    net, x, y = classifier()
    return HessianOperator(net, [(x, y)], supervised_loss(nn.CrossEntropyLoss()))


def eigenthings_top10(reference):
    from hessian_eigenthings.algorithms.lanczos import lanczos, lanczos_tridiagonal

    operator, rows = eigenthings_operator(), {}
    start = torch.randn(operator.size, generator=torch.Generator().manual_seed(0))
    run = lanczos_tridiagonal(operator, start, 110)
    alphas, betas = run.alphas.double().numpy(), run.betas.double().numpy()
    for accuracy in ACCURACIES:
        told = own = None
        for m in range(12, 110):
            values, vectors = np.linalg.eigh(np.diag(alphas[:m]) + np.diag(betas[: m - 1], 1) + np.diag(betas[: m - 1], -1))
            if told is None and error(values, reference) <= accuracy:
                told = m
            sure = np.abs(betas[m - 1] * vectors[-1, -10:]) < accuracy * np.abs(values[-10:]) if m < 109 else [False]
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


def eigenthings_slq():
    from hessian_eigenthings.algorithms.spectral_density import spectral_density

    operator = eigenthings_operator()
    return timed(lambda: spectral_density(operator, num_runs=3, lanczos_steps=40, seed=0))[0]


def curvlinops_operator():
    from curvlinops import HessianLinearOperator

    net, x, y = classifier()
    return HessianLinearOperator(net, nn.CrossEntropyLoss(), list(net.parameters()), [(x, y)], check_deterministic=False)


def curvlinops_top10(reference):
    from scipy.sparse.linalg import eigsh

    operator, rows = curvlinops_operator().to_scipy(), {}
    start = np.random.default_rng(0).standard_normal(operator.shape[0]).astype(np.float32)
    missing = list(ACCURACIES)
    for tol in (1e-2, 3e-3, 1e-3, 1e-4):
        spent, values = timed(lambda t=tol: eigsh(operator, 10, which="LA", tol=t, v0=start, return_eigenvectors=False))
        for accuracy in [a for a in missing if error(values, reference) <= a]:
            rows[f"{accuracy:g} told"] = [spent, error(values, reference), f"tol {tol:g}"]
            missing.remove(accuracy)
        if not missing:
            break
    return rows


def curvlinops_slq():
    from curvlinops.papyan2020traces.spectrum import lanczos_approximate_spectrum

    operator = curvlinops_operator()
    return timed(lambda: lanczos_approximate_spectrum(operator, 40, num_repeats=3, boundaries=(-0.13, 0.3)))[0]


def pyhessian_hessian():
    from pyhessian import hessian

    net, x, y = classifier()
    return hessian(net, nn.CrossEntropyLoss(), data=(x, y), cuda=False)


def pyhessian_top10(reference):
    peer = pyhessian_hessian()
    spent, found = timed(lambda: peer.eigenvalues(maxIter=100, tol=1e-3, top_n=10)[0])
    return {"its tol 1e-3": [spent, error(found, reference), "power iteration with deflation"]}


def pyhessian_slq():
    def eig(matrix, eigenvectors):
        values, vectors = torch.linalg.eigh(matrix)
        return torch.stack([values, torch.zeros_like(values)], dim=1), vectors

    torch.eig = eig  # removed from torch 2, without which `density` crashes
    peer = pyhessian_hessian()
    return timed(lambda: peer.density(iter=40, n_v=3))[0]


def main():
    torch.set_num_threads(1)
    job, name = sys.argv[1:3]
    makers = {"hessian-eigenthings": "eigenthings", "curvlinops": "curvlinops", "pyhessian": "pyhessian"}
    work = globals()[f"{makers[name]}_{job}"]
    if job == "slq":
        print(json.dumps(float(np.median([work() for _ in range(3)]))))
    else:
        with open(sys.argv[3]) as file:
            print(json.dumps(work(np.array(json.load(file)))))


if __name__ == "__main__":
    main()
