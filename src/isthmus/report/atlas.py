"""The atlas: one self-contained HTML file from the records of a run."""

from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from isthmus._core.errors import InputError
from isthmus.report import numbers
from isthmus.report.chapter import Chapter, Plate
from isthmus.report.chapters import CHAPTERS
from isthmus.report.chapters.claims import plate_id, results
from isthmus.report.citations import citations
from isthmus.report.loading import load_records, load_run, present
from isthmus.report.svg import inline_svg
from isthmus.results.record import Record, write_atomically
from isthmus.results.references import REFERENCES

_ROWS = 12


def render(directory: Path | str) -> Path:
    """Draw `atlas.html` from the records in a run's folder; nothing is computed.

    Args:
        directory: the folder that a survey wrote.

    Returns:
        The path of the file, which needs no network and no other file.

    Raises:
        InputError: the folder is not a survey's, a record is damaged, or there is nothing to show yet.
    """
    folder = Path(directory)
    run, records = load_run(folder), load_records(folder)
    chapters = [chapter for chapter in CHAPTERS if present(chapter, records)]
    if not chapters:
        raise InputError(f"{folder} holds no finished records yet; let the survey run a little longer.")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"count": numbers.count, "duration": numbers.duration}
    template = environment.from_string(_resource("atlas.html.j2"))
    page = template.render(
        run=run,
        style=Markup(_resource("atlas.css")),
        script=Markup(_resource("atlas.js")),
        found=[(c.id, c.sentence(records)) for c in sorted(chapters, key=lambda c: -c.strength)],
        chapters=[_chapter(chapter, records) for chapter in chapters],
        papers=_papers(records),
        citations=citations(run, records),
        seconds=sum(cost["wall_s"] for cost in run["costs"].values()),
    )
    return write_atomically(folder / "atlas.html", page.encode())


def _chapter(chapter: Chapter, records: dict[str, Record]) -> dict[str, Any]:
    plates = [_plate(plate) for plate in chapter.figures(records)]
    return {
        "id": chapter.id,
        "title": chapter.title,
        "question": chapter.question,
        "sentence": chapter.sentence(records),
        "headline": chapter.headline(records),
        "plates": plates,
        "figures": {plate["id"]: plate for plate in plates},
    }


def _papers(records: dict[str, Record]) -> list[dict[str, Any]]:
    """The checked claims by paper, each with the id of its figure."""
    checked = [record for _, record in results(records)]
    papers = [(reference, [claim for claim in checked if claim.paper == key]) for key, reference in REFERENCES.items()]
    return [
        {"reference": reference, "claims": [{"record": claim, "figure": plate_id(claim)} for claim in claims]}
        for reference, claims in papers
        if claims
    ]


def _plate(plate: Plate) -> dict[str, Any]:
    record = plate.record
    return {
        "id": plate.id,
        "caption": plate.caption,
        "svg": Markup(inline_svg(plate.draw(), plate.id, plate.alternative)),
        "record": record,
        "source": plate.source,
        "arrays": [_row(name, array, record.dims[name]) for name, array in record.arrays().items()],
    }


def _row(name: str, array: np.ndarray, dims: tuple[str, ...]) -> dict[str, str]:
    shape = ", ".join(f"{dim} = {length}" for dim, length in zip(dims, array.shape, strict=True))
    line = array.reshape(-1, array.shape[-1])[0] if array.size else array.reshape(-1)
    shown = [str(v) if array.dtype.kind == "b" else numbers.number(float(v)) for v in line[:_ROWS]]
    return {"name": name, "shape": shape, "values": ", ".join(shown) + (", …" if len(line) > _ROWS or array.ndim > 1 else "")}


def _resource(name: str) -> str:
    return resources.files("isthmus.report").joinpath("templates", name).read_text(encoding="utf-8")
