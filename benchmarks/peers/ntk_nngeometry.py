"""nngeometry 0.4; median CPU seconds of the full kernel.

python nngeometry.py mlp N | cnn N
"""

import json
import statistics
import sys
import time

import torch
from nngeometry.gram import GramMatrix
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def network(kind):
    """The two networks of the comparison, and the shape of their inputs."""
    if kind == "mlp":
        return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)), (784,)
    layers = []
    for ins, outs, stride in ((1, 16, 1), (16, 32, 2), (32, 32, 2)):
        layers += [nn.Conv2d(ins, outs, 3, stride, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 49, 10)), (1, 28, 28)


def main(kind, samples):
    """Time the dense Gram matrix of the Jacobian."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module, shape = network(kind)
    module.eval()
    count = int(samples)
    inputs = torch.randn(count, *shape)
    loader = DataLoader(TensorDataset(inputs, torch.zeros(count, dtype=torch.long)), batch_size=count)
    times = []
    for _ in range(3):
        start = time.process_time()
        GramMatrix(module, loader).to_torch()
        times.append(time.process_time() - start)
    print(json.dumps({"seconds": statistics.median(times)}))


main(*sys.argv[1:])
