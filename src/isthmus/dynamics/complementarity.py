"""Small semidefinite complementarity problems: how strongly each unstable direction must oscillate."""

import numpy as np

_TOLERANCE = 1e-9


def solve_complementarity(gap: np.ndarray, response: np.ndarray, *, most: int = 400) -> np.ndarray:
    """The X with ``X >= 0``, ``C = gap + response[X] >= 0`` and ``<X, C> = 0`` in the semidefinite order.

    The solution without active constraint (``C = 0``) is taken when it is semidefinite; else the extragradient method, which
    converges when ``<X, response[X]> >= 0``, as is the case for a symmetric positive response.

    Args:
        gap: symmetric, ``(k, k)``.
        response: ``response[a, b]`` is the answer to the symmetric unit at (a, b), ``(k, k, k, k)``.
        most: iterations of the extragradient method.
    """
    k = len(gap)
    matrix = response.reshape(k * k, k * k).T

    def excess(x: np.ndarray) -> np.ndarray:
        return gap + (matrix @ x.reshape(-1)).reshape(k, k)

    free = np.linalg.lstsq(matrix, -gap.reshape(-1), rcond=1e-10)[0].reshape(k, k)
    scale = max(float(np.abs(gap).max()), 1e-300)
    if np.linalg.eigvalsh(_symmetric(free)).min() >= 0 and np.abs(excess(_symmetric(free))).max() <= 1e-6 * scale:
        return _symmetric(free)
    size = float(np.linalg.norm(matrix, 2))
    if size == 0:
        return np.zeros_like(gap)
    x = np.zeros_like(gap)
    for _ in range(most):
        half = _semidefinite(x - 0.7 * excess(x) / size)
        following = _semidefinite(x - 0.7 * excess(half) / size)
        moved, x = float(np.abs(following - x).max()), following
        if moved <= _TOLERANCE * max(float(np.abs(x).max()), scale / size):
            break
    return x


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return (matrix + matrix.T) / 2


def _semidefinite(matrix: np.ndarray) -> np.ndarray:
    """The nearest positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(_symmetric(matrix))
    return vectors * np.maximum(values, 0.0) @ vectors.T
