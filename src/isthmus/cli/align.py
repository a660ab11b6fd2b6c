"""The verb `isthmus align`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import safetensors.torch
from cyclopts import Parameter

from isthmus.cli.loading import load_task
from isthmus.cli.place import at_checkpoint
from isthmus.cli.show import show
from isthmus.results.record import write_atomically
from isthmus.results.symmetry_alignment import NetworkAlignment
from isthmus.symmetry.alignment import align as aligned
from isthmus.symmetry.alignment import compare
from isthmus.symmetry.alignment_gauge import Symmetries
from isthmus.symmetry.matching_methods import ActivationMatching, Sinkhorn, WeightMatching

_METHODS = {"weights": WeightMatching, "activations": ActivationMatching, "sinkhorn": Sinkhorn}


def align(
    target: str,
    first: Path,
    second: Path,
    *,
    method: Literal["weights", "activations", "sinkhorn"] = "weights",
    symmetries: Symmetries = "signs",
    points: int = 21,
    seed: int = 0,
    plan: Annotated[bool, Parameter(negative="")] = False,
    weights: Path | None = None,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Bring the units of a second checkpoint into the order of the first, and compare the barriers.

    Parameters
    ----------
    target
        FILE.py:function that returns an isthmus.Problem.
    first
        The checkpoint that stays.
    second
        The checkpoint whose units move; its function stays the same.
    method
        Match weights, activations on the training inputs, or weights through soft permutations.
    symmetries
        Permutations alone, with signs where the activation is odd, or with positive scales too.
    points
        Grid on the line between the networks.
    seed
        Of random starts.
    plan
        Show what the matching would cost, and stop.
    weights
        Write the aligned parameters and buffers here (.safetensors).
    out
        Save the record here (.safetensors).
    as_json
        Print JSON.
    """
    problem = load_task(target).problem
    a, b = at_checkpoint(problem, first), at_checkpoint(problem, second)
    chosen = _METHODS[method]()
    if plan:
        sys.stdout.write(f"{chosen.plan(compare(a, b, symmetries).task)}\n")
        return 0
    found = aligned(a, b, method=chosen, symmetries=symmetries, barrier=points, seed=seed)
    if weights is not None:
        state = {**found.network.buffers, **found.network.parameters}
        write_atomically(weights, safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in state.items()}))
    code = show(found.record, as_json=as_json, out=out)
    if not as_json:
        sys.stdout.write(_table(found.record))
    return code


def _table(record: NetworkAlignment) -> str:
    lines = [f"  distance {record.distance[0]:.5g} -> {record.distance[1]:.5g}, outputs changed by {record.output_change:.1e}"]
    for name, size, kind, freedom in zip(record.names, record.sizes, record.kinds, record.freedoms, strict=True):
        units = record.units(name)
        moved = int((record.permutation[units] != range(size)).sum())
        free = "" if freedom == "none" else f", free: {freedom}"
        lines.append(f"  {name:24s} {size:5d} x {kind}, {moved} moved{free}")
    for name, before, after in zip(record.quantities, record.chord_before, record.chord_after, strict=True):
        lines.append(f"  {name:12s} barrier over the chord {before:.5g} -> {after:.5g}")
    return "\n".join(lines) + "\n"
