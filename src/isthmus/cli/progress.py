"""What is being computed, how much is done, the time left, and the memory in use."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from isthmus.studies.stage import Progress as Report


@contextmanager
def progress_display(*, enabled: bool) -> Iterator[Report | None]:
    """A live line on the terminal; nothing when disabled."""
    if not enabled:
        yield None
        return
    console = Console(stderr=True)
    columns = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("[dim]{task.fields[memory]}"),
    ]
    with Progress(*columns, console=console, refresh_per_second=4) as display:
        lines: dict[str, TaskID] = {}

        def report(stage: str, doing: str, done: int, total: int) -> None:
            if stage not in lines:
                _finish(display)
                lines[stage] = display.add_task(stage, total=total, memory=_memory())
            display.update(lines[stage], description=f"{stage}: {doing}", completed=done, total=total, memory=_memory())

        yield report
        _finish(display)


def _finish(display: Progress) -> None:
    for task in display.tasks:
        display.update(task.id, completed=task.total)


def _memory() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB"
