"""The paper's first figure at desk scale: test error against samples, and against the number of parameters.

    python -m isthmus.papers.allenzhu2018.figures FOLDER [desk|paper]

writes the records and the figures. Target sincos on normalized Gaussian inputs in four dimensions, SGD with momentum and batch
50, twelve settings of rate and decay for every network, chosen on held-out training samples (the paper's figures are said
to show the best on test samples; `oracle=True` of `learning_curves` does that). `paper` is the original size as far as it is
known (width 2000, 800 epochs): days on a CPU.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from isthmus._core.seeds import Seed
from isthmus.learning.kernel_learners import ClosedKernelLearner, ConjugateKernelLearner, TangentKernelLearner
from isthmus.learning.learners import Learner, NetworkLearner
from isthmus.learning.targets import Composite
from isthmus.plots.learning import plot_curves, plot_parameters
from isthmus.results.learning import LearningCurves
from isthmus.studies.learning_curves import learning_curves
from isthmus.training.ensemble import Schedule


@dataclass(frozen=True)
class Size:
    """How large the experiment is.

    Attributes:
        samples: N of the first panel.
        width: m of the first panel.
        fixed: N of the second panel.
        widths: m of the second panel.
        epochs: of SGD.
        seeds: repetitions.
    """

    samples: tuple[int, ...] = (125, 250, 500, 1000)
    width: int = 100
    fixed: int = 1000
    widths: tuple[int, ...] = (20, 40, 80, 160)
    epochs: int = 300
    seeds: int = 5


SIZES = {"desk": Size(), "paper": Size((500, 1000, 2000, 4000, 8000), 2000, 1000, (250, 500, 1000, 2000, 4000), 800)}


def paper_learners(width: int, epochs: int) -> list[Learner]:
    """The eight learners of the sweep: networks, their tangent and last-layer kernels, the Taylor models of the deeper one."""
    schedule = Schedule(epochs)
    trained = [
        NetworkLearner(depth, width, order=order, schedule=schedule) for depth, order in ((3, None), (2, None), (3, 1), (3, 2))
    ]
    kernels = [kind(depth, width) for kind in (TangentKernelLearner, ConjugateKernelLearner) for depth in (3, 2)]
    return [*trained, *kernels]


def against_samples(size: Size = Size(), *, workers: int = 1, seed: Seed | int = 0) -> LearningCurves:
    """The eight learners, a Gaussian and an infinite-width kernel, over N."""
    others = [ClosedKernelLearner(), ClosedKernelLearner.infinite_width(3)]
    learners = [*paper_learners(size.width, size.epochs), *others]
    return learning_curves(Composite(), learners, size.samples, seeds=size.seeds, workers=workers, seed=seed)


def against_parameters(size: Size = Size(), *, workers: int = 1, seed: Seed | int = 0) -> LearningCurves:
    """Networks and their kernels over the width, at one N."""
    return learning_curves(
        Composite(), _over_widths(size.widths, size.epochs), [size.fixed], seeds=size.seeds, workers=workers, seed=seed
    )


def _over_widths(widths: Sequence[int], epochs: int) -> list[Learner]:
    schedule = Schedule(epochs)
    return [
        learner
        for width in widths
        for learner in (
            NetworkLearner(3, width, schedule=schedule),
            NetworkLearner(2, width, schedule=schedule),
            TangentKernelLearner(3, width),
            TangentKernelLearner(2, width),
            ConjugateKernelLearner(3, width),
        )
    ]


def titled(drawn: Figure, scale: str, size: Size) -> Figure:
    """The figure with its scale written above it."""
    words = f"target sincos, {scale} scale: {size.epochs} epochs, {size.seeds} seeds, bars: 95 % interval over seeds"
    drawn.suptitle(words, x=0.01, ha="left", fontsize=9)
    return drawn


def main(folder: str, scale: str = "desk") -> None:
    """Measure, save the records and draw."""
    size = SIZES[scale]
    for name, measure, draw in (
        ("samples", against_samples, plot_curves),
        ("parameters", against_parameters, plot_parameters),
    ):
        record = measure(size)
        record.save(Path(folder) / f"{name}.safetensors")
        FigureCanvasSVG(titled(draw(record), scale, size)).print_svg(str(Path(folder) / f"{name}.svg"))
        last = float(record.cpu_seconds[:, -1].sum())
        sys.stdout.write(f"{name}: {record.cpu_seconds.sum():.0f} CPU seconds, {last:.0f} of them at N = {record.samples[-1]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
