"""Symmetric matrices with a stated spectrum."""

import numpy as np
import torch
from torch import Tensor

_WIDE = np.linspace

#: name -> eigenvalues that are hard in one way
HARD = {
    "repeated top": np.r_[5.0, 5, 5, _WIDE(0, 1, 97)],
    "repeated inside": np.r_[9.0, 5, 5, 5, 5, 4, _WIDE(0, 1, 194)],
    "clustered top": np.r_[1 + 1e-6 * np.arange(8), _WIDE(-1, 0.5, 92)],
    "near-degenerate pair": np.r_[3, 3 - 1e-4, 2.9, _WIDE(0, 2.8, 147)],
    "all negative": -np.geomspace(1e-3, 1, 120),
    "both signs alike": np.r_[1.0, -1, 0.9, -0.9, _WIDE(-0.5, 0.5, 96)],
    "rank two": np.r_[2.0, 1, np.zeros(98)],
    "power law": 1 / np.arange(1, 201) ** 1.5,
    "no gaps": _WIDE(-1, 1, 150),
    "identity": np.ones(50),
    "zero": np.zeros(30),
    "size one": np.array([-3.0]),
}


def symmetric(values: np.ndarray, seed: int = 0) -> Tensor:
    """``Q diag(values) Q^T`` with a random orthogonal Q."""
    normal = np.random.default_rng(seed).standard_normal((len(values), len(values)))
    basis, _ = np.linalg.qr(normal)
    matrix = (basis * values) @ basis.T
    return torch.from_numpy((matrix + matrix.T) / 2)


def best(values: np.ndarray, k: int, which: str) -> np.ndarray:
    """The k values a solver should return, best first."""
    key = {"LA": -values, "SA": values, "LM": -np.abs(values)}[which]
    return values[np.argsort(key, kind="stable")[:k]]
