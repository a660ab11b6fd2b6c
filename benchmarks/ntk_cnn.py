"""Structured NTK of convolutional networks (process CPU seconds, one thread, medians).

A CNN 1-16-32-32 (3x3, strides 1, 2, 2) with a Linear head on 28x28 images, full kernel of 128 samples and 10 outputs, as
a fraction of the GEMM peak. With the argument ``resnet`` a network of ResNet-18's shape on 32x32 images, a quarter as
wide, against Jacobian contraction; with ``resnet full`` at its own width, where Jacobian contraction is measured on few
samples and goes on along a line. Memory is what a call adds to the peak of a process of its own.
"""

import json
import statistics
import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from apart import apart, cost
from gemm import gemm_peak, seconds
from isthmus.kernel import JacobianContraction, Structured, empirical_ntk
from isthmus.model.network import Network
from peer import peer

OUTPUTS = 10
METHODS = {"Structured": Structured(), "JacobianContraction": JacobianContraction()}


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 49, OUTPUTS),
    )  # fmt: skip


def necessary_flops(samples: int) -> float:
    """Forward and class-wise backward passes, per-sample gradients, and their contraction on the symmetric half.

    No gradient of the images is needed; the head's deltas are the identity.
    """
    layers = [(9, 16, 784), (144, 32, 196), (288, 32, 49)]  # inputs of one output number, channels, positions
    rows, total = samples * OUTPUTS, samples**2 * 32 * 49 + 2 * samples * 32 * 49 * OUTPUTS
    for index, (fan_in, fan_out, positions) in enumerate(layers):
        forward = 2 * fan_in * fan_out * positions
        total += samples * forward + (rows * forward if index else 0) + rows * forward + rows**2 * (fan_in + 1) * fan_out
    return total


class Block(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a shortcut."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(ins, outs, 3, stride, 1, bias=False), nn.BatchNorm2d(outs)
        self.conv2, self.bn2 = nn.Conv2d(outs, outs, 3, 1, 1, bias=False), nn.BatchNorm2d(outs)
        changes = stride != 1 or ins != outs
        self.short = (
            nn.Sequential(nn.Conv2d(ins, outs, 1, stride, bias=False), nn.BatchNorm2d(outs)) if changes else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.short(x))


def resnet18(width: int) -> nn.Module:
    """The CIFAR form of ResNet-18; `width` channels in the first stage (64 in the original)."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    ins = width
    for stage in range(4):
        for block in range(2):
            outs = width * 2**stage
            layers.append(Block(ins, outs, 2 if stage and not block else 1))
            ins = outs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(ins, OUTPUTS)).eval()


def small() -> None:
    torch.manual_seed(0)
    network, inputs = Network(cnn()), torch.randn(128, 1, 28, 28)
    empirical_ntk(network, inputs, method=Structured(), verify=False)
    times, peaks = [], []
    for _ in range(7):
        peaks.append(gemm_peak(repeats=3))
        times.append(seconds(lambda: empirical_ntk(network, inputs, method=Structured(), verify=False)))
    took, peak = statistics.median(times), statistics.median(peaks)
    share = necessary_flops(128) / took / peak
    print(f"CNN 1-16-32-32, N=128: {took:.3f} s, GEMM peak {peak / 1e9:.1f} GFLOP/s, {share:.2f} of peak", flush=True)
    for environment in ("neural_tangents", "nngeometry"):
        theirs = peer(environment, f"ntk_{environment}.py", "cnn", "128")
        if theirs:
            print(f"  {environment}: {theirs['seconds']:.2f} s, {theirs['seconds'] / took:.1f} times ours", flush=True)


def measured(name: str, width: int, samples: int) -> None:
    """Print plan, CPU seconds and added peak memory of one method, for the process that asked."""
    torch.manual_seed(0)
    network, inputs, method = Network(resnet18(width)), torch.randn(samples, 3, 32, 32), METHODS[name]
    empirical_ntk(network, inputs[:1], method=method, verify=False)  # what loads code and kernels on first use
    spent = cost(lambda: empirical_ntk(network, inputs, method=method, verify=False))
    plan = method.plan(network, inputs, None, "full")
    print(json.dumps({**spent, "size": network.size, "flops": plan.flops, "planned": plan.bytes}))


def shown(name: str, width: int, samples: int) -> dict[str, float]:
    """`measured` in a process of its own."""
    found = apart(__file__, "measured", name, str(width), str(samples))
    print(
        f"ResNet-18 shape, width {width}, {found['size'] / 1e6:.2f}M parameters, N={samples}, {name}: {found['seconds']:.1f} s CPU "
        f"({found['flops'] / found['seconds'] / 1e9:.0f} planned GFLOP/s), peak memory grew by {found['bytes'] / 2**30:.2f} GiB "
        f"(planned {found['planned'] / 2**30:.2f})",
        flush=True,
    )
    return found


def large(width: int, samples: int, few: Sequence[int]) -> None:
    """Ours on all samples; contraction on few, its memory continued linearly and its time quadratically in the samples."""
    ours, theirs = shown("Structured", width, samples), [shown("JacobianContraction", width, n) for n in few]
    memory = np.polynomial.Polynomial.fit(few, [one["bytes"] for one in theirs], min(1, len(few) - 1))
    time = np.polynomial.Polynomial.fit([0, *few], [0, *(one["seconds"] for one in theirs)], min(2, len(few)))
    grown, took = memory(samples), time(samples)
    print(
        f"Jacobian contraction at N={samples}, from N={', '.join(map(str, few))}: {grown / 2**30:.2f} GiB, "
        f"{grown / ours['bytes']:.1f} times ours; {took:.0f} s, {took / ours['seconds']:.1f} times ours",
        flush=True,
    )


def main() -> None:
    torch.set_num_threads(1)
    words = sys.argv[1:]
    if "measured" in words:
        measured(words[1], int(words[2]), int(words[3]))
    elif "resnet" not in words:
        small()
    elif "full" in words:
        large(64, 64, few=(4, 8, 16))
    else:
        large(16, 64, few=(64,))


if __name__ == "__main__":
    main()
