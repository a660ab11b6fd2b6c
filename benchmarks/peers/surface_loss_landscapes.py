"""loss-landscapes 3.0.6: CPU seconds of one random plane, as its documentation calls it.

python surface_loss_landscapes.py mlp|cnn POINTS
"""

import json
import sys
import time

import loss_landscapes
import torch
from loss_landscapes.metrics.sl_metrics import Loss
from torch import nn


def network(kind):
    """The two networks of the comparison, and the shape of their data."""
    if kind == "mlp":
        return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)), (1024, 784)
    first = nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    last = nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 49, 10)
    return nn.Sequential(*first, *last), (128, 1, 28, 28)


def main(kind, points):
    """Time the plane."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, shape = network(kind)
    metric = Loss(nn.CrossEntropyLoss(), torch.randn(*shape), torch.randint(0, 10, shape[:1]))
    start = time.process_time()
    loss_landscapes.random_plane(net, metric, 1, int(points), normalization="filter", deepcopy_model=True)
    print(json.dumps({"seconds": time.process_time() - start}))


main(*sys.argv[1:])
