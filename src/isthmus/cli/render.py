"""The verb `isthmus render`."""

import sys
from pathlib import Path

from isthmus.report import render as draw


def render(directory: Path) -> None:
    """Draw atlas.html again from the records in a run's folder; nothing is computed.

    Parameters
    ----------
    directory
        The folder that isthmus survey wrote.
    """
    sys.stdout.write(f"atlas: {draw(directory).resolve()}\n")
