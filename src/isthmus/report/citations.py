"""BibTeX for what a run used."""

from typing import Any

from isthmus.results.claims import ClaimResult
from isthmus.results.record import Record

_SOFTWARE = """@software{isthmus,
  title = {isthmus: maps of the loss landscape of a neural network},
  version = {%s},
  license = {Apache-2.0}
}"""

_METHODS = {
    "kernel/timeline": """@inproceedings{fort2020,
  title = {Deep learning versus kernel learning: an empirical study of loss landscape geometry and the time evolution of the
           Neural Tangent Kernel},
  author = {Fort, Stanislav and Dziugaite, Gintare Karolina and Paul, Mansheej and Kharaghani, Sepideh and Roy, Daniel M. and
            Ganguli, Surya},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020},
  eprint = {2010.15110}
}""",
}


def citations(run: dict[str, Any], records: dict[str, Record]) -> list[str]:
    """The software, and the papers whose measures or claims appear in the records."""
    entries = [_SOFTWARE % run["versions"].get("isthmus", "")]
    fort = any(isinstance(record, ClaimResult) and record.paper == "fort2020" for record in records.values())
    if fort or "kernel/timeline" in records:
        entries.append(_METHODS["kernel/timeline"])
    return entries
