"""Chapter: how many copies of this minimum are there, and what joins them?"""

from isthmus.plots.symmetry import plot_counts, plot_path, plot_taxonomy
from isthmus.report.chapter import Chapter, Headline, Plate, Records
from isthmus.report.chapters.symmetry_alignment import BARRIERS, alignment_headlines, alignment_plate, alignment_words
from isthmus.report.numbers import count, number
from isthmus.results.symmetry import PathProfile, UnitTaxonomy
from isthmus.results.symmetry_alignment import AlignedBarriers

_UNITS, _PATH = "symmetry/taxonomy", "symmetry/path"


def _sentence(records: Records) -> str:
    record: UnitTaxonomy = records[_UNITS]
    total, needed = sum(record.widths), sum(record.minimal)
    if needed == total:
        words = f"None of {count(total)} hidden units is redundant: the minimum has 10^{record.log10_orders:.1f} copies (orders"
        words += " and signs of its units)" if _signed(record) else " of its units)"
    else:
        words = (
            f"{count(total - needed)} of {count(total)} hidden units are redundant; networks of this width that compute the same "
            f"function fill 10^{record.log10_minima:.1f} subspaces"
        )
    words += f", and one more unit in every layer joins them all, on 10^{record.log10_joined:.1f} subspaces"
    path: PathProfile | None = records.get(_PATH)
    if path is not None and path.loss.size:
        words += (
            f". On the way to a copy with {_moved(path)} units in other places the loss rises by {number(abs(path.rise))} along "
            f"{len(path.steps)} straight segments, by {number(path.barrier)} along one straight line"
        )
    if BARRIERS in records:
        words += f". {alignment_words(records[BARRIERS])}"
    return words + "."


def _signed(record: UnitTaxonomy) -> bool:
    return any(words == "sigma(-z) = -sigma(z)" for words in record.activations)


def _moved(path: PathProfile) -> str:
    return " + ".join(str(moved) for moved in path.moved)


def _headline(records: Records) -> list[Headline]:
    record: UnitTaxonomy = records[_UNITS]
    found = [
        Headline("equivalent minima at minimal width", f"10^{record.log10_orders:.1f}"),
        Headline("redundant hidden units", f"{count(sum(record.widths) - sum(record.minimal))} of {count(sum(record.widths))}"),
        Headline("subspaces joined by one more unit a layer", f"10^{record.log10_joined:.1f}"),
    ]
    path: PathProfile | None = records.get(_PATH)
    if path is not None:
        rise = f"{number(abs(path.rise))} / {number(path.barrier)}" if path.loss.size else "not measured"
        found.append(Headline("rise of the loss: path of equal loss / straight line", rise))
    return found + (alignment_headlines(records[BARRIERS]) if BARRIERS in records else [])


def _figures(records: Records) -> list[Plate]:
    record: UnitTaxonomy = records[_UNITS]
    kinds = ", ".join(f"{n} {name}" for name, n in record.counts.items())
    tried = ", ".join(f"{t:g}" for t in record.tolerance)
    left_out = f" Left out: {'; '.join(record.left_out)}." if record.left_out else ""
    plates = [
        Plate(
            "units",
            f"Every hidden unit at the end of training: {kinds}. Effect: root mean square value times the norm of what reads it, over the "
            f"layer's largest, on {count(record.samples)} training examples. Units are joined when their values agree (distances tried: "
            f"{tried}) and a refit of the smaller network reaches the same loss and outputs; the distance alone decides nothing.{left_out}",
            lambda: plot_taxonomy(record),
            "Effect of every hidden unit, layer by layer, marked by what the unit is",
            record,
            f"records/{_UNITS}.safetensors",
        ),
        Plate(
            "copies",
            "Exact counts (saddle-point estimates beyond width 400). Blue: networks that compute the same function. Orange: critical "
            "subspaces that come from narrower networks, one critical point counted for each narrower width. Counts are of subspaces: "
            "they say nothing of volumes, nor of how often training meets them. Scales of ReLU-like units are not counted.",
            lambda: plot_counts(record),
            "Decimal logarithms of the numbers of equivalent minima and critical subspaces",
            record,
            f"records/{_UNITS}.safetensors",
        ),
    ]
    path: PathProfile | None = records.get(_PATH)
    if path is not None and path.loss.size:
        plates.append(_path_plate(path))
    if BARRIERS in records:
        plates.append(alignment_plate(records[BARRIERS]))
    return plates


def _path_plate(path: PathProfile) -> Plate:
    return Plate(
        "equal-loss-path",
        f"From the trained network with one free unit in every layer to a copy of it with {_moved(path)} units elsewhere. Ticks: ends "
        f"of the {len(path.steps)} segments; in each, free units take over incoming vectors, or outgoing vectors are handed over. Largest "
        f"relative change of an output on the way: {number(path.change)}. {count(path.samples)} training examples, float64, maxima over "
        "the points drawn.",
        lambda: plot_path(path),
        "Training loss along a path of equal function and along the straight line",
        path,
        f"records/{_PATH}.safetensors",
    )


SYMMETRY = Chapter(
    id="symmetry",
    title="Symmetry",
    question="How many copies of this minimum are there, and what joins them?",
    needs={_UNITS: UnitTaxonomy, _PATH: PathProfile, BARRIERS: AlignedBarriers},
    required=1,
    sentence=_sentence,
    strength=2,
    headline=_headline,
    figures=_figures,
)
