"""A figure as a file of its own."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from isthmus._core.errors import InputError
from isthmus.results.record import write_atomically

_KINDS = (".svg", ".png", ".pdf")


def require_image(path: Path | None) -> None:
    """Refuse a name that is no picture's before anything is computed.

    Raises:
        InputError: another suffix than .svg, .png or .pdf.
    """
    if path is not None and path.suffix not in _KINDS:
        raise InputError(f"--figure {path} ends in {path.suffix or 'nothing'}; one of {', '.join(_KINDS)} is needed.")


def save_figure(figure: Figure, path: Path) -> None:
    """Write it on white, in the format of the suffix."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:], facecolor="white", dpi=150)
    write_atomically(path, drawn.getvalue())
