"""Chapter: when did the network leave its kernel, and when was its fate decided?"""

import math

from isthmus.plots.evolution import plot_evolution, plot_linearized, plot_twin_separation
from isthmus.plots.kernel import plot_pairwise, plot_timeline
from isthmus.report.chapter import Chapter, Headline, Plate, Records
from isthmus.report.numbers import number, percent, with_error
from isthmus.results.evolution import AfterKernel, EvolutionSummary, LinearizedChildren, Spawning
from isthmus.results.kernel import KernelTimeline

_NAME, _CHILDREN, _AFTER = "kernel/timeline", "evolution/spawning", "evolution/after_kernel"
_SUMMARY, _LINEAR = "evolution/summary", "evolution/linearized"


def _sentence(records: Records) -> str:
    parts = [_fate(records[_SUMMARY])] if _SUMMARY in records else []
    if _AFTER in records and math.isfinite(records[_AFTER].factor[0]):
        parts.append(_learner(records[_AFTER]))
    return " ".join([*parts, _motion(records[_NAME])])


def _fate(record: EvolutionSummary) -> str:
    """The barrier's transition in words."""
    row, verdict = 0, record.verdicts[0]
    before, after = record.levels[row]
    if verdict == "transient":
        place, low, high = record.change[row]
        return (
            f"The basin was decided at epoch {place:.2g} (95 % interval {low:.2g} to {high:.2g}): children that left earlier end "
            f"{before:.2g} above the line between them in training error, later ones {max(after, 0.0):.1g}."
        )
    if verdict == "no transient":
        return f"Children end in one basin whenever they leave: no transient in their barrier ({number(max(before, 0.0))} at the start)."
    return f"Whether the basin was decided during training is unresolved (barrier {number(before)} early, {number(after)} late)."


def _learner(record: AfterKernel) -> str:
    factor, when = record.factor
    words = f"Solved as a learner, the kernel of epoch {when:.2g} makes {factor:.2g} times fewer test errors than the initial one"
    share, low, high = record.match
    if math.isnan(share):
        return words + f"; no kernel reached the network's final {percent(record.final_error)}."
    interval = f" ({percent(low)} to {'never' if math.isnan(high) else percent(high)} by two standard errors)"
    return words + f", and from {percent(share)} of training on{interval} it does as well as the finished network."


def _motion(record: KernelTimeline) -> str:
    words = (
        f"The tangent kernel ended at distance S = {with_error(*record.final_distance)} from its start (0: same direction, 1: "
        f"orthogonal), its norm {number(float(record.scale[:, -1].mean()))} times as large"
    )
    (early, _), (late, _) = record.early_velocity, record.late_velocity
    if math.isfinite(early) and math.isfinite(late):
        words += (
            f"; it turned at {with_error(*record.early_velocity)} per epoch in the first {record.velocity_interval[0]:.2g} epochs "
            f"and at {with_error(*record.late_velocity)} in the second half"
        )
    return words + "."


def _headline(records: Records) -> list[Headline]:
    record: KernelTimeline = records[_NAME]
    first, last = float(record.label_alignment[:, 0].mean()), float(record.label_alignment[:, -1].mean())
    found = []
    if _SUMMARY in records:
        summary: EvolutionSummary = records[_SUMMARY]
        place, low, high = summary.change[0]
        value = f"{place:.2g} [{low:.2g},\u00a0{high:.2g}]" if summary.verdicts[0] == "transient" else summary.verdicts[0]
        found.append(Headline("epoch at which the basin was decided", value))
    if _AFTER in records and math.isfinite(records[_AFTER].factor[0]):
        share = records[_AFTER].match[0]
        found.append(Headline("factor over the initial kernel", f"{records[_AFTER].factor[0]:.2g}"))
        found.append(Headline("kernel matches the network at", "never" if math.isnan(share) else f"{percent(share)} of training"))
    return [
        *found,
        Headline("distance from the initial kernel, S", with_error(*record.final_distance)),
        Headline("kernel velocity at the start, per epoch", with_error(*record.early_velocity)),
        Headline("kernel velocity in the second half, per epoch", with_error(*record.late_velocity)),
        Headline("alignment with labels, start → end", f"{number(first)} → {number(last)}"),
    ]


def _figures(records: Records) -> list[Plate]:
    plates = []
    if _SUMMARY in records:
        plates.append(_evolution_plate(records))
    plates += _kernel_plates(records[_NAME])
    if _SUMMARY in records:
        plates.append(_twins_plate(records[_SUMMARY]))
    if _LINEAR in records and _AFTER in records:
        plates.append(_linear_plate(records[_LINEAR], records[_AFTER]))
    return plates


