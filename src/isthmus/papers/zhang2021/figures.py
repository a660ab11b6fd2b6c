"""The paper's experiments: plateaus, spectra of embeddings, a census of critical points, condensation, a reduced wide network.

    python -m isthmus.papers.zhang2021.figures FOLDER [desk|paper] [NAME ...]

writes records and figures. The one-dimensional data are the paper's own; `paper` is its size (width 500 and 300,000 steps; 400
ReLU units, 100,000 Adam steps), `desk` a size for minutes. The images are scikit-learn's digits in place of MNIST; at desk scale
they are learned by gradient descent with momentum, whose small start condenses in a thousand steps, Adam's does not.
"""

import functools
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from torch import nn

from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.curvature import certify, polish
from isthmus.embedding import Growth, census, condensation, grow, identify_plateau, predict_inertia
from isthmus.embedding.condensation import condensed
from isthmus.linops.random import gaussian
from isthmus.model.data import OptimizerFactory, Sgd, digits
from isthmus.model.derivatives import loss_value
from isthmus.model.problem import Problem, provenance
from isthmus.model.zoo import mlp
from isthmus.papers.zhang2021.instances import one_dimensional, small_init
from isthmus.plots.embedding import plot_census, plot_plateau
from isthmus.plots.regimes import plot_condensation, plot_reduction, plot_spectra
from isthmus.results.provenance import Cost
from isthmus.results.record import Record
from isthmus.results.regimes import EmbeddedSpectra, WideReduction
from isthmus.training import Trajectory, train

_SAMPLES = 1000


@dataclass(frozen=True)
class Adam:
    """``torch.optim.Adam`` as a picklable factory."""

    lr: float

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer over these parameters."""
        return torch.optim.Adam(parameters, lr=self.lr)


@dataclass(frozen=True)
class Size:
    """How large the experiments are.

    Attributes:
        width: tanh units on the one-dimensional data.
        steps: of gradient descent at rate .005.
        starts: searches of the census at widths 1, 2, 3.
        units: ReLU units on the images.
        image_steps: of the wide run on images.
        optimizer: of that run.
        power: the standard deviation of a start on the images is ``units ** -power``.
    """

    width: int
    steps: int
    starts: tuple[int, int, int]
    units: int
    image_steps: int
    optimizer: OptimizerFactory
    power: float


SIZES = {
    "desk": Size(50, 300_000, (400, 1500, 3000), 400, 1200, Sgd(lr=0.05), 3.0),
    "paper": Size(500, 300_000, (400, 1500, 3000), 400, 100_000, Adam(lr=3e-5), 3.0),
}


def plateau_run(size: Size, seed: Seed) -> Trajectory:
    """The wide tanh network on the paper's data from its small start, under gradient descent."""
    start = one_dimensional(size.width)
    start = start.at(small_init(size.width) * gaussian((start.network.size,), seed.child("start"), torch.float64))
    marks = np.unique(np.geomspace(10, size.steps, 25).astype(int)).tolist()
    return train(start, Sgd(lr=0.005, momentum=0.0), steps=size.steps, batch=start.samples, checkpoints=marks, seed=seed)


def embedded_spectra(seed: Seed, shares: Sequence[float] = (0.5, 0.5)) -> EmbeddedSpectra:
    """The width-2 minimum of lowest loss, and its images when its first unit is split again and again in equal shares."""
    started = time.perf_counter()
    found = [polish(one_dimensional(2).at(row), toward="minimum") for row in gaussian((12, 6), seed, torch.float64) * 2]
    narrow = min(found, key=lambda there: there.loss).problem
    stages, certificates, growth = [narrow], [certify(narrow)], []
    for _ in shares:
        copies = len(growth) + 2
        growth.append(Growth("0", {0: (1 / copies,) * copies}))
        wide = grow(narrow, growth[-1]).problem
        assert wide is not None
        stages.append(wide)
        certificates.append(certify(wide))
    inertia = [c.inertia for c in certificates]
    predicted = [inertia[0], *(predict_inertia(narrow, step).wide for step in growth)]
    padded = np.full((len(stages), stages[-1].network.size), np.nan)
    for row, certificate in enumerate(certificates):
        padded[row, : len(certificate.values)] = certificate.values
    return EmbeddedSpectra(
        width=np.array([2 + stage for stage in range(len(stages))]),
        values=padded,
        inertia=np.array([[n.negative, n.zero, n.positive] for n in inertia]),
        predicted=np.array([[n.negative, n.zero, n.positive] for n in predicted]),
        gradient=np.array([c.gradient_norm for c in certificates]),
        cutoff=np.array([c.cutoff for c in certificates]),
        shares=["", *(f"unit 0 in {stage + 2} equal copies" for stage in range(len(growth)))],
        loss=certificates[0].loss,
        loss_name=certificates[0].loss_name,
        status=Status.EXACT,
        method="lowest minimum of 12 descents at width 2, its first unit split; dense Hessians, float64",
        error=None,
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(narrow, seed),
    )


