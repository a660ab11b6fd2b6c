"""Everything the report knows of a run: run.json and the records that the chapters name."""

from pathlib import Path
from typing import Any

import msgspec

from isthmus._core.errors import InputError
from isthmus.report.chapter import Chapter
from isthmus.report.chapters import CHAPTERS
from isthmus.results.record import Record


def load_run(directory: Path) -> dict[str, Any]:
    """The content of `run.json`.

    Raises:
        InputError: it is missing or damaged.
    """
    file = directory / "run.json"
    try:
        content = msgspec.json.decode(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as fault:
        raise InputError(
            f"{directory} holds no run.json; it is not the folder of a survey. Run: isthmus survey --out {directory}"
        ) from fault
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise InputError(f"{file} is damaged ({fault}). Delete the folder and run the survey again.") from fault
    if not isinstance(content, dict) or content.get("format") != 1:
        raise InputError(f"{file} was written by another version of isthmus; run the survey again.")
    return content


def load_records(directory: Path) -> dict[str, Record]:
    """All records that some chapter needs, by name.

    Raises:
        InputError: a record is damaged; the message names the file.
    """
    found: dict[str, Record] = {}
    for chapter in CHAPTERS:
        for name, kind in chapter.needs.items():
            pattern = f"{name}*.safetensors" if name.endswith("/") else f"{name}.safetensors"
            for path in sorted((directory / "records").glob(pattern)):
                key = str(path.relative_to(directory / "records").with_suffix(""))
                found[key] = kind.load(path)
    return found


def present(chapter: Chapter, records: dict[str, Record]) -> bool:
    """Whether the records that a chapter requires are there."""
    required = list(chapter.needs)[: chapter.required]
    return all(any(key == name or (name.endswith("/") and key.startswith(name)) for key in records) for name in required)
