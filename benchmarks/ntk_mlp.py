"""Structured NTK of MLPs (process CPU seconds, one thread, medians), as fractions of the GEMM peak of the same dtype.

784-512-512-10 with 10 outputs, full kernel, in float32 and float64, beside neural-tangents and nngeometry; the memory that a
call adds to the process, against the kernel's own size; and the trace kernel of 4000 points of 40-100-100-10 in float64.
"""

import itertools
import statistics
import sys

import torch
from torch import nn

from apart import cost
from gemm import gemm_peak, seconds
from isthmus.kernel import Structured, empirical_ntk
from isthmus.model.network import Network
from isthmus.results.kernel import Ntk
from peer import peer

WIDTHS, OUTPUTS, REPEATS = [784, 512, 512, 10], 10, 5


def network(widths: list[int], dtype: torch.dtype) -> Network:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return Network(nn.Sequential(*layers[:-1]).to(dtype))


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


def full(samples: int, dtype: torch.dtype) -> float:
    net, inputs = network(WIDTHS, dtype), torch.randn(samples, WIDTHS[0], dtype=dtype)

    def work() -> None:
        empirical_ntk(net, inputs, method=Structured(), verify=False)

    work()
    times, peaks = [], []
    for _ in range(REPEATS):
        peaks.append(gemm_peak(dtype, repeats=3))
        times.append(seconds(work))
    took, peak = statistics.median(times), statistics.median(peaks)
    share = necessary_flops(samples, OUTPUTS, WIDTHS) / took / peak
    plan = Structured().plan(net, inputs, None, "full")
    print(
        f"{str(dtype).removeprefix('torch.')} N={samples}: {took:.3f} s, GEMM peak {peak / 1e9:.1f} GFLOP/s, {share:.2f} of peak, "
        f"planned operations {plan.flops / necessary_flops(samples, OUTPUTS, WIDTHS):.2f} of the necessary",
        flush=True,
    )
    return took


def beside_peers(samples: int, ours: float) -> None:
    """Other libraries on the same network and sizes; nngeometry's kernel of the larger size takes too long."""
    for environment in ("neural_tangents", "nngeometry")[: 2 if samples <= 512 else 1]:
        theirs = peer(environment, f"ntk_{environment}.py", "mlp", str(samples))
        if theirs:
            print(f"  {environment}: {theirs['seconds']:.2f} s, {theirs['seconds'] / ours:.1f} times ours", flush=True)


def memory(samples: int) -> None:
    net, inputs = network(WIDTHS, torch.float32), torch.randn(samples, WIDTHS[0])
    empirical_ntk(net, inputs[:32], method=Structured(), verify=False)
    records: list[Ntk] = []
    grown = cost(lambda: records.append(empirical_ntk(net, inputs, method=Structured(), verify=False)))["bytes"]
    print(f"memory at N={samples}: {grown / records[0].kernel.nbytes:.2f} times the result", flush=True)


def trace(samples: int) -> None:
    net, inputs = network([40, 100, 100, 10], torch.float64), torch.randn(samples, 40, dtype=torch.float64)
    took = statistics.median(seconds(lambda: empirical_ntk(net, inputs, outputs="trace", verify=False)) for _ in range(3))
    print(f"trace kernel of {samples} points, 40-100-100-10, float64: {took:.2f} s", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    sizes = [int(a) for a in sys.argv[1:]] or [256]
    memory(max(sizes))
    for samples in sizes:
        beside_peers(samples, full(samples, torch.float32))
    full(min(sizes), torch.float64)
    trace(4000)


if __name__ == "__main__":
    main()
