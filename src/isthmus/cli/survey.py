"""The verb `isthmus survey`."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter
from rich.console import Console

from isthmus._core.errors import InputError
from isthmus.cli.claims_stage import claims_stage
from isthmus.cli.loading import load_task
from isthmus.cli.progress import progress_display
from isthmus.model.data import Task, builtin_task
from isthmus.report import render
from isthmus.report.terminal import headlines, print_headlines
from isthmus.studies.stages import STAGES
from isthmus.studies.survey import survey as run_survey


def survey(
    target: str | None = None,
    *,
    task: Literal["mnist1d", "digits", "teacher"] | None = None,
    out: Path | None = None,
    seed: int = 0,
    epochs: Annotated[int | None, Parameter(validator=cyclopts.validators.Number(gte=1))] = None,
    checkpoints: Path | None = None,
    scale: Literal["smoke", "desk"] = "desk",
    claims: bool = True,
    quiet: bool = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Train (or replay) a network, measure its landscape along the way, and draw atlas.html.

    A survey that was stopped goes on where it was: run the same command again.

    Parameters
    ----------
    target
        FILE.py:function that returns an isthmus.Problem; optimizer(params), EPOCHS and BATCH are read from the file.
    task
        A built-in task instead of a file; mnist1d when neither is given.
    out
        Folder of the run; runs/NAME by default.
    seed
        Root of every random draw.
    epochs
        Passes over the data, instead of the task's own number.
    checkpoints
        Folder of checkpoints (from isthmus.Recorder) to replay instead of training.
    scale
        desk: minutes; smoke: seconds, for a first look.
    claims
        Check the claims on this network too.
    quiet
        No progress display.
    as_json
        Print the headline numbers as JSON.
    """
    chosen, name = choose_task(target, task, seed, epochs)
    folder = out or Path("runs") / name
    stages = (*STAGES, claims_stage()) if claims else STAGES
    with progress_display(enabled=not (quiet or as_json)) as progress:
        run_survey(
            chosen,
            out=folder,
            seed=seed,
            checkpoints=checkpoints,
            scale=scale,
            stages=stages,
            progress=progress,
            command=command_line(),
        )
    finish(folder, Console(), quiet=quiet, as_json=as_json)


def choose_task(target: str | None, name: str | None, seed: int, epochs: int | None) -> tuple[Task, str]:
    """The task of a file or a built-in one, and the name of its run folder.

    Raises:
        InputError: both were given, or the file cannot be used.
    """
    if target is not None and name is not None:
        raise InputError(f"Both a file ({target}) and --task {name} were given; pass one of them.")
    chosen = load_task(target) if target is not None else builtin_task(name or "mnist1d", seed)
    task = Task(chosen.problem, chosen.optimizer, epochs or chosen.epochs, chosen.batch, chosen.description)
    return task, name or (Path(target.partition(":")[0]).stem if target else "mnist1d")


def command_line() -> str:
    """The command that was given, for the atlas."""
    return shlex.join(["isthmus", *(word for word in sys.argv[1:] if word != "--debug")])


def finish(folder: Path, console: Console, *, quiet: bool, as_json: bool) -> None:
    """Draw the atlas and print its headline numbers and its path."""
    atlas = render(folder)
    if as_json:
        sys.stdout.write(json.dumps({"atlas": str(atlas.resolve()), "headlines": headlines(folder)}, indent=2) + "\n")
        return
    if not quiet:
        print_headlines(folder, console)
    console.print(f"\natlas: {atlas.resolve()}", soft_wrap=True, highlight=False)
