"""Chapter: which paths carry it, and is any unused path better?"""

import math

from isthmus.plots.games import plot_gap, plot_kirchhoff, plot_sankey, plot_units
from isthmus.report.chapter import Chapter, Headline, Plate, Records
from isthmus.report.numbers import count, number, percent, with_error
from isthmus.results.games import BraessScan, Certificate, GameTimeline, PathFlows

_TIMELINE, _CERTIFICATE, _FLOWS = "games/timeline", "games/certificate", "games/flows"
_TRAIN, _HELDOUT = "games/braess-train", "games/braess-heldout"


def _sentence(records: Records) -> str:
    timeline: GameTimeline = records[_TIMELINE]
    if timeline.reason:
        return f"Not measured: {timeline.reason}"
    found: Certificate = records[_CERTIFICATE]
    words = _gap_words(found)
    flows: PathFlows = records[_FLOWS]
    if not math.isnan(flows.share_for_90[0]):
        words += f"; {percent(flows.share_for_90[0])} of the paths carry 90 % of the path flow"
    if _HELDOUT in records:
        scan: BraessScan = records[_HELDOUT]
        words += f"; each of {scan.helped} of {len(scan.change)} hidden units, removed alone, would lower the held-out loss"
    return words + "."


def _gap_words(found: Certificate) -> str:
    if found.gap < found.loss:
        words = (
            f"No network {_rivals(found)} has a loss lower by more than {number(found.gap)} than this one's {number(found.loss)}"
        )
    else:
        words = (
            f"The gap to equilibrium, {number(found.gap)}, exceeds the loss itself, {number(found.loss)}: against networks "
            f"{_rivals(found)} it excludes nothing"
        )
    return f"{words} ({_kind(found)})"


def _rivals(found: Certificate) -> str:
    if found.gates == "linear":
        return "with the same path norms"
    return "with the same path norms and the same gates"


def _kind(found: Certificate) -> str:
    return "exact gap" if found.kind == "exact" else f"upper bound; actual paths show {number(found.gap_lower)}"


def _headline(records: Records) -> list[Headline]:
    timeline: GameTimeline = records[_TIMELINE]
    if timeline.reason:
        return [Headline("gap to equilibrium", "not measured")]
    found: Certificate = records[_CERTIFICATE]
    flows: PathFlows = records[_FLOWS]
    lines = [
        Headline(f"gap to equilibrium, {found.kind.replace('_', ' ')} (loss {number(found.loss)})", number(found.gap)),
        Headline("path norm R that the gap allows", _large(found.path_norm)),
        Headline("gradient norm at the same point", number(found.gradient_norm)),
        Headline("verdict", found.verdict),
        Headline("share of paths that carry 90 % of the flow", _share(flows)),
        Headline("Kirchhoff residual, relative", number(flows.kirchhoff_residual)),
    ]
    for name, data in ((_TRAIN, "training"), (_HELDOUT, "held-out")):
        if name in records:
            scan: BraessScan = records[name]
            lines.append(Headline(f"units whose removal lowers the {data} loss", f"{scan.helped} of {len(scan.change)}"))
    return lines


def _large(value: float) -> str:
    return count(round(value)) if 1e4 <= value < 1e9 else number(value)


def _share(flows: PathFlows) -> str:
    value, error = flows.share_for_90
    return "not measured" if math.isnan(value) else f"{with_error(100 * value, 100 * error)} %"


def _figures(records: Records) -> list[Plate]:
    timeline: GameTimeline = records[_TIMELINE]
    if timeline.reason:
        return []
    found: Certificate = records[_CERTIFICATE]
    flows: PathFlows = records[_FLOWS]
    plates = [_gap_plate(timeline, found)]
    if len(flows.top_values):
        plates.append(_sankey_plate(flows, found))
    if len(flows.unit_flow):
        plates.append(_units_plate(flows, records.get(_HELDOUT) or records.get(_TRAIN)))
        plates.append(_kirchhoff_plate(flows))
    return plates


