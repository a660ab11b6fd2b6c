"""What a chapter is: plain data that says which records it needs and how they become words and figures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from isthmus.results.record import Record

Records = Mapping[str, Any]


@dataclass(frozen=True)
class Headline:
    """A number with its name, as the table and the first screen of the chapter show it."""

    name: str
    value: str


@dataclass(frozen=True)
class Plate:
    """A figure with its caption (how it was measured) and the record behind it.

    Attributes:
        id: unique in the atlas.
        caption: n, seeds, conventions, what the band is.
        draw: makes the figure.
        alternative: the figure in words, for those who do not see it.
        record: shown folded below: method, status, cost.
        source: path of the record, relative to the run's folder.
    """

    id: str
    caption: str
    draw: Callable[[], Figure]
    alternative: str
    record: Record
    source: str


@dataclass(frozen=True)
class Chapter:
    """One chapter of the atlas.

    Attributes:
        id: anchor.
        title: in the table of contents.
        question: that it answers.
        needs: record name to class; the chapter appears when the first `required` of them exist.
        required: how many of `needs`, in order, must exist.
        sentence: what was found, in one plain sentence with its number.
        strength: how much of the top it deserves; larger comes first.
        headline: the numbers.
        figures: the plates.
    """

    id: str
    title: str
    question: str
    needs: Mapping[str, type[Record]]
    required: int
    sentence: Callable[[Records], str]
    strength: int
    headline: Callable[[Records], list[Headline]]
    figures: Callable[[Records], list[Plate]]
