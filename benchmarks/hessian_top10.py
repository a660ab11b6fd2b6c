"""Top ten Hessian eigenvalues of a 670k-parameter MLP at N = 1024, to 1e-3 and 1e-5 (float32, one thread, CPU seconds).

Accuracy is the largest relative error of the ten values, each relative to itself, against float64 at 1e-8. Ours stops by its own rule;
`told` peers were told the least that reaches the accuracy, `own rule` peers stop where their flags say so.
"""

import json
import statistics
import tempfile

import numpy as np
import torch
from torch import nn

from gemm import gemm_peak, seconds
from isthmus import Problem, hessian_eigenvalues, hessian_operator
from peer import peer
from peers.subject import classifier, clustered

REPEATS = 3
PEERS = ("hessian_eigenthings", "curvlinops", "pyhessian")


def problem(samples: int = 1024, trained: bool = False) -> Problem:
    module, inputs, labels = clustered(samples) if trained else classifier(samples)
    return Problem(module, inputs, labels, nn.CrossEntropyLoss())


def product_flops(samples: int) -> float:
    """Matrix products of one backward pass through the gradient's graph: two for the first layer, six for each later one."""
    return 2 * samples * (2 * 784 * 512 + 6 * (512 * 512 + 512 * 10))


def ours(subject: Problem, rtol: float, reference: np.ndarray, one: float) -> float:
    records = []

    def run(seed: int) -> float:
        return seconds(lambda: records.append(hessian_eigenvalues(subject, 10, rtol=rtol, seed=seed, verify=False)))

    took = statistics.median(run(seed) for seed in range(REPEATS))
    error = max(np.abs(record.values / reference - 1).max() for record in records)
    products = statistics.median(record.cost.matvecs for record in records)
    sure = min(int(record.converged.sum()) for record in records)
    print(f"isthmus rtol {rtol:g}: {took:.2f} s = {took / one:.0f} products' time, {products:.0f} products,", end=" ")
    print(f"at least {sure} of 10 converged, largest error of {REPEATS} seeds {error:.1e}", flush=True)
    return took


def compare(subject: Problem, *name: str) -> None:
    operator, vector = hessian_operator(subject), torch.randn(subject.network.size)
    one = statistics.median(seconds(lambda: operator @ vector) for _ in range(7))
    peak = gemm_peak()
    print(f"one Hessian product: {one:.3f} s, GEMM peak {peak / 1e9:.1f} GFLOP/s, {product_flops(1024) / one / peak:.2f} of peak")
    reference = hessian_eigenvalues(subject.to(torch.float64), 10, rtol=1e-8, seed=9, verify=False).values
    print("values", np.array2string(reference, precision=4))
    took = {rtol: ours(subject, rtol, reference, one) for rtol in (1e-3, 1e-5)}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(reference.tolist(), file)
        file.flush()
        for other in PEERS:
            for row, (spent, error, note) in (peer(other, f"curvature_{other}.py", "top10", file.name, *name) or {}).items():
                mine = took[1e-5] if row.startswith("1e-05") else took[1e-3]
                print(f"{other} {row}: {spent:.2f} s, error {error:.1e} ({note}); {spent / mine:.2f} times ours", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    compare(problem())
    print("after 28 steps on clustered data:")
    compare(problem(trained=True), "clustered")


if __name__ == "__main__":
    main()
