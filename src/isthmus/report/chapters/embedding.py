"""Chapter: which narrower network did it imitate, and what would growing or shrinking do?"""

import math

import numpy as np

from isthmus.plots.embedding import plot_census, plot_plateau, plot_units
from isthmus.plots.regimes import plot_condensation
from isthmus.report.chapter import Chapter, Headline, Plate, Records
from isthmus.report.numbers import count, number, with_error
from isthmus.results.embedding import Census, PlateauTimeline, UnitCurvature
from isthmus.results.regimes import Condensation

_UNITS, _PLATEAU, _CENSUS = "embedding/units", "embedding/plateau", "embedding/census"
_CONDENSATION = "embedding/condensation"


def _steepest(record: UnitCurvature) -> tuple[str, str]:
    """The unit whose equal split adds the lowest eigenvalue, and that eigenvalue with its error."""
    row = int(record.escape.argmin())
    name = f"unit {record.unit[row]} of layer {record.layers[record.layer[row]]}"
    return name, with_error(float(record.escape[row]), float(record.escape_error[row]))


def _sure(record: UnitCurvature) -> int:
    """Units whose split adds a negative eigenvalue by two standard errors."""
    return int((record.escape + 2 * record.escape_error < 0).sum())


def _sentence(records: Records) -> str:
    units: UnitCurvature = records[_UNITS]
    name, value = _steepest(units)
    words = (
        f"Of {count(len(units.unit))} units, {count(_sure(units))} would open a direction of descent when split in two equal copies; "
        f"steepest {name}, whose split adds the Hessian eigenvalue {value}"
    )
    return words + (f". {_plateau_words(records[_PLATEAU])}." if _PLATEAU in records else ".")


def _plateau_words(record: PlateauTimeline) -> str:
    if record.nearest >= 0:
        i = record.nearest
        leave = record.exit_steps[i]
        when = f"; leaving it takes {count(round(float(leave)))} steps per e-fold" if math.isfinite(leave) else ""
        return (
            f"At step {count(int(record.step[i]))} the run was {record.reasons[i]}: signed loss gap {number(float(record.gap[i]))}, "
            f"outputs off by {number(float(record.distance[i]))} (root mean square){when}"
        )
    if not record.layers:
        return "Narrower networks were not looked for: no layer of exchangeable dense units"
    directions = ", ".join(f"{n} of {m}" for n, m in zip(record.joined[-1], record.widths, strict=True))
    last = record.reasons[-1].removeprefix("none: ")
    return f"Its units follow {directions} directions at the end, and no narrower critical point was found near: {last}"


def _headline(records: Records) -> list[Headline]:
    units: UnitCurvature = records[_UNITS]
    name, value = _steepest(units)
    found = [
        Headline("units whose split opens a descent", f"{count(_sure(units))} of {count(len(units.unit))}"),
        Headline(f"lowest eigenvalue that a split adds ({name})", value),
    ]
    if _CONDENSATION in records:
        directions: Condensation = records[_CONDENSATION]
        column = int((directions.effective[-1] / np.array(directions.widths)).argmin())
        before, after = (number(float(directions.effective[row, column])) for row in (0, -1))
        name, width = directions.layers[column], count(directions.widths[column])
        found.append(Headline(f"effective directions of the {width} units of layer {name}, start to end", f"{before} to {after}"))
    if _PLATEAU in records:
        record: PlateauTimeline = records[_PLATEAU]
        if record.nearest >= 0:
            i = record.nearest
            gap = number(float(record.gap[i]))
            found.append(Headline(f"loss gap to the nearest narrow critical point (step {count(int(record.step[i]))})", gap))
        else:
            found.append(Headline("nearest narrow critical point", "none found near"))
    return found


def _figures(records: Records) -> list[Plate]:
    plates = []
    if _PLATEAU in records and records[_PLATEAU].layers:
        plates.append(_plateau_plate(records[_PLATEAU]))
    if _CONDENSATION in records:
        plates.append(_condensation_plate(records[_CONDENSATION]))
    plates.append(_units_plate(records[_UNITS]))
    if _CENSUS in records:
        plates.append(_census_plate(records[_CENSUS]))
    return plates


def _plateau_plate(record: PlateauTimeline) -> Plate:
    near = int(record.near.sum())
    known = int(np.isfinite(record.level).sum())
    return Plate(
        "plateau",
        f"Above: training loss ({record.loss_name}) at {len(record.step)} checkpoints of one run; diamonds: loss of the critical point "
        f"that the run's network reaches when units of one direction (cosine of own weights at least 0.9) are joined, refitted and "
        f"polished; filled where the run is near it in loss and outputs ({near} of {known} found). Below: directions left after "
        "joining, as a share of the units.",
        lambda: plot_plateau(record),
        "Loss over steps with levels of narrow critical points, and number of directions",
        record,
        f"records/{_PLATEAU}.safetensors",
    )


def _condensation_plate(record: Condensation) -> Plate:
    return Plate(
        "condensation",
        "Above: effective number of directions that the own weights (w, b) of each layer's units follow, 1/Σ p p k with p the shares of "
        "strength |w||u| and k the squared cosine of two units (positive cosines only, unless the activation is odd); one would be full "
        f"condensation. Checkpoints of one run: {len(record.step)}. Below: every unit at both ends, cosine with its layer's leading "
        "direction against its share of the strength.",
        lambda: plot_condensation(record),
        "Effective number of directions over steps, and units by alignment and strength",
        record,
        f"records/{_CONDENSATION}.safetensors",
    )


def _units_plate(record: UnitCurvature) -> Plate:
    return Plate(
        "unit-curvature",
        f"A dot for each unit at the end of training: smallest eigenvalue of S = Σ⟨e, u⟩∂²φ and largest singular value of D = Σ e⊗∂φ, e "
        f"being the error of {record.loss_name} behind the layer. Negative S (colored: by two standard errors), or any D at a critical "
        f"point, means that splitting the unit opens a descent; where S = 0 (piecewise linear activations) the Hessian eigenvalue that an "
        f"equal split adds is drawn instead. Bars: standard error over {record.batches} parts of the data. Ring: the "
        f"unit whose equal split adds the lowest Hessian eigenvalue. Gradient norm here {number(record.gradient_norm)}.",
        lambda: plot_units(record),
        "Lowest eigenvalue of S against the norm of D for every unit",
        record,
        f"records/{_UNITS}.safetensors",
    )


def _census_plate(record: Census) -> Plate:
    searched = ", ".join(
        f"{c} of {s} at width {w}" for w, s, c in zip(record.widths, record.starts, record.converged, strict=True)
    )
    return Plate(
        "census",
        f"Critical points found by searches from random starts ({searched} ended at one), joined modulo symmetry. Circles: nondegenerate, "
        "squares: with zero eigenvalues; one color minima, the other saddles. Lines lead from a point to the narrower network's point "
        "whose image it is. A search proves presence, never absence.",
        lambda: plot_census(record),
        "Critical points by width and loss with their inclusions",
        record,
        f"records/{_CENSUS}.safetensors",
    )


EMBEDDING = Chapter(
    id="critical-points",
    title="Critical points",
    question="Which narrower network's plateau did it pass, and what would growing or shrinking do?",
    needs={_UNITS: UnitCurvature, _PLATEAU: PlateauTimeline, _CENSUS: Census, _CONDENSATION: Condensation},
    required=1,
    sentence=_sentence,
    strength=3,
    headline=_headline,
    figures=_figures,
)
