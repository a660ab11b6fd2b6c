"""Chapter: which statements were checked, and do they hold here?"""

from collections import Counter

from isthmus.plots.claims import plot_scaling
from isthmus.report.chapter import Chapter, Headline, Plate, Records
from isthmus.results.claims import ClaimResult

_PREFIX = "claims/"
_ORDER = ("holds", "consistent", "fails", "inapplicable", "inconclusive")
_PLURAL = {"holds": "hold", "fails": "fail"}


def results(records: Records) -> list[tuple[str, ClaimResult]]:
    """The checked claims by record name."""
    return [(name, record) for name, record in records.items() if name.startswith(_PREFIX)]


def plate_id(record: ClaimResult) -> str:
    """The id of a claim's figure."""
    return f"claim-{record.paper}-{record.claim}"


def _counts(records: Records) -> Counter[str]:
    return Counter(record.verdict for _, record in results(records))


def _sentence(records: Records) -> str:
    found = [record for _, record in results(records)]
    words = ", ".join(_counted(verdict, found) for verdict in _ORDER if _counts(records)[verdict])
    decided = [record for record in found if record.verdict in ("holds", "consistent", "fails")]
    failed = sum(record.control_verdict == "fails" for record in decided)
    scale = " and ".join(dict.fromkeys(record.scale for record in found))
    controls = f"{failed} of {len(decided)} negative controls failed as they must"
    return f"Of {len(found)} statements checked at {scale} scale: {words}; {controls}."


def _counted(verdict: str, found: list[ClaimResult]) -> str:
    """``40 hold``; those that fail by name."""
    names = [f"{record.paper}.{record.claim}" for record in found if record.verdict == verdict]
    word = _PLURAL.get(verdict, verdict) if len(names) > 1 else verdict
    return f"{len(names)} {word}" + (f" ({', '.join(names)})" if verdict == "fails" else "")


def _headline(records: Records) -> list[Headline]:
    counts = _counts(records)
    return [Headline(f"claims: {verdict}", str(counts[verdict])) for verdict in _ORDER if counts[verdict]]


def _figures(records: Records) -> list[Plate]:
    return [
        Plate(
            plate_id(record),
            f"Points: {len(record.measured)} seeds at each {record.axis_name}; lines: their means (geometric on a log axis). "
            f"Scale: {record.scale}.",
            lambda record=record: plot_scaling(record),
            f"{record.measured_name} against {record.axis_name} for the claim {record.claim} and its control",
            record,
            f"records/{name}.safetensors",
        )
        for name, record in results(records)
        if record.axis_name and record.scale_axis.size > 1
    ]


CLAIMS = Chapter(
    id="claims",
    title="Claims",
    question="Which statements of the theory were checked on this network, and do they hold?",
    needs={_PREFIX: ClaimResult},
    required=1,
    sentence=_sentence,
    strength=1,
    headline=_headline,
    figures=_figures,
)
