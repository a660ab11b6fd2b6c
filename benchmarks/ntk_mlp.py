"""Structured NTK of an MLP 784-512-512-10 with 10 outputs, as a fraction of the GEMM peak (one thread, medians)."""

import itertools
import statistics
import sys

import torch
from torch import nn

from gemm import gemm_peak, seconds
from isthmus.kernel import Structured, empirical_ntk


def necessary_flops(samples: int, outputs: int, widths: list[int]) -> float:
    """Forward and class-wise backward passes, and on the symmetric half the products of deltas and of inputs, by layer.

    The last layer's deltas are the identity, and no gradient of the inputs is needed.
    """
    total = 0.0
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        total += 2 * samples * fan_in * fan_out * (1 if index == 0 else 1 + outputs)
        if fan_out != widths[-1]:
            total += (samples * outputs) ** 2 / 2 * 2 * fan_out
        total += samples**2 / 2 * 2 * fan_in
    return total


def main() -> None:
    torch.set_num_threads(1)
    widths, outputs = [784, 512, 512, 10], 10
    net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    for samples in [int(a) for a in sys.argv[1:]] or [256]:
        inputs = torch.randn(samples, 784)
        empirical_ntk(net, inputs, method=Structured(), verify=False)
        times, peaks = [], []
        for _ in range(5):
            peaks.append(gemm_peak(repeats=3))
            times.append(seconds(lambda x=inputs: empirical_ntk(net, x, method=Structured(), verify=False)))
        took, peak = statistics.median(times), statistics.median(peaks)
        rate = necessary_flops(samples, outputs, widths) / took
        print(f"N={samples}: {took:.3f} s, GEMM peak {peak / 1e9:.1f} GFLOP/s, {rate / peak:.2f} of peak")


if __name__ == "__main__":
    main()
