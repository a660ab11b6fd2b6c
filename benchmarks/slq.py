"""Stochastic Lanczos quadrature, 3 probes of 40 steps, of the Hessian of a 670k-parameter MLP at N = 1024 (float32, CPU seconds)."""

import statistics

import torch

from gemm import gemm_peak, seconds
from hessian_top10 import PEERS, problem
from isthmus import Seed, hessian_operator, stochastic_lanczos_quadrature
from peer import peer

REPEATS = 3


def main() -> None:
    torch.set_num_threads(1)
    subject = problem()
    vector = torch.randn(subject.network.size)

    def run() -> None:
        stochastic_lanczos_quadrature(hessian_operator(subject), steps=40, probes=3, seed=Seed(0))

    took = statistics.median(seconds(run) for _ in range(REPEATS))
    operator = hessian_operator(subject)
    one = statistics.median(seconds(lambda: operator @ vector) for _ in range(7))
    print(f"GEMM peak {gemm_peak() / 1e9:.1f} GFLOP/s; isthmus: {took:.2f} s = {took / one:.0f} products' time for 120 products")
    for name in PEERS:
        theirs = peer(name, f"curvature_{name}.py", "slq")
        if theirs:
            print(f"{name}: {theirs['seconds']:.2f} s, {theirs['seconds'] / took:.2f} times ours", flush=True)


if __name__ == "__main__":
    main()