def _gap_plate(timeline: GameTimeline, found: Certificate) -> Plate:
    limits = (
        "What it certifies: no choice of path values within the same budgets (the L1 norm of the paths from each input) has a "
        "loss lower by more than the gap. What it does not: "
    )
    if timeline.gates == "frozen":
        limits += (
            "gates are held as they are at each checkpoint, so it speaks of one linear piece and not of networks whose gates open "
            "elsewhere; "
        )
    limits += "and it grows with R, so a rising gap can mean larger budgets rather than a worse network."
    bound = (
        " The curve is an upper bound (gates bounded level by level); the band reaches down to what actual paths, found by beam "
        "search, show."
        if found.kind == "upper_bound"
        else ""
    )
    return Plate(
        "game-gap",
        f"Gap to equilibrium of the routing game, loss and gradient norm on {count(timeline.samples)} training examples at "
        f"{len(timeline.step)} checkpoints, float64, marginal costs, one run.{bound} {limits}",
        lambda: plot_gap(timeline),
        "Gap, loss and gradient norm over training, and the path norm below",
        timeline,
        f"records/{_TIMELINE}.safetensors",
    )


def _sankey_plate(flows: PathFlows, found: Certificate) -> Plate:
    shown = min(40, len(flows.top_values))
    share = float(abs(flows.top_values[:shown]).sum()) / flows.path_norm
    return Plate(
        "game-flow",
        f"The {shown} strongest of {number(flows.paths)} paths; the width of a ribbon is |v_p|, the product of the weights on its path, "
        f"blue for positive and orange for negative values. Together they carry {percent(share)} of the flow. Numbers name input "
        f"entries, units and outputs; a bias stands before the first unit that it feeds. "
        f"{percent(flows.open_fraction)} of all pairs of a path and a training example have every gate open." + _deviation(found),
        lambda: plot_sankey(flows),
        "Flow diagram of the strongest paths from inputs through hidden units to outputs",
        flows,
        f"records/{_FLOWS}.safetensors",
    )


def _deviation(found: Certificate) -> str:
    if not found.best_path.size:
        return ""
    before = int((found.best_path < 0).sum())
    units = found.best_path[max(before - 1, 0) :]
    words = " → ".join("bias" if unit < 0 else str(unit) for unit in units)
    sign = "positive" if found.best_path_sign > 0 else "negative"
    return f" The best deviation found puts {sign} value on the path {words}, a gain of {number(found.best_path_gain)} at present prices."


def _units_plate(flows: PathFlows, scan: BraessScan | None) -> Plate:
    words = "Left: share of the path flow that runs through the strongest units of each hidden map; the diagonal would be equal shares."
    if scan is not None:
        data = "held-out" if scan.on == "heldout" else "training"
        words += (
            f" Right: change of the {data} loss ({count(scan.samples)} examples) when one unit is removed, for the {len(scan.change)} "
            "units with the most flow; orange: the loss falls. At a critical point the training loss cannot fall by removing a unit of "
            "the last hidden map; held-out loss can. A removal that lowers it by chance is not corrected for."
        )
    return Plate(
        "game-units",
        words,
        lambda: plot_units(flows, scan),
        "Which units carry the flow, and what removing one does to the loss",
        flows if scan is None else scan,
        f"records/{_FLOWS if scan is None else _HELDOUT if scan.on == 'heldout' else _TRAIN}.safetensors",
    )


def _kirchhoff_plate(flows: PathFlows) -> Plate:
    return Plate(
        "game-kirchhoff",
        f"Conservation at every hidden unit: what flows in (weights and bias) against what flows out, in units of the loss. The largest "
        f"deviation is {number(flows.kirchhoff_residual)} of the largest flow: rounding, when the network was read rightly. "
        f"{flows.dead_units} of {len(flows.unit_flow)} units carry no path flow.",
        lambda: plot_kirchhoff(flows),
        "Incoming against outgoing flow of value for each hidden unit, on the diagonal",
        flows,
        f"records/{_FLOWS}.safetensors",
    )


GAMES = Chapter(
    id="games",
    title="The game of paths",
    question="Which paths carry it, and is any unused path better?",
    needs={_TIMELINE: GameTimeline, _CERTIFICATE: Certificate, _FLOWS: PathFlows, _TRAIN: BraessScan, _HELDOUT: BraessScan},
    required=1,
    sentence=_sentence,
    strength=2,
    headline=_headline,
    figures=_figures,
)
