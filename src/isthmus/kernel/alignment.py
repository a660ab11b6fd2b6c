"""Alignment of a kernel with the labels, and the shape of its spectrum."""

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from isthmus._core.errors import InputError, ShapeError
from isthmus.results.kernel import Ntk


def label_alignment(kernel: Ntk | np.ndarray, targets: Tensor | np.ndarray, *, centered: bool = True) -> float:
    """``<K, Y Y^T> / (|K| |Y Y^T|)`` of the sample-by-sample kernel with the labels.

    With `centered`, both are multiplied by ``H = I - 11^T / n`` on both sides first (CKA), which makes the number
    invariant under ``K -> a K + b``; without it this is the kernel-target alignment (KTA). A full kernel is reduced to
    its sum over equal outputs first.

    Args:
        kernel: record or array, ``(n, n)``, ``(n, 1, n, 1)`` or ``(n, c, n, c)``.
        targets: integer labels ``(n,)`` (read as one-hot) or real targets ``(n,)`` or ``(n, d)``.
        centered: CKA, or KTA.

    Returns:
        A number in [-1, 1]; in [0, 1] for a positive semidefinite kernel. NaN when a side is zero (one class only).

    Raises:
        ShapeError: kernel and targets belong to different numbers of samples.
    """
    gram, labels = sample_kernel(kernel), _columns(targets)
    if len(labels) != len(gram):
        raise ShapeError(f"The kernel is over {len(gram)} samples and there are {len(labels)} targets.")
    if centered:
        gram = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
        labels = labels - labels.mean(0)
    other = labels @ labels.T
    norms = np.linalg.norm(gram) * np.linalg.norm(other)
    return float(np.sum(gram * other) / norms) if norms > 0 else float("nan")


def effective_rank(kernel: Ntk | np.ndarray) -> float:
    """``exp(-sum_i p_i log p_i)`` with ``p_i = lambda_i / sum lambda`` (Roy, Vetterli 2007).

    Args:
        kernel: symmetric positive semidefinite; a full kernel is reduced to its sum over equal outputs first.

    Returns:
        Between 1 and n; n for the identity. Rounding's negative eigenvalues count as zero.

    Raises:
        InputError: the kernel has no positive eigenvalue.
    """
    values = np.linalg.eigvalsh(sample_kernel(kernel)).clip(min=0)
    if values.sum() <= 0:
        raise InputError("The kernel has no positive eigenvalue, so no effective rank exists.")
    share = values / values.sum()
    share = share[share > 0]
    return float(np.exp(-np.sum(share * np.log(share))))


def sample_kernel(kernel: Ntk | np.ndarray) -> Float64[np.ndarray, "n n"]:
    """The symmetric kernel over samples, ``(n, n)`` in float64: summed over equal outputs.

    Raises:
        ShapeError: the kernel is not square.
    """
    array = kernel.kernel if isinstance(kernel, Ntk) else np.asarray(kernel)
    array = array[:, None, :, None] if array.ndim == 2 else array
    if array.ndim != 4 or array.shape[:2] != array.shape[2:]:
        raise ShapeError(f"A square kernel (n, n) or (n, c, n, c) was needed, found {array.shape}.")
    return np.einsum("ncmc->nm", array, dtype=np.float64)


def _columns(targets: Tensor | np.ndarray) -> np.ndarray:
    array = targets.cpu().numpy() if isinstance(targets, Tensor) else np.asarray(targets)
    if array.dtype.kind in "iu" and array.ndim == 1:
        return (array[:, None] == np.unique(array)[None]).astype(np.float64)
    return array.reshape(len(array), -1).astype(np.float64)
