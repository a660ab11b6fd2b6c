"""What surfaces and curves add to the training chapter: words, numbers and figures."""

from isthmus.plots.surfaces import plot_curve, plot_plane
from isthmus.report.chapter import Headline, Plate, Records
from isthmus.report.numbers import number, percent
from isthmus.results.record import Record
from isthmus.results.surfaces import CurveProfile, LossPlane

PLANE, CURVE, CURVE_PLANE = "curvature/plane", "curvature/curve", "curvature/curve_plane"
_KINDS = {"bezier": "Bezier curve", "polygon": "polygonal chain"}
NEEDS: dict[str, type[Record]] = {PLANE: LossPlane, CURVE: CurveProfile, CURVE_PLANE: LossPlane}


def curve_words(record: CurveProfile) -> str:
    """What was found, in one sentence."""
    line, curve = _barriers(record)
    lead = f"To a network from another initialization the straight line has a training-loss barrier of {number(line)}"
    if curve < line:
        return f"{lead}; a curve trained for {record.steps:,} steps has {number(curve)}"
    return f"{lead}, and a curve trained for {record.steps:,} steps has none lower ({number(curve)})"


def curve_headlines(record: CurveProfile) -> list[Headline]:
    """Barriers on the line and on the curve."""
    line, curve = _barriers(record)
    return [
        Headline("barrier to another initialization, straight (training loss)", number(line)),
        Headline("barrier along a trained curve to it (training loss)", number(curve)),
    ]


def surface_plates(records: Records) -> list[Plate]:
    """Planes and profiles, as far as they exist."""
    plates = []
    if PLANE in records:
        plates.append(_plane_plate(records[PLANE]))
    if CURVE in records and CURVE_PLANE in records:
        plates += [_curve_plate(records[CURVE]), _curve_plane_plate(records[CURVE_PLANE], records[CURVE])]
    return plates


def _plane_plate(record: LossPlane) -> Plate:
    return Plate(
        "plane",
        f"{_grid(record)} on the plane of the two directions in which the run's {len(record.path)} checkpoints vary most, through its "
        f"end. The line is the run projected onto the plane; it is up to {number(float(record.off.max()))} away from it, so the "
        "colors under the line are not the run's own losses. Even a random walk in many dimensions has most of its variance in two "
        f"principal directions. {_bn(record)}{_holes(record)}",
        lambda: plot_plane(record),
        "Loss on the plane of the run's principal directions, with the run projected onto it",
        record,
        f"records/{PLANE}.safetensors",
    )


def _curve_plate(record: CurveProfile) -> Plate:
    line, curve = _barriers(record)
    words = ""
    if "train_error" in record.quantities:
        row = record.quantities.index("train_error")
        words = f"; in training error {percent(float(record.line_chord[row]))} and {percent(float(record.chord[row]))}"
    return Plate(
        "curve",
        f"From a network from another initialization (second) to the run's end (first): the straight line, and a {_KINDS[record.kind]} "
        f"with {len(record.bends)} trained control point{'s' if len(record.bends) > 1 else ''} ({record.steps:,} steps on the mean "
        f"loss along the curve). Training-loss barrier over the chord {number(line)} on the line, {number(curve)} on the curve{words}; "
        f"maxima over {len(record.position)} points, so lower bounds. The curve is {number(record.length[0] / record.length[1])} times "
        "as long as the line. One pair of networks, one curve. BatchNorm statistics, if any, measured anew on the way.",
        lambda: plot_curve(record),
        "Training loss and error along a trained curve and along the straight line between two networks",
        record,
        f"records/{CURVE}.safetensors",
    )


def _curve_plane_plate(record: LossPlane, curve: CurveProfile) -> Plate:
    return Plate(
        "curve-plane",
        f"{_grid(record)} on the plane through both networks and the curve's control point, distances in parameter space. The line is "
        f"the trained {_KINDS[curve.kind]}. {_bn(record)}{_holes(record)}",
        lambda: plot_plane(record),
        "Loss on the plane that holds both networks and the trained curve between them",
        record,
        f"records/{CURVE_PLANE}.safetensors",
    )


def _barriers(record: CurveProfile) -> tuple[float, float]:
    row = record.quantities.index("train_loss")
    return float(record.line_chord[row]), float(record.chord[row])


def _grid(record: LossPlane) -> str:
    words = "Training" if record.data == "train" else "Test"
    return f"{words} loss ({record.loss_name}) at {len(record.x)} × {len(record.y)} points"


def _bn(record: LossPlane) -> str:
    return "BatchNorm statistics measured anew at every point. " if "recalibrate" in record.method else ""


def _holes(record: LossPlane) -> str:
    return f"At {record.not_finite} points (crosses) the loss is not finite. " if record.not_finite else ""
