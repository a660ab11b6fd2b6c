"""The paper's curves: barrier of children against spawn time, kernel velocity, alignment and after-kernels on one axis, and S(t1, t2).

    python -m isthmus.papers.fort2020.figures FOLDER                   # MNIST-1D perceptron, five seeds, minutes on one core
    python -m isthmus.papers.fort2020.figures FOLDER paper CIFAR.npz   # ResNet-20 on your CIFAR-10 arrays, 200 epochs, for a GPU

writes records and figures. What sets the paper's own scale (batch size, schedule, number of seeds) is not known here; the paper scale
uses the field's usual recipe of ResNet-20.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG

from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.model.data import OptimizerFactory
from isthmus.model.problem import Problem, provenance
from isthmus.papers.fort2020.curves import children as family_children
from isthmus.papers.fort2020.instances import SEEDS, family
from isthmus.papers.fort2020.resnet import StepSgd, crop_and_flip, image_problem, images
from isthmus.plots.evolution import plot_curves, plot_together
from isthmus.plots.kernel import plot_map
from isthmus.results.evolution import AfterKernel, EvolutionCurves
from isthmus.results.kernel import KernelTimeline
from isthmus.results.provenance import Cost
from isthmus.studies.after_kernel import after_kernel
from isthmus.studies.kernel_evolution import kernel_evolution
from isthmus.studies.kernel_timeline import kernel_timeline
from isthmus.studies.transition import find_transition
from isthmus.training.loop import Augment

_MEASURES = ("barrier_train_error", "hamming", "weights")
_FLOOR = 0.02


def perceptrons(scale: str = "desk", seed: int = 0) -> EvolutionCurves:
    """Families of perceptrons on the signals (MNIST-1D at desk scale), as the claims use them.

    Args:
        scale: smoke, desk or paper.
        seed: root of all draws.
    """
    started, size = time.perf_counter(), "smoke" if scale == "smoke" else "paper" if scale == "paper" else "desk"
    made, pairs = family("signals", size, seed), family_children("signals", size, seed)
    kernels, solved = [], []
    kept = sorted(made.parents)
    for parent in range(SEEDS[size]):
        run = made.trajectory(parent)
        named = Seed(seed).child("figures", parent)
        kernels.append(kernel_timeline(run, probe_sets=2, probe_samples=32, points=len(kept), seed=named))
        solved.append(after_kernel(run, steps=_solved_steps(run.steps), samples=300 if size == "smoke" else 1500, seed=named))
    landscape = np.stack([pairs.barrier, pairs.hamming, pairs.weights])
    name = "signals" if size == "smoke" else "MNIST-1D"
    return _curves(
        pairs.epoch,
        landscape,
        kernels,
        solved,
        scale=scale,
        subject=f"Perceptrons on {name}",
        started=started,
        problem=made.problem,
    )


def _solved_steps(steps: Sequence[int]) -> list[int]:
    """Every other checkpoint, first and last included."""
    return sorted({*steps[::3], steps[-1]})


def residual_networks(
    source: Path | str | None,
    *,
    seeds: int = 5,
    epochs: int = 200,
    batch: int = 128,
    samples: int = 50000,
    tests: int = 10000,
    kernel_samples: int = 2000,
    probes: int = 64,
    spawn_times: int = 8,
    optimizer: OptimizerFactory | None = None,
    augment: Augment | None = crop_and_flip,
    store: Path | str | None = None,
    seed: int = 0,
    tell: Callable[[str, int, int], None] | None = None,
) -> EvolutionCurves:
    """ResNet-20 on CIFAR-10 (or on generated images of its shape), at the original size by default: for a GPU.

    Args:
        source: the user's arrays, see `images`; None generates data.
        seeds: networks, each with its own children.
        epochs: length of a run.
        batch: samples of a step.
        samples: training images.
        tests: test images.
        kernel_samples: training images behind the solved kernels.
        probes: images on which kernels are compared.
        spawn_times: times from which two children leave.
        optimizer: `StepSgd` by default: rate 0.1, momentum 0.9, weight decay 1e-4, divided by ten at epochs 100 and 150.
        augment: shifts and mirrors by default.
        store: folder for checkpoints; a stopped study goes on there.
        seed: root of all draws.
        tell: told (what is measured, done, total).
    """
    started, root = time.perf_counter(), Seed(seed).child("fort2020", "residual")
    data = images(source, samples=samples, tests=tests, seed=root)
    studies, problem = [], image_problem(data, seed=root.child("init", 0))
    for index in range(seeds):
        problem = image_problem(data, seed=root.child("init", index))
        studies.append(
            kernel_evolution(
                problem,
                optimizer or StepSgd(),
                epochs=epochs,
                batch=batch,
                spawn_times=spawn_times,
                samples=kernel_samples,
                probes=probes,
                linearized=0,
                augment=augment,
                seed=root.child("run", index),
                store=None if store is None else Path(store) / f"seed-{index}",
                tell=tell,
            )
        )
    landscape = np.stack([[study.children.measure(name).mean(1) for study in studies] for name in _MEASURES])
    return _curves(
        studies[0].children.spawn_epoch,
        landscape,
        [study.kernel for study in studies],
        [study.after for study in studies if study.after is not None],
        scale="paper" if epochs >= 100 else "smoke",
        subject=f"ResNet-20 on {'generated images' if source is None else 'CIFAR-10'}",
        started=started,
        problem=problem,
    )


def _curves(
    spawn_epoch: np.ndarray,
    landscape: np.ndarray,
    kernels: Sequence[KernelTimeline],
    solved: Sequence[AfterKernel],
    *,
    scale: str,
    subject: str,
    started: float,
    problem: Problem,
) -> EvolutionCurves:
    """One record from every seed's."""
    first, seed = kernels[0], Seed(0)
    velocity = np.stack([one.velocity.mean(0) for one in kernels])
    aligned = np.stack([np.interp(first.velocity_epoch, one.epoch, one.label_alignment.mean(0)) for one in kernels])
    errors = np.stack([one.solved_error for one in solved])
    found = [
        find_transition("barrier", spawn_epoch, landscape[0].T, floor=_FLOOR, seed=seed),
        find_transition("kernel velocity", first.velocity_epoch + first.velocity_interval / 2, velocity.T, floor=0.0, seed=seed),
        find_transition("missing alignment", first.velocity_epoch, aligned.max(1) - aligned.T, floor=_FLOOR, seed=seed),
    ]
    return EvolutionCurves(
        spawn_epoch=spawn_epoch,
        landscape=landscape,
        motion_epoch=first.velocity_epoch,
        velocity=velocity,
        alignment=aligned,
        solved_epoch=solved[0].epoch,
        solved_error=errors,
        final_error=np.array([one.final_error for one in solved]),
        map_epoch=first.epoch,
        pairwise=np.mean([one.pairwise for one in kernels], axis=0),
        change=np.array([[one.epoch, *one.interval] for one in found]),
        measures=list(_MEASURES),
        signals=[one.signal for one in found],
        verdicts=[one.verdict for one in found],
        scale=scale,
        subject=subject,
        status=Status.ESTIMATED,
        method=f"two children at each spawn time; {first.method}; {solved[0].method}",
        error="spread over seeds: 95 % Student intervals of means, bootstrap over seeds for change points",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem, seed),
    )


def main(folder: str, scale: str = "desk", source: str | None = None) -> None:
    """Measure, save the record and draw."""
    record = residual_networks(source, store=Path(folder) / "runs") if scale == "paper" else perceptrons(scale)
    record.save(Path(folder) / "curves.safetensors")
    drawn = {"curves": plot_curves(record), "together": plot_together(record), "map": plot_map(record.map_epoch, record.pairwise)}
    for name, figure in drawn.items():
        FigureCanvasSVG(figure).print_svg(str(Path(folder) / f"{name}.svg"))


if __name__ == "__main__":
    main(*sys.argv[1:])
