"""A user's file, good and bad."""

SOURCE = """
import torch
from torch import nn

import isthmus

EPOCHS = 3
BATCH = 20
CLASSES = 3


def data(samples=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, 5, generator=generator), torch.randint(0, CLASSES, (samples,), generator=generator)


def network(inputs=5, outputs=CLASSES):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs))


def problem():
    inputs, labels = data()
    return isthmus.Problem(network(), inputs, labels, nn.CrossEntropyLoss(), test=data(30, 1), name="small")


def shapes_that_do_not_match():
    return isthmus.Problem(network(), torch.zeros(10, 5), torch.zeros(10, 4), nn.MSELoss())


def inputs_that_do_not_fit():
    return isthmus.Problem(network(6), torch.zeros(10, 5), torch.zeros(10, 3), nn.MSELoss())


def nan_data():
    inputs, labels = data()
    inputs[3, 2] = float("nan")
    return isthmus.Problem(network(), inputs, labels, nn.CrossEntropyLoss())


def empty_data():
    return isthmus.Problem(network(), torch.zeros(0, 5), torch.zeros(0, 3), nn.MSELoss())


def integer_targets():
    inputs, labels = data()
    return isthmus.Problem(network(), inputs, labels, nn.MSELoss())


def too_many_classes():
    inputs, labels = data()
    return isthmus.Problem(network(outputs=2), inputs, labels, nn.CrossEntropyLoss())


def unknown_reduction():
    return isthmus.Problem(network(), torch.zeros(9, 5), torch.zeros(9, 3), lambda out, y: (out - y).abs().mean())


def many_outputs():
    return isthmus.Problem(network(outputs=400), torch.ones(5000, 5), torch.zeros(5000, 400), nn.MSELoss())


def batch_coupled():
    inputs, labels = data()
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 3))
    return isthmus.Problem(net, inputs, labels, nn.CrossEntropyLoss())


def relu_network():
    inputs, labels = data()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    return isthmus.Problem(net, inputs, labels, nn.CrossEntropyLoss(), test=(inputs[:9], labels[:9]))


def another_network():
    inputs, labels = data()
    return isthmus.Problem(nn.Linear(5, 3), inputs, labels, nn.CrossEntropyLoss())


def no_problem():
    return 3


def that_fails():
    raise OSError("the data file is gone")
"""
