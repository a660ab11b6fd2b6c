"""What alignment adds to the symmetry chapter: words, numbers and a figure."""

from isthmus.plots.alignment import plot_alignment
from isthmus.report.chapter import Headline, Plate
from isthmus.report.numbers import count, number
from isthmus.results.symmetry_alignment import AlignedBarriers

BARRIERS = "symmetry/aligned_barriers"


def alignment_words(record: AlignedBarriers) -> str:
    """What was found, in one sentence."""
    before, after = record.headline
    runs = f"{len(record.distance)} run{'s' if len(record.distance) > 1 else ''} from other initializations"
    lead = f"Between the run and {runs} the straight line has a training-loss barrier of {number(before)}"
    if after < before:
        return f"{lead}; once their units are aligned, {number(after)}"
    return f"{lead}; aligning their units does not lower it ({number(after)})"


def alignment_headlines(record: AlignedBarriers) -> list[Headline]:
    """Barriers before and after, by method."""
    row = record.quantities.index("train_loss")
    lines = [Headline("barrier to runs from other initializations (training loss)", number(record.headline[0]))]
    for name, chords in zip(record.methods, record.chord_after, strict=True):
        lines.append(Headline(f"the same, units aligned by {name}", number(float(chords[:, row].mean()))))
    return lines


def alignment_plate(record: AlignedBarriers) -> Plate:
    """Lines between runs, unaligned and aligned."""
    row = record.quantities.index("train_loss")
    others = "; ".join(
        f"by {name} {number(float(chords[:, row].mean()))}"
        for name, chords in zip(record.methods, record.chord_after, strict=True)
    )
    return Plate(
        "alignment",
        f"Straight lines in weight space from {len(record.distance)} runs from other initializations to the run; thin: each pair, bold: "
        f"their mean, dotted: the chord. Aligned: the {count(record.units[0])} exchangeable units in "
        f"{record.units[1]} groups of the other run reordered (signs too where the activation is odd), its function unchanged. "
        f"Training-loss barrier over the chord {number(record.headline[0])}; aligned {others}. Distance in weight space "
        f"{number(float(record.distance.mean()))}, aligned {number(float(record.distance_after[0].mean()))}. BatchNorm statistics, if "
        "any, measured anew on the line.",
        lambda: plot_alignment(record),
        "Loss and error along lines between runs from different initializations, before and after aligning their units",
        record,
        f"records/{BARRIERS}.safetensors",
    )
