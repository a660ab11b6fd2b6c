"""Critical points: the census of widths 1 to 3, and the curvature of splitting every unit of a 670k-parameter MLP.

    python benchmarks/embedding.py [census] [units]

The unit of the second is one Hessian product of the whole loss, measured in the same run: the aim is 80 of them for all
units of a layer. One thread, process CPU seconds.
"""

import statistics
import sys

import torch
from torch import nn

from gemm import seconds
from hessian_top10 import problem
from isthmus import Problem, census, hessian_operator, unit_curvature
from isthmus.embedding.unit_curvature import _STEPS as STEPS
from isthmus.linops.batched_lanczos import batched_extremes
from isthmus.model.data import three_steps
from isthmus.model.resizing import unit_groups
from isthmus.model.unit_derivatives import FrozenErrors
from isthmus.model.zoo import mlp


def units() -> None:
    """Extreme eigenvalues of S, norm of D and the escape value of every unit, layer by layer."""
    subject = problem()
    operator, vector = hessian_operator(subject), torch.randn(subject.network.size)
    one = statistics.median(seconds(lambda: operator @ vector) for _ in range(7))
    print(f"{subject.network.size} parameters, {subject.samples} samples; one Hessian product {one:.3f} s")
    for group in unit_groups(subject)[:2]:
        layer, found = group.name, []
        frozen = FrozenErrors(subject, group)
        nothing, start = torch.zeros(group.size, frozen.blocks.sizes[1]), torch.randn(group.size, frozen.blocks.sizes[0])
        alone = seconds(lambda f=frozen, n=nothing, s=start: batched_extremes(lambda v: f(v, n)[0], s, STEPS))
        print(
            f"layer {layer}: both ends of S of all {group.size} units, {STEPS} Lanczos steps: {alone / one:.0f} Hessian products"
        )
        took = seconds(lambda layer=layer, found=found: found.append(unit_curvature(subject, layers=[layer])))
        (record,) = found
        worst = float((record.lowest_error / abs(record.lowest).clip(1e-30)).max())
        print(
            f"    unit_curvature (S, D, escape, scatter over 8 parts), d_p = {record.own[0]}: {took:.1f} s = {took / one:.0f} Hessian "
            f"products ({record.products} of the frozen errors); largest relative error of a lowest eigenvalue {worst:.1e}"
        )


def points() -> None:
    """Widths 1, 2, 3 of the paper's one-dimensional data with 400, 1500 and 3000 starts."""
    data = three_steps()
    net = mlp([1, 1, 1], "tanh", output_bias=False).double()
    subject = Problem(net, data.train_inputs, data.train_targets, nn.MSELoss())
    found = []
    took = seconds(lambda: found.append(census(subject)))
    (record,) = found
    ended = ", ".join(f"{c} of {s} at width {w}" for w, s, c in zip(record.widths, record.starts, record.converged, strict=True))
    print(f"census: {took:.1f} s on one core; {len(record.loss)} classes; ended at a critical point: {ended}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, run in {"census": points, "units": units}.items():
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            run()
