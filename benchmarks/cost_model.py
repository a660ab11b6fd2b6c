"""The cost model against measurements: CPU seconds times GEMM peak over planned operations, and added peak memory over planned bytes.

Every row runs in a process of its own, after a call on two samples that loads code. The aim is a factor of two either way for
memory, and for time where a method runs near the peak.
"""

import json
import sys
from collections.abc import Callable

import torch
from torch import nn

from apart import apart, cost
from gemm import gemm_peak
from isthmus.kernel import JacobianContraction, NtkVectorProducts, Structured, empirical_ntk
from isthmus.model.network import Network
from ntk_cnn import cnn, resnet18
from ntk_mlp import WIDTHS, network

METHODS = {"Structured": Structured(), "JacobianContraction": JacobianContraction(), "NtkVectorProducts": NtkVectorProducts()}
SMALL = [40, 100, 100, 10]
#: name -> (network, shape of an input, dtype, reduction)
NETWORKS: dict[str, tuple[Callable[[], Network | nn.Module], tuple[int, ...], torch.dtype, str]] = {
    "MLP 784-512-512-10": (lambda: network(WIDTHS, torch.float32), (784,), torch.float32, "full"),
    "CNN 1-16-32-32": (cnn, (1, 28, 28), torch.float32, "full"),
    "ResNet-18 shape, width 16": (lambda: resnet18(16), (3, 32, 32), torch.float32, "full"),
    "trace, MLP 40-100-100-10": (lambda: network(SMALL, torch.float64), (40,), torch.float64, "trace"),
}
ROWS = [
    *(("MLP 784-512-512-10", "Structured", n) for n in (64, 256, 1024)),
    ("MLP 784-512-512-10", "JacobianContraction", 64),
    ("MLP 784-512-512-10", "NtkVectorProducts", 64),
    *(("CNN 1-16-32-32", method, n) for method, n in zip(METHODS, (128, 128, 32), strict=True)),
    *(("ResNet-18 shape, width 16", method, n) for method, n in zip(METHODS, (64, 64, 8), strict=True)),
    *(("trace, MLP 40-100-100-10", method, n) for method, n in zip(METHODS, (4000, 400, 400), strict=True)),
]


def measured(name: str, method: str, samples: int) -> None:
    """Print seconds, peak, added bytes and the plan, for the process that asked."""
    make, shape, dtype, outputs = NETWORKS[name]
    torch.manual_seed(0)
    net, inputs, way = Network.of(make()), torch.randn(samples, *shape, dtype=dtype), METHODS[method]
    plan, peak = way.plan(net, inputs, None, outputs), gemm_peak(dtype, 1024, repeats=5)
    empirical_ntk(net, inputs[:2], outputs=outputs, method=way, verify=False)
    spent = cost(lambda: empirical_ntk(net, inputs, outputs=outputs, method=way, verify=False))
    print(json.dumps({**spent, "peak": peak, "flops": plan.flops, "planned": plan.bytes}))


def main() -> None:
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        measured(sys.argv[1], sys.argv[2], int(sys.argv[3]))
        return
    for name, method, samples in ROWS:
        found = apart(__file__, name, method, str(samples))
        print(
            f"{name}, N={samples}, {method}: {found['seconds']:.2f} s, {found['seconds'] * found['peak'] / found['flops']:.2f} times "
            f"planned; {found['bytes'] / 2**20:.0f} MiB, {found['bytes'] / found['planned']:.2f} times planned",
            flush=True,
        )


if __name__ == "__main__":
    main()
