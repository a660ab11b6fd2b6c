"""The verb `isthmus game`."""

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from isthmus.cli.options import AtCheckpoint, Json, Out, SeedNumber, Target
from isthmus.cli.place import first_samples, problem_at
from isthmus.cli.show import show
from isthmus.games.pathgame import PathGame


def game(
    target: Target,
    *,
    ask: Literal["certificate", "flows", "removals"] = "certificate",
    samples: int = 1000,
    cost: Literal["marginal", "average"] = "marginal",
    gates: Literal["frozen", "linear"] = "frozen",
    exact: Annotated[bool, Parameter(negative="")] = False,
    limit: float = 2e12,
    level: Literal["unit", "edge", "layer"] = "unit",
    on: Literal["train", "heldout"] = "train",
    checkpoint: AtCheckpoint = None,
    seed: SeedNumber = 0,
    out: Out = None,
    plan: Annotated[bool, Parameter(negative="")] = False,
    as_json: Json = False,
) -> int:
    """Read a network as a routing game: how far from equilibrium is it, which paths carry it, which removal helps.

    Parameters
    ----------
    ask
        certificate: loss, gap and what it bounds; flows: path flows of edges and units, strongest paths; removals: the loss
        without each unit, edge or layer.
    samples
        How many training samples.
    cost
        marginal: the loss is the potential; average: it is the social cost (squared loss).
    gates
        frozen: ReLU gates stay as they are; linear: insist that there are none.
    exact
        Exact prices by branch and bound, instead of an upper bound.
    limit
        With --exact, the most floating-point operations that the worst case may take.
    level
        With --ask removals, what is removed.
    on
        With --ask removals, whose loss.
    plan
        Only say what --exact would cost.
    """
    played = PathGame(first_samples(problem_at(target, checkpoint), samples), cost, gates)
    if plan:
        sys.stdout.write(f"{played.plan()}\n")
        return 0
    if ask == "flows":
        return show(played.flows(seed=seed), as_json=as_json, out=out)
    if ask == "removals":
        return show(played.braess_scan(level=level, on=on), as_json=as_json, out=out)
    record = played.certificate(prices="exact" if exact else "bound", limit=limit)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        piece = "of this linear piece, " if record.gates == "frozen" else ""
        what = "loss - least loss" if cost == "marginal" else "Beckmann's potential - its least value"
        sys.stdout.write(
            f"{record.verdict}; {piece}{what} within path norms R = {record.path_norm:.4g} is at most {record.gap:.4g}\n"
        )
    return code