def _evolution_plate(records: Records) -> Plate:
    children: Spawning = records[_CHILDREN]
    summary: EvolutionSummary = records[_SUMMARY]
    after: AfterKernel | None = records.get(_AFTER)
    lost = int(children.diverged.sum())
    caption = (
        f"Top: barrier over the chord between children that left the run at that epoch ({children.method}); points: pairs, line: mean"
        f"{f'; {lost} diverged children are left out' if lost else ''}. Velocity, alignment: band of two standard errors over probe sets. "
        "Orange: change point with its 95 % bootstrap interval, where the signal certainly falls."
    )
    if after is not None and math.isfinite(after.factor[0]):
        caption += (
            f" Bottom: test error of {after.method}, with {after.test_samples} test examples (standard error about "
            f"{percent(math.sqrt(after.final_error * (1 - after.final_error) / after.test_samples))}); dotted: the finished network."
        )
    return Plate(
        "evolution",
        caption,
        lambda: plot_evolution(records[_NAME], children, summary, after),
        "Barrier between children, kernel velocity, alignment and after-kernel error against epochs",
        children,
        f"records/{_CHILDREN}.safetensors",
    )


def _twins_plate(record: EvolutionSummary) -> Plate:
    pairs = [
        f"{name.replace('_', ' ')} {value:.2f}"
        for name, value in zip(record.measures[1:], record.correlation[0, 1:] if record.measures else (), strict=True)
    ]
    words = (
        f" Rank correlation over spawn times of {record.measures[0].replace('_', ' ')} with {', '.join(pairs)}." if pairs else ""
    )
    aligned, fallen, rest = record.silent_alignment
    silent = "aligned silently" if record.silent else "did not align silently"
    return Plate(
        "twin-separation",
        "Distance of two runs that start a relative distance apart and see the same batches; the rate is the slope before the "
        f"distance reaches three tenths of its largest value. The kernel {silent}: alignment at 90 % of its last value at epoch "
        f"{aligned:.2g}, loss down by a tenth at epoch {fallen:.2g}, S = {number(rest)} still to go. Late kernels lie in a cone of "
        f"{number(record.cone_radius)} rad.{words}",
        lambda: plot_twin_separation(record),
        "Distance of perturbed twins against epochs, logarithmic",
        record,
        f"records/{_SUMMARY}.safetensors",
    )


def _linear_plate(record: LinearizedChildren, after: AfterKernel) -> Plate:
    advantage = "; ".join(
        f"at rate {number(rates[0])} "
        + ", ".join(f"{_points(value)} at epoch {epoch:.2g}" for value, epoch in zip(column, record.epoch, strict=True))
        for rates, column in zip(record.rate.T, record.advantage.T, strict=True)
    )
    return Plate(
        "linearized",
        f"Test error of the network linearized at that epoch and trained for the steps that remain ({record.method}) at its own rate "
        "1/(2L); small squares: without the network's outputs as an offset; blue: the network's own child. Nonlinear advantage, the "
        f"linearized child's error minus the own child's at the same rate: {advantage}. Dotted: the finished network.",
        lambda: plot_linearized(record, after.final_error),
        "Test error of linearized children against the epoch of linearization",
        record,
        f"records/{_LINEAR}.safetensors",
    )


def _points(value: float) -> str:
    return "diverged" if math.isnan(value) else f"{100 * value:+.1f} points"


def _scan_words(record: KernelTimeline) -> str:
    """Whether the velocity depends on the interval it is measured over."""
    if not record.scan_velocity.size:
        return ""
    late = record.scan_velocity[:, :, -1].mean(0)
    over = ", ".join(f"{value:.2g} over {dt:.2g}" for value, dt in zip(late, record.scan_interval, strict=True))
    return (
        f" Measured from epoch {record.scan_epoch[-1]:.2g} it is {over} epochs (growing: it turns smoothly; constant: it diffuses; "
        "falling: it moves to and fro within a cone)."
    )


def _kernel_plates(record: KernelTimeline) -> list[Plate]:
    sets = len(record.distance)
    over = "all outputs" if record.outputs == "full" else "the sum over outputs"
    measured = f"{sets} disjoint sets of {record.samples} training inputs, kernel over {over}, float64, one run"
    velocity = (
        f" Velocity: S(K_t, K_t+dt) / dt with dt = {record.velocity_interval[0]:.2g} epochs, drawn at the middle of its interval; S = 1 - "
        f"cosine of the flattened kernels.{_scan_words(record)} Alignment: centered (CKA) with the labels; effective "
        "rank: exp of the spectrum's entropy, both of the kernel summed over outputs. Band: two standard errors over the probe sets."
        if record.velocity_interval.size
        else ""
    )
    return [
        Plate(
            "kernel-timeline",
            f"The empirical tangent kernel along training: {measured}.{velocity}",
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
    question="When did it leave its kernel, and when was its fate decided?",
    needs={
        _NAME: KernelTimeline,
        _CHILDREN: Spawning,
        _AFTER: AfterKernel,
        _SUMMARY: EvolutionSummary,
        _LINEAR: LinearizedChildren,
    },
    required=1,
    sentence=_sentence,
    strength=3,
    headline=_headline,
    figures=_figures,
)