def reduced_images(size: Size, seed: Seed, *, cosine: float = 0.9) -> WideReduction:
    """A wide ReLU network on images from a small start; joined by directions at the end, and retrained."""
    started, data = time.perf_counter(), digits(seed)
    classes = nn.functional.one_hot(data.train_targets[:_SAMPLES], 10).float()
    test = nn.functional.one_hot(data.test_targets, 10).float()
    net = mlp([64, size.units, 10], "relu")
    start = Problem(net, data.train_inputs[:_SAMPLES], classes, nn.MSELoss(), test=(data.test_inputs, test))
    start = start.at(size.units**-size.power * gaussian((start.network.size,), seed.child("start"), torch.float32))
    marks = np.unique(np.geomspace(5, size.image_steps, 20).astype(int)).tolist()
    run = train(start, size.optimizer, steps=size.image_steps, batch=_SAMPLES, checkpoints=marks, seed=seed)
    wide = run.problem_at(run.steps[-1])
    small = condensed(wide, cosine=cosine)
    again = train(small.problem, size.optimizer, steps=size.image_steps // 2, batch=_SAMPLES, checkpoints=marks[:-2], seed=seed)
    guesses = [p.network(data.test_inputs).argmax(1) for p in (wide, small.problem.eval(), again.problem_at(again.steps[-1]))]
    return WideReduction(
        step=np.array(run.steps),
        loss=np.array([loss_value(run.problem_at(step)) for step in run.steps]),
        directions=np.array([condensed(run.problem_at(step), cosine=cosine).layers[0].count for step in run.steps]),
        refit_step=np.array(again.steps),
        refit_loss=np.array([loss_value(again.problem_at(step)) for step in again.steps]),
        reduced_at=run.steps[-1],
        width=size.units,
        reduced_width=small.layers[0].count,
        agreement=np.array([float((guess == guesses[0]).double().mean()) for guess in guesses[1:]]),
        accuracy=np.array([float((guess == data.test_targets).double().mean()) for guess in guesses]),
        cosine=cosine,
        loss_name=wide.loss.name,
        status=Status.EXACT,
        method=f"{size.optimizer}, full batch of {_SAMPLES} digits; standard deviation {size.units}^-{size.power:g} at the start",
        error="one seed",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(start, seed),
    )


def main(folder: str, scale: str = "desk", *names: str) -> None:
    """Measure, save the records and draw; only the named figures when names are given."""
    size, seed = SIZES[scale], as_seed(0)
    run = functools.cache(lambda: plateau_run(size, seed))
    made: dict[str, tuple[Callable[[], Record], Callable[..., Figure]]] = {
        "plateaus": (lambda: identify_plateau(run()), plot_plateau),
        "condensation": (lambda: condensation(run()), plot_condensation),
        "spectra": (lambda: embedded_spectra(seed), plot_spectra),
        "census": (lambda: census(one_dimensional(1), starts=size.starts, seed=seed), plot_census),
        "digits": (lambda: reduced_images(size, seed), plot_reduction),
    }
    for name, (measure, draw) in made.items():
        if names and name not in names:
            continue
        record = measure()
        record.save(Path(folder) / f"{name}.safetensors")
        drawn = draw(record)
        drawn.text(0.003, 0.003, f"scale: {scale}", va="bottom", fontsize=7)
        FigureCanvasSVG(drawn).print_svg(str(Path(folder) / f"{name}.svg"))


if __name__ == "__main__":
    main(*sys.argv[1:])
