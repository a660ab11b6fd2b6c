"""The verb `isthmus tune`."""

import sys
from typing import Literal

from rich.console import Console
from rich.table import Table

from isthmus.cli.options import Json, Out, Samples, SeedNumber, Target
from isthmus.cli.place import first_samples, problem_at
from isthmus.cli.show import show
from isthmus.dynamics import rank_optimizers, spectrum
from isthmus.dynamics import tune as best_settings
from isthmus.results.optimizers import Ranking


def tune(
    target: Target,
    *,
    family: Literal["gradient_descent", "heavy_ball", "nesterov"] = "heavy_ball",
    objective: Literal["rate", "steps"] = "steps",
    fraction: float = 0.01,
    max_steps: int = 2000,
    samples: Samples = None,
    seed: SeedNumber = 0,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """The best step size and momentum on the network's modes, and a table of optimizers by predicted steps.

    Parameters
    ----------
    family
        What is tuned.
    objective
        steps: fewest steps to the fraction; rate: best asymptotic rate, in closed form.
    fraction
        Of the error that training can remove.
    max_steps
        Where counting stops.
    """
    problem = problem_at(target)
    modes = spectrum(problem if samples is None else first_samples(problem, samples), seed=seed)
    record = best_settings(modes, family, objective=objective, fraction=fraction, max_steps=max_steps)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        reached = f"{record.steps} steps" if record.steps >= 0 else f"more than {max_steps} steps"
        sys.stdout.write(f"  lr {record.learning_rate:.6g}, momentum {record.momentum:.6g}: {reached}\n")
        Console().print(_table(rank_optimizers(modes, fractions=(0.1, fraction), max_steps=max_steps)))
    return code


def _table(ranking: Ranking) -> Table:
    table = Table(title="predicted steps, full batch", title_justify="left", box=None, pad_edge=False)
    for name in ("optimizer", "lr", "momentum", *(f"to {fraction:g}" for fraction in ranking.fraction)):
        table.add_column(name, justify="left" if name == "optimizer" else "right")
    for row, name in enumerate(ranking.names):
        momentum = f"{ranking.momentum[row]:.4f}" if ranking.momentum[row] == ranking.momentum[row] else "scheduled"
        steps = [str(step) if step >= 0 else f"> {ranking.max_steps}" for step in ranking.steps[row]]
        table.add_row(name, f"{ranking.learning_rate[row]:.4g}", momentum, *steps)
    return table
