"""BibTeX for what a run used."""

from typing import Any

from isthmus.results.claims import ClaimResult
from isthmus.results.record import Record
from isthmus.results.references import REFERENCES

_SOFTWARE = """@software{isthmus,
  title = {isthmus: maps of the loss landscape of a neural network},
  version = {%s},
  license = {Apache-2.0}
}"""

#: first part of a record's name to the paper whose measures it holds
_MEASURES = {
    "kernel/": "fort2020",
    "evolution/": "fort2020",
    "symmetry/": "simsek2021",
    "embedding/": "zhang2021",
    "dynamics/": "bu2020",
    "learning/": "allenzhu2018",
    "games/": "vesseron2020",
}


def citations(run: dict[str, Any], records: dict[str, Record]) -> list[str]:
    """The software, and the papers whose measures or claims appear in the records."""
    used = {record.paper for record in records.values() if isinstance(record, ClaimResult)}
    used |= {paper for prefix, paper in _MEASURES.items() if any(name.startswith(prefix) for name in records)}
    papers = [reference.bibtex for key, reference in REFERENCES.items() if key in used]
    return [_SOFTWARE % run["versions"].get("isthmus", ""), *papers]
