"""Chapter: how did the tangent kernel move?"""

import math

from isthmus.plots.kernel import plot_pairwise, plot_timeline
from isthmus.report.chapter import Chapter, Headline, Plate, Records
from isthmus.report.numbers import number, with_error
from isthmus.results.kernel import KernelTimeline

_NAME = "kernel/timeline"


def _sentence(records: Records) -> str:
    record: KernelTimeline = records[_NAME]
    words = (
        f"The tangent kernel ended at distance S = {with_error(*record.final_distance)} from its start (0: same direction, 1: "
        f"orthogonal), its norm {number(float(record.scale[:, -1].mean()))} times as large"
    )
    (early, _), (late, _) = record.early_velocity, record.late_velocity
    if math.isfinite(early) and math.isfinite(late):
        words += (
            f"; it turned at {with_error(*record.early_velocity)} per epoch in the first {record.velocity_interval[0]:.2g} epochs and at "
            f"{with_error(*record.late_velocity)} in the second half"
        )
    return words + "."


def _headline(records: Records) -> list[Headline]:
    record: KernelTimeline = records[_NAME]
    first, last = float(record.label_alignment[:, 0].mean()), float(record.label_alignment[:, -1].mean())
    return [
        Headline("distance from the initial kernel, S", with_error(*record.final_distance)),
        Headline("kernel velocity at the start, per epoch", with_error(*record.early_velocity)),
        Headline("kernel velocity in the second half, per epoch", with_error(*record.late_velocity)),
        Headline("alignment with labels, start → end", f"{number(first)} → {number(last)}"),
    ]


def _figures(records: Records) -> list[Plate]:
    record: KernelTimeline = records[_NAME]
    sets = len(record.distance)
    over = "all outputs" if record.outputs == "full" else "the sum over outputs"
    measured = f"{sets} disjoint sets of {record.samples} training inputs, kernel over {over}, float64, one run"
    return [
        Plate(
            "kernel-timeline",
            f"The empirical tangent kernel along training: {measured}. Velocity: S(K_t, K_t+dt) / dt with dt = "
            f"{record.velocity_interval[0]:.2g} epochs, drawn at the middle of its interval; S = 1 - cosine of the flattened kernels. "
            "Alignment: centered (CKA) with the labels; effective rank: exp of the spectrum's entropy, both of the kernel summed over "
            "outputs. Band: two standard errors over the probe sets."
            if record.velocity_interval.size
            else f"The empirical tangent kernel along training: {measured}.",
            lambda: plot_timeline(record),
            "Kernel velocity, distance, alignment, effective rank and scale over epochs",
            record,
            f"records/{_NAME}.safetensors",
        ),
        Plate(
            "kernel-map",
            f"Distance S between the kernels of any two checkpoints, mean over {sets} probe sets; checkpoints are evenly spaced in "
            "the picture and log-spaced in time. Dark blocks on the diagonal are stretches in which the kernel kept its direction.",
            lambda: plot_pairwise(record),
            "Heat map of kernel distance between any two times",
            record,
            f"records/{_NAME}.safetensors",
        ),
    ]


KERNEL = Chapter(
    id="kernel",
    title="Kernel evolution",
    question="How far and how fast did its tangent kernel move?",
    needs={_NAME: KernelTimeline},
    required=1,
    sentence=_sentence,
    strength=3,
    headline=_headline,
    figures=_figures,
)
