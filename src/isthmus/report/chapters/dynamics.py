"""Chapter: did it do what its kernel predicts, and which optimizer would be faster?"""

import math

from isthmus.plots.dynamics import plot_comparison, plot_departure, plot_edge, plot_ranking
from isthmus.report.chapter import Chapter, Headline, Plate, Records
from isthmus.report.numbers import count, number, percent
from isthmus.results.dynamics import Comparison
from isthmus.results.flows import EdgeOfStability
from isthmus.results.optimizers import Ranking, Regime

_COMPARISON, _RANKING, _REGIME, _EDGE = "dynamics/comparison", "dynamics/ranking", "dynamics/regime", "dynamics/edge"
_RUNGS = {
    "modes": "the optimizer's own steps, mode by mode, full batch",
    "loss": "the optimizer's own steps in function space, full batch",
    "linearized": "the linearized network, trained with the same optimizer on the same batches",
}


def _sentence(records: Records) -> str:
    record: Comparison = records[_COMPARISON]
    last = f"step {count(int(record.step[-1]))} (epoch {record.epoch[-1]:.3g})"
    if record.departure_step < 0:
        words = f"Up to {last} it stayed within {percent(record.tolerance)} of what its initial kernel predicts"
        words += "; only the limiting differential equation disagrees" if record.cause == "step size" else ""
    else:
        words = (
            f"It left the prediction of its initial kernel by step {count(record.departure_step)} (epoch "
            f"{record.departure_epoch:.2g}): {record.cause}; by {last} the two were "
            f"{number(float(record.discrepancy[-1]))} of the initial error apart"
        )
    top = _peak(record)
    if math.isfinite(top):
        words += f". Step size × curvature reached {number(top)} of the full-batch stability limit"
    speed = _speedup(records)
    return words + (f". {speed}." if speed else ".")


def _peak(record: Comparison) -> float:
    return max((float(value) for value in record.margin if math.isfinite(value)), default=math.nan)


def _speedup(records: Records) -> str:
    """The fastest row against the run's own optimizer, at the smallest fraction that both reach."""
    if _RANKING not in records or records[_RANKING].own < 0:
        return ""
    record: Ranking = records[_RANKING]
    for column in reversed(range(len(record.fraction))):
        own = int(record.steps[record.own, column])
        reached = [(int(steps), row) for row, steps in enumerate(record.steps[:, column]) if steps >= 0]
        if own < 0 or not reached:
            continue
        best, row = min(reached)
        if row == record.own:
            return "By the kernel's full-batch prediction none of the optimizers tried is faster"
        return (
            f"By the kernel's full-batch prediction {record.names[row]} (lr {record.learning_rate[row]:.3g}) needs {count(best)} steps to "
            f"{record.fraction[column]:.0%} of the error, where the run's optimizer needs {count(own)}"
        )
    return ""


def _headline(records: Records) -> list[Headline]:
    record: Comparison = records[_COMPARISON]
    departed = record.departure_step >= 0
    found = [
        Headline(
            "departs from its kernel's prediction at",
            f"epoch {record.departure_epoch:.2g}" if departed else "not in the steps compared",
        ),
        Headline("cause", record.cause),
        Headline("discrepancy at the last compared step", number(float(record.discrepancy[-1]))),
        Headline("step size × curvature over its limit, start → peak", _margin_words(record)),
    ]
    if _EDGE in records:
        edge: EdgeOfStability = records[_EDGE]
        found.append(Headline("phase by its sharpness", edge.phase))
        found.append(Headline("rise of sharpness up to its edge or end", f"{number(edge.sharpening)} times"))
    if _REGIME in records:
        regime: Regime = records[_REGIME]
        found.append(Headline("nonlinearity expected before training", number(regime.nonlinearity)))
        found.append(Headline("verdict before training", regime.verdict))
        if regime.width and not math.isnan(regime.log10_bound):
            bound = "infinite" if math.isinf(regime.log10_bound) else f"10^{regime.log10_bound:.0f}"
            found.append(Headline("width the proofs ask for / smallest width here", f"{bound} / {count(regime.width)}"))
    return found


def _margin_words(record: Comparison) -> str:
    first, top = float(record.margin[0]), _peak(record)
    return f"{number(first)} → {number(top)}" if math.isfinite(top) else "not measured"


def _figures(records: Records) -> list[Plate]:
    record: Comparison = records[_COMPARISON]
    source = f"records/{_COMPARISON}.safetensors"
    flips = ", flipped units: rectifier inputs whose sign differs from the start" if math.isfinite(record.flipped[0]) else ""
    plates = [
        Plate(
            "dynamics-comparison",
            f"Above: loss of the run and of {_RUNGS[record.predictor]}, on {record.samples} training samples, one run; a prediction "
            "that leaves the frame diverges. Below: how far apart the two are in bands of modes of the initial loss-scaled kernel, "
            "relative to the whole initial error; each band is about twice as wide as the one above it.",
            lambda: plot_comparison(record),
            "Loss of run and prediction over steps; heat map of their distance by mode",
            record,
            source,
        ),
        Plate(
            "dynamics-departure",
            f"Above: distance of the run from its prediction, |u - u_predicted| / |u_0| of the scaled error on {record.samples} training "
            f"samples; kernel change: |K_t - K_0| / |K_0|{flips}. Told cause: {record.cause} ({record.explanation}). Below: lr × largest "
            "eigenvalue of the probe set's loss-scaled kernel over the optimizer's limit, 1 being the edge of full-batch stability.",
            lambda: plot_departure(record),
            "Discrepancy, kernel change and stability margin over steps",
            record,
            source,
        ),
    ]
    if _EDGE in records:
        plates.append(_edge_plate(records[_EDGE]))
    if _RANKING in records:
        plates.append(_ranking_plate(records[_RANKING]))
    return plates


def _edge_plate(record: EdgeOfStability) -> Plate:
    behind = f" behind {record.preconditioned}" if record.preconditioned else ""
    return Plate(
        "dynamics-edge",
        f"Above: lr × largest eigenvalue of the loss's Hessian{behind} over the limit of {record.optimizer}, 1 being the edge of "
        f"full-batch stability; below: the loss of the same {record.samples} training samples, one run. Told phase: {record.phase} "
        f"({record.explanation}). Small batches keep a run below the edge.",
        lambda: plot_edge(record),
        "Sharpness over the limit of the step size, and loss, over steps",
        record,
        f"records/{_EDGE}.safetensors",
    )


def _ranking_plate(record: Ranking) -> Plate:
    own = (
        " Colored: the optimizer of the run." if record.own >= 0 else " The run's optimizer has no closed form and is not placed."
    )
    return Plate(
        "dynamics-ranking",
        f"Steps to fractions of the error that training can remove, as the initial kernel predicts them: {record.method}. Settings are the "
        f"closed-form optima on [mu, L] = [{number(record.smallest)}, {number(record.largest)}] or step 1/L.{own} Full batch, on a "
        "sample of the data and on the linearized network: an order of "
        "magnitude for the real run, exact for a wide one. Hollow: not reached.",
        lambda: plot_ranking(record),
        "Bars of predicted steps for each optimizer",
        record,
        f"records/{_RANKING}.safetensors",
    )


DYNAMICS = Chapter(
    id="dynamics",
    title="Optimizer dynamics",
    question="Did it do what its kernel predicts, and which optimizer would be faster?",
    needs={_COMPARISON: Comparison, _RANKING: Ranking, _REGIME: Regime, _EDGE: EdgeOfStability},
    required=1,
    sentence=_sentence,
    strength=2,
    headline=_headline,
    figures=_figures,
)
