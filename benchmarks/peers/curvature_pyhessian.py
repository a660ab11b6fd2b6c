"""PyHessian 0.1: top ten Hessian eigenvalues by deflated power iteration, and SLQ of 3 probes of 40 steps.

``python curvature_pyhessian.py top10 REFERENCE.json [clustered] | slq``. Its `density` crashes on torch 2, where `torch.eig` is gone; it is
given an equal here.
"""

import torch
from pyhessian import hessian
from subject import chosen
from torch import nn

from curvature import answer, error, timed


def problem_hessian():
    net, x, y = chosen()
    return hessian(net, nn.CrossEntropyLoss(), data=(x, y), cuda=False)


def top10(reference):
    peer = problem_hessian()
    spent, found = timed(lambda: peer.eigenvalues(maxIter=100, tol=1e-3, top_n=10)[0])
    return {"its tol 1e-3": [spent, error(found, reference), "power iteration with deflation"]}


def slq():
    def eig(matrix, eigenvectors):
        values, vectors = torch.linalg.eigh(matrix)
        return torch.stack([values, torch.zeros_like(values)], dim=1), vectors

    torch.eig = eig  # removed from torch 2, without which `density` crashes
    peer = problem_hessian()
    return timed(lambda: peer.density(iter=40, n_v=3))[0]


answer(top10, slq)
