"""One self-contained HTML file, and a short table, from saved records."""

from isthmus.report.atlas import render

__all__ = ["render"]
