"""A loss surface on a grid: MLP 784-512-512-10 at N = 1024, and a small CNN at N = 128 (one thread, process CPU seconds).

``surface.py [POINTS]`` takes POINTS x POINTS (51 by default; the cost of a point does not depend on it). Beside it loss-landscapes
3.0.6 in its own environment, and the algorithm of Li et al.'s code written out: set every parameter, run the network over the
data in batches of 128, or in one batch.
"""

import copy
import sys
import time

import torch
from torch import Tensor, nn

from gemm import gemm_peak
from isthmus import Problem, loss_plane, random_directions
from peer import peer


def mlp() -> Problem:
    net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return Problem(net, torch.randn(1024, 784), torch.randint(0, 10, (1024,)), nn.CrossEntropyLoss())


def cnn() -> Problem:
    net = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 49, 10)),
    )
    return Problem(net, torch.randn(128, 1, 28, 28), torch.randint(0, 10, (128,)), nn.CrossEntropyLoss())


def flops(problem: Problem) -> float:
    """Of the matrix products of one forward pass without the first layer's."""
    layers, total = [], 0.0
    net = problem.network.module
    hooks = [
        sub.register_forward_hook(lambda m, i, o: layers.append((m, o)))
        for sub in net.modules()
        if isinstance(sub, nn.Linear | nn.Conv2d)
    ]
    net(problem.inputs)
    for layer, output in layers[1:]:
        total += 2 * output.numel() * layer.weight[0].numel()
    for hook in hooks:
        hook.remove()
    return total


def li(problem: Problem, directions: Tensor, points: int, batch: int) -> None:
    """What the code of Li et al. (2018) does: parameters one by one, then a pass over a loader."""
    net = copy.deepcopy(problem.network.module).eval()
    weights = [p.detach().clone() for p in net.parameters()]
    first, second = ([v.clone() for v in problem.network.layout.unflatten(row).values()] for row in directions)
    grid = torch.linspace(-1, 1, points).tolist()
    with torch.no_grad():
        for x in grid:
            for y in grid:
                for p, w, a, b in zip(net.parameters(), weights, first, second, strict=True):
                    p.data = w + (a * x + b * y)
                total, correct = 0.0, 0
                for inputs, labels in zip(problem.inputs.split(batch), problem.targets.split(batch), strict=True):
                    outputs = net(inputs)
                    total += nn.functional.cross_entropy(outputs, labels).item() * len(labels)
                    correct += int((outputs.argmax(1) == labels).sum())


def timed(work, points: int) -> float:
    """CPU seconds a point."""
    start = time.process_time()
    work()
    return (time.process_time() - start) / points**2


def main() -> None:
    torch.set_num_threads(1)
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 51
    for kind, name, make in (("mlp", "MLP 784-512-512-10, N=1024", mlp), ("cnn", "CNN 1-16-32-32, 28x28, N=128", cnn)):
        torch.manual_seed(0)
        problem = make()
        directions = random_directions(problem, normalize="layer")
        peak = gemm_peak()
        ours = timed(lambda: loss_plane(problem, directions, points=points), points)
        print(f"{name}, {points} x {points}, GEMM peak {peak / 1e9:.1f} GFLOP/s")
        share = flops(problem) / ours / peak
        print(
            f"  isthmus            {ours * points**2:7.2f} s, {1e3 * ours:.2f} ms a point, {share:.2f} of peak without the first layer"
        )
        peers = {
            "Li et al., batch 128": lambda: li(problem, directions.vectors, points, 128),
            "Li et al., one batch": lambda: li(problem, directions.vectors, points, problem.samples),
        }
        found = {words: timed(work, points) for words, work in peers.items()}
        library = peer("loss-landscapes", "surface_loss_landscapes.py", kind, str(points))
        if library is not None:
            found["loss-landscapes"] = library["seconds"] / points**2
        for words, took in found.items():
            print(f"  {words:20s} {took * points**2:7.2f} s, {1e3 * took:.2f} ms a point, {took / ours:.2f} times ours")


if __name__ == "__main__":
    main()
