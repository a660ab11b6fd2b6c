"""The peak of a matrix product on this machine, measured in the same run as what it is compared with."""

import statistics
import time

import torch


def gemm_peak(dtype: torch.dtype = torch.float32, size: int = 2048, repeats: int = 7) -> float:
    """Median floating-point operations a second of a square product, on the current number of threads."""
    a, b = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
    a @ b
    return 2 * size**3 / statistics.median(seconds(lambda: a @ b) for _ in range(repeats))


def seconds(work) -> float:
    """CPU seconds of this process in one call."""
    start = time.process_time()
    work()
    return time.process_time() - start
