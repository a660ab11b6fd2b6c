"""Chapter: how did it train, and how sharp is the place it went to?"""

import math

from isthmus.plots.curvature import plot_density, plot_sharpness, plot_twins
from isthmus.plots.training import plot_history
from isthmus.report.chapter import Chapter, Headline, Plate, Records
from isthmus.report.chapters.training_surfaces import CURVE, NEEDS, curve_headlines, curve_words, surface_plates
from isthmus.report.numbers import count, interval_percent, number, percent, with_error
from isthmus.results.curvature import SharpnessTimeline, SpectralDensity, TwinBarriers
from isthmus.results.training import TrainingHistory

_HISTORY, _SHARP = "training/history", "curvature/timeline"
_DENSITY, _TWINS = "curvature/density", "curvature/twin_barriers"


def _sentence(records: Records) -> str:
    history: TrainingHistory = records[_HISTORY]
    words = f"Training took the loss from {number(history.train_loss[0])} to {number(history.train_loss[-1])}"
    if not math.isnan(history.test_error[-1]):
        low, high = history.test_error_interval
        words += f" and the test error to {percent(history.test_error[-1])} (95 % interval {percent(low)} to {percent(high)})"
    elif not math.isnan(history.test_loss[-1]):
        words += f", with {number(history.test_loss[-1])} on test data"
    if _SHARP in records:
        words += f"; {_sharp_words(records[_SHARP])}"
    if _TWINS in records:
        words += f". {_twin_words(records[_TWINS])}"
    if CURVE in records:
        words += f". {curve_words(records[CURVE])}"
    return words + "."


def _sharp_words(record: SharpnessTimeline) -> str:
    ratio, error = record.final_ratio
    if not bool(record.converged[-1, 0]):
        return "the final sharpness did not converge"
    if math.isnan(ratio):
        return f"the final sharpness is {with_error(float(record.values[-1, 0]), float(record.residuals[-1, 0]))}"
    side = "below" if ratio < 1 else "at or above"
    return (
        f"at the end sharpness × lr / 2 is {with_error(ratio, error)}, {side} 1, the full-batch limit of plain gradient descent"
    )


def _twin_words(record: TwinBarriers) -> str:
    value, error = record.headline
    pairs = len(record.chord)
    return (
        f"Twins that started at the same weights and saw the batches in another order lie behind a training-loss barrier of "
        f"{with_error(value, error)} ({pairs} pairs, above the chord)"
    )


def _headline(records: Records) -> list[Headline]:
    history: TrainingHistory = records[_HISTORY]
    found = [Headline("final training loss", number(history.train_loss[-1]))]
    if not math.isnan(history.train_error[-1]):
        found.append(Headline("final training error", percent(history.train_error[-1])))
    if not math.isnan(history.test_error[-1]):
        low, high = history.test_error_interval
        found.append(Headline("final test error", interval_percent(history.test_error[-1], low, high)))
    elif not math.isnan(history.test_loss[-1]):
        found.append(Headline("final test loss", number(history.test_loss[-1])))
    if _SHARP in records:
        found.append(Headline("sharpness × lr / 2 at the end", with_error(*records[_SHARP].final_ratio)))
    if _TWINS in records:
        found.append(Headline("barrier to twins (training loss)", with_error(*records[_TWINS].headline)))
    if CURVE in records:
        found += curve_headlines(records[CURVE])
    return found


def _figures(records: Records) -> list[Plate]:
    history: TrainingHistory = records[_HISTORY]
    plates = [
        Plate(
            "history",
            f"Loss ({history.loss_name}, as given) and share of wrong labels over all training and test data, in evaluation mode, "
            f"at {len(history.step)} checkpoints of one run. Bar: 95 % Wilson interval of the final test error over test examples.",
            lambda: plot_history(history),
            "Loss and error over optimizer steps, training and test",
            history,
            f"records/{_HISTORY}.safetensors",
        )
    ]
    if _SHARP in records:
        plates.append(_sharpness_plate(records[_SHARP]))
    if _DENSITY in records:
        plates.append(_density_plate(records[_DENSITY]))
    if _TWINS in records:
        plates.append(_twins_plate(records[_TWINS]))
    return plates + surface_plates(records)


def _sharpness_plate(record: SharpnessTimeline) -> Plate:
    missed = int((~record.converged).sum())
    note = f" Hollow points did not converge ({missed} of {record.converged.size} eigenvalues)." if missed else ""
    return Plate(
        "sharpness",
        f"The {record.values.shape[1]} largest eigenvalues of the Hessian of the training loss over {count(record.samples)} examples, "
        f"float64, at {len(record.step)} checkpoints; bars are residual bounds, smaller than the points where not visible.{note} Dashed: "
        "2/lr, above which full-batch gradient descent is unstable on a quadratic; dotted: the same with heavy-ball momentum. "
        "Mini-batch training can be unstable below either.",
        lambda: plot_sharpness(record),
        "Largest Hessian eigenvalues over training, against the limits of the step size",
        record,
        f"records/{_SHARP}.safetensors",
    )


def _density_plate(record: SpectralDensity) -> Plate:
    return Plate(
        "density",
        f"Density of the {count(record.parameters)} Hessian eigenvalues at the end of training, smoothed by a Gaussian of width "
        f"{number(record.bandwidth)}. Band: two standard errors over {len(record.nodes)} probes. Trace {with_error(*record.trace)}. "
        "Ticks: isolated values that every probe found.",
        lambda: plot_density(record),
        "Spectral density of the Hessian at the end, logarithmic",
        record,
        f"records/{_DENSITY}.safetensors",
    )


def _twins_plate(record: TwinBarriers) -> Plate:
    row = record.quantities.index("train_loss")
    controls = record.control_chord[:, row]
    contrast = (
        f" For scale: from {len(controls)} other initializations the barrier is {number(float(controls.mean()))} on average."
        if len(controls)
        else ""
    )
    return Plate(
        "twins",
        f"Straight lines in weight space from {len(record.chord)} twins (same start, other batch order) to the run; thin: each pair, bold: "
        f"their mean, dotted: the chord. Barrier over the chord {with_error(*record.headline)} in training loss, over the mean of the ends "
        f"{number(float(record.mean[:, row].mean()))}; error: standard error over pairs that share the run.{contrast}",
        lambda: plot_twins(record),
        "Training loss and error along the line from each twin to the run",
        record,
        f"records/{_TWINS}.safetensors",
    )


TRAINING = Chapter(
    id="training",
    title="Training and curvature",
    question="How did it train, and how sharp is the place it went to?",
    needs={_HISTORY: TrainingHistory, _SHARP: SharpnessTimeline, _DENSITY: SpectralDensity, _TWINS: TwinBarriers, **NEEDS},
    required=1,
    sentence=_sentence,
    strength=2,
    headline=_headline,
    figures=_figures,
)
