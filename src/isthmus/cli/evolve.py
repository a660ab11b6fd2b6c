"""The verb `isthmus evolve`."""

from pathlib import Path
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter
from rich.console import Console

from isthmus.cli.options import Json, SeedNumber
from isthmus.cli.progress import progress_display
from isthmus.cli.survey import choose_task, command_line, finish
from isthmus.studies.stages import EVOLUTION_STAGES
from isthmus.studies.survey import survey as run_survey


def evolve(
    target: str | None = None,
    *,
    task: Literal["mnist1d", "digits", "teacher"] | None = None,
    out: Path | None = None,
    seed: SeedNumber = 0,
    epochs: Annotated[int | None, Parameter(validator=cyclopts.validators.Number(gte=1))] = None,
    scale: Literal["smoke", "desk"] = "desk",
    quiet: bool = False,
    as_json: Json = False,
) -> None:
    """Kernel evolution alone: children against spawn time, kernel motion, after-kernels, linearized children.

    Parameters
    ----------
    target
        FILE.py:function that returns an isthmus.Problem; optimizer(params), EPOCHS and BATCH are read from the file.
    task
        A built-in task instead of a file; mnist1d when neither is given.
    out
        Folder of the run; runs/NAME-evolution by default. A stopped study goes on there.
    epochs
        Passes over the data, instead of the task's own number.
    scale
        desk: minutes; smoke: seconds, for a first look.
    quiet
        No progress display.
    """
    chosen, name = choose_task(target, task, seed, epochs)
    folder = out or Path("runs") / f"{name}-evolution"
    with progress_display(enabled=not (quiet or as_json)) as progress:
        run_survey(chosen, out=folder, seed=seed, scale=scale, stages=EVOLUTION_STAGES, progress=progress, command=command_line())
    finish(folder, Console(), quiet=quiet, as_json=as_json)
