"""The headline numbers as a short table in a terminal."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from isthmus.report.chapters import CHAPTERS
from isthmus.report.loading import load_records, load_run, present


def headlines(directory: Path | str) -> dict[str, dict[str, str]]:
    """Chapter id to the name and value of its headline numbers."""
    records = load_records(Path(directory))
    return {
        chapter.id: {line.name: line.value for line in chapter.headline(records)}
        for chapter in CHAPTERS
        if present(chapter, records)
    }


def print_headlines(directory: Path | str, console: Console) -> None:
    """The same numbers as the atlas shows, one line each."""
    run = load_run(Path(directory))
    table = Table(
        title=f"{run['name']}: {run['task']}" if run["task"] else run["name"], title_justify="left", box=None, pad_edge=False
    )
    table.add_column("quantity")
    table.add_column("value", justify="right")
    for chapter, lines in headlines(directory).items():
        for name, value in lines.items():
            table.add_row(f"[dim]{chapter}[/dim] {name}", value)
    console.print(table)
