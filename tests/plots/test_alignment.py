"""The figure of alignment draws what the record holds."""

import numpy as np

from isthmus._core.status import Status
from isthmus.plots.alignment import plot_alignment
from isthmus.report.chapters.symmetry_alignment import alignment_headlines, alignment_plate, alignment_words
from isthmus.results.provenance import Cost, Provenance
from isthmus.results.symmetry_alignment import AlignedBarriers


def record(after: float) -> AlignedBarriers:
    alpha = np.linspace(0, 1, 5)
    bump = 4 * alpha * (1 - alpha)
    before = np.stack([[1 + 2 * bump, 0.1 + 0.5 * bump], [1 + 3 * bump, 0.1 + 0.6 * bump]])
    return AlignedBarriers(
        alpha=alpha,
        before=before,
        after=np.stack([1 + after * (before - 1)] * 2),
        chord_before=np.array([[2.0, 0.5], [3.0, 0.6]]),
        chord_after=np.full((2, 2, 2), after),
        distance=np.array([10.0, 12.0]),
        distance_after=np.full((2, 2), 7.0),
        quantities=["train_loss", "train_error"],
        methods=["weights", "activations"],
        units=(200, 2),
        headline=(2.5, after),
        status=Status.EXACT,
        method="",
        error=None,
        cost=Cost(),
        provenance=Provenance(),
    )


def test_lines_are_the_records_numbers() -> None:
    drawn = plot_alignment(record(0.4))
    loss, error = drawn.axes
    assert (loss.get_title(loc="left"), error.get_title(loc="left")) == ("training loss", "training error")
    mean = record(0.4).before[:, 0].mean(axis=0)
    assert any(np.array_equal(line.get_ydata(), mean) for line in loss.lines)
    assert {text.get_text() for text in loss.texts} == {"as they are", "aligned"}


def test_words_say_whether_alignment_helped() -> None:
    assert "barrier of 2.5; once their units are aligned, 0.4" in alignment_words(record(0.4))
    assert "does not lower it (3)" in alignment_words(record(3.0))
    assert [line.value for line in alignment_headlines(record(0.4))] == ["2.5", "0.4", "0.4"]
    caption = alignment_plate(record(0.4)).caption
    assert "200 exchangeable units in 2 groups" in caption and "2 runs" in caption
