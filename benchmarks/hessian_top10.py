"""Top ten Hessian eigenvalues of a 670k-parameter MLP at N = 1024, to 1e-3 and 1e-5 (one thread, medians).

The unit is one Hessian product, measured in the same run: a solver cannot need less than some tens of them.
"""

import statistics

import torch
from torch import nn

from gemm import gemm_peak, seconds
from isthmus import Problem, hessian_eigenvalues, hessian_operator

REPEATS = 3


def problem(samples: int = 1024) -> Problem:
    """784-512-512-10 with GELU on Gaussian inputs; cross-entropy."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(784, 512), nn.GELU(), nn.Linear(512, 512), nn.GELU(), nn.Linear(512, 10))
    return Problem(net, torch.randn(samples, 784), torch.randint(0, 10, (samples,)), nn.CrossEntropyLoss())


def product_flops(samples: int) -> float:
    """Matrix products of one backward pass through the gradient's graph: two for the first layer, six for each later one."""
    return 2 * samples * (2 * 784 * 512 + 6 * (512 * 512 + 512 * 10))


def main() -> None:
    torch.set_num_threads(1)
    subject = problem()
    operator, vector = hessian_operator(subject), torch.randn(subject.network.size)
    one = statistics.median(seconds(lambda: operator @ vector) for _ in range(7))
    peak = gemm_peak()
    print(f"one Hessian product: {one:.3f} s, GEMM peak {peak / 1e9:.1f} GFLOP/s, {product_flops(1024) / one / peak:.2f} of peak")
    for rtol in (1e-3, 1e-5):
        runs = []
        for _ in range(REPEATS):
            found = []
            runs.append(
                seconds(lambda found=found, rtol=rtol: found.append(hessian_eigenvalues(subject, 10, rtol=rtol, verify=False)))
            )
        took, record = statistics.median(runs), found[0]
        sure = f"{int(record.converged.sum())} of 10 converged"
        print(f"rtol {rtol:g}: {took:.2f} s = {took / one:.0f} products' time, {record.cost.matvecs} products, {sure}")


if __name__ == "__main__":
    main()
