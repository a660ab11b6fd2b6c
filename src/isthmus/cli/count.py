"""The verb `isthmus count`."""

import json
import sys
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from isthmus.combinatorics.subspaces import dimension_histogram
from isthmus.combinatorics.table import CountTable, count_table, power, whole

_SHOWN = 8


def count(
    *,
    minimal: int,
    width: int,
    inputs: int = 0,
    outputs: int = 1,
    weight: Annotated[list[int] | None, Parameter(name="--weight")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """How many subspaces of minima and of symmetry-induced critical points a hidden layer has; exact.

    Parameters
    ----------
    minimal
        Units of the narrowest layer that reaches the same function, r.
    width
        Units of the layer, m >= r.
    inputs
        Length of a unit's incoming vector, its bias included; with it the dimensions are printed too.
    outputs
        Length of a unit's outgoing vector.
    weight
        Number of distinct critical points of width r-1, r-2, .. 1 (repeat the option); 1 each by default.
    as_json
        Print JSON; the counts are strings, because they outgrow every number type.
    """
    table = count_table(minimal, width, weights=weight)
    dimensions = dimension_histogram(minimal, width, inputs, outputs) if inputs else {}
    if as_json:
        sys.stdout.write(json.dumps(_plain(table, dimensions), indent=2) + "\n")
        return
    console = Console(highlight=False)
    console.print(f"Subspaces of a layer of width m whose function needs r = {minimal} units")
    console.print(_drawn(table))
    for line in table.explanation:
        console.print(f"• {line}")
    groups = ", ".join(f"{j}: {whole(n)}" for j, n in enumerate(table.zero_groups[:_SHOWN]))
    rest = f", .. up to {width - minimal} groups" if len(table.zero_groups) > _SHOWN else ""
    console.print(f"• Subspaces of minima at m = {width} by their number of zero-type groups: {groups}{rest}.")
    critical, minima = table.odd
    console.print(f"• With an odd activation (tanh, erf) sign flips make them G = {whole(critical)} and T = {whole(minima)}.")
    if dimensions:
        found = list(dimensions.items())
        rest = f", .. up to {found[-1][0]}" if len(found) > _SHOWN else ""
        console.print(f"• By dimension: {', '.join(f'{d}: {whole(n)}' for d, n in found[:_SHOWN])}{rest}.")


def _drawn(table: CountTable) -> Table:
    r = table.minimal
    drawn = Table(box=None, pad_edge=False)
    for name in ("m", f"G({r - 1}, m)", f"critical, r < {r}", f"minima T({r}, m)", "critical / minima"):
        drawn.add_column(name, justify="right")
    for row in table.rows:
        drawn.add_row(str(row.width), whole(row.nearest), whole(row.critical), whole(row.minima), power(row.ratio))
    return drawn


def _plain(table: CountTable, dimensions: dict[int, int]) -> dict:
    rows = [
        {"m": row.width, "nearest": str(row.nearest), "critical": str(row.critical), "minima": str(row.minima)}
        for row in table.rows
    ]
    return {
        "minimal": table.minimal,
        "rows": rows,
        "crossover": table.crossover,
        "nearest_crossover": table.nearest_crossover,
        "zero_groups": [str(n) for n in table.zero_groups],
        "odd": {"critical": str(table.odd[0]), "minima": str(table.odd[1])},
        "dimensions": {str(d): str(n) for d, n in dimensions.items()},
    }
