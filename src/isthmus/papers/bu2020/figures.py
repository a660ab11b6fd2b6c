"""The authors' notebook again: in its own setting and in the one where its claims apply, with the regime check's verdict on each.

    python -m isthmus.papers.bu2020.figures FOLDER [desk|paper]

writes the records and the figures. The notebook trains Linear(784, m) -> ReLU -> Linear(m, 1) without 1/sqrt(m) on MNIST's labels
as numbers; its data are not shipped here, and scikit-learn's digits, enlarged to 28 x 28, stand in. Desk scale: width 1000,
100 samples, 60 steps, 5 seeds; paper scale: width 3000, 600 samples, 5000 steps.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from matplotlib.backends.backend_svg import FigureCanvasSVG
from torch import Tensor, nn

from isthmus._core.seeds import Seed, as_seed
from isthmus._core.status import Status
from isthmus.dynamics import CanonicalNesterov, TorchSgd, TwoMomentum, predict_training, regime_check, spectrum, stability_limit
from isthmus.dynamics.methods import Method
from isthmus.linops.random import gaussian, generator
from isthmus.model.data import builtin_task
from isthmus.model.derivatives import loss_gradient, loss_value
from isthmus.model.problem import Problem, provenance
from isthmus.papers.bu2020.instances import TwoLayerRelu
from isthmus.plots.dynamics import plot_runs
from isthmus.results.optimizers import OptimizerRuns
from isthmus.results.provenance import Cost

SettingName = Literal["notebook", "ntk"]
_RATE = 1e-4


@dataclass(frozen=True)
class Size:
    """How large the runs are."""

    width: int
    samples: int
    steps: int
    seeds: int


SIZES = {"desk": Size(1000, 100, 60, 5), "paper": Size(3000, 600, 5000, 10)}

#: name -> method at a step size; the notebook's settings
METHODS: dict[str, Callable[[float], Method]] = {
    "gradient descent": lambda lr: TorchSgd(lr=lr),
    "heavy ball 0.5": lambda lr: TorchSgd(lr=lr, momentum=0.5),
    "heavy ball 0.8": lambda lr: TorchSgd(lr=lr, momentum=0.8),
    "Nesterov d = 2": lambda lr: CanonicalNesterov(lr=lr, d=2),
    "Nesterov d = 3": lambda lr: CanonicalNesterov(lr=lr, d=3),
    "Nesterov d = 8": lambda lr: CanonicalNesterov(lr=lr, d=8),
    "momenta 0.2, 0.2": lambda lr: TwoMomentum(lr=lr, beta1=0.2, beta2=0.2),
    "momenta 0.2, 0.8": lambda lr: TwoMomentum(lr=lr, beta1=0.2, beta2=0.8),
}


def digits(samples: int) -> tuple[Tensor, Tensor]:
    """Images of digits, every pixel three by three and a margin of two, ``(n, 784)`` in [0, 1], and labels 0..9 as numbers."""
    problem = builtin_task("digits", 0).problem
    images = problem.inputs[:samples].reshape(samples, 8, 8)
    images = (images - images.min()) / (images.max() - images.min())
    large = nn.functional.pad(images.repeat_interleave(3, 1).repeat_interleave(3, 2), (2, 2, 2, 2))
    return large.reshape(samples, -1), problem.targets[:samples, None].to(large.dtype)


def notebook(size: Size, seed: Seed) -> Problem:
    """The notebook's network: first weights of deviation 1/m, outer weights uniform in [-1, 1], both trained, mean squared error."""
    x, y = digits(size.samples)
    net = nn.Sequential(nn.Linear(784, size.width), nn.ReLU(), nn.Linear(size.width, 1, bias=False))
    net.load_state_dict({
        "0.weight": gaussian((size.width, 784), seed.child("first"), x.dtype) / size.width,
        "0.bias": _uniform((size.width,), seed.child("bias")) / 28,
        "2.weight": _uniform((1, size.width), seed.child("outer")),
    })  # fmt: skip
    return Problem(net.to(x.dtype), x, y, nn.MSELoss())


def _uniform(shape: tuple[int, ...], seed: Seed) -> Tensor:
    """Numbers in [-1, 1]."""
    return 2 * torch.rand(shape, generator=generator(seed)) - 1


def ntk(size: Size, seed: Seed) -> Problem:
    """The same data where the theory speaks: 1/sqrt(m), unit inputs, standardized labels, a network that starts at zero."""
    x, y = (part.double() for part in digits(size.samples))
    net = TwoLayerRelu(784, size.width, "ntk", seed)
    return Problem(net, x / x.norm(dim=1, keepdim=True), (y - y.mean()) / y.std(), nn.MSELoss())


def optimizer_runs(
    setting: SettingName,
    size: Size = SIZES["desk"],
    *,
    methods: Mapping[str, Callable[[float], Method]] = METHODS,
    seed: Seed | int = 0,
) -> OptimizerRuns:
    """The notebook's optimizers on one setting, each beside the prediction of its initial kernel.

    Args:
        setting: ``"notebook"`` at its step 1e-4, or ``"ntk"`` at half the inverse of the largest eigenvalue.
        size: width, samples, steps and seeds.
        methods: by name, at a step size.
        seed: names the networks.

    Returns:
        The record.
    """
    started, seed = time.perf_counter(), as_seed(seed)
    loss = np.full((size.seeds, len(methods), size.steps + 1), np.inf)
    predicted, margin, verdict = np.full_like(loss, np.inf), np.zeros(loss.shape[:2]), []
    problem = notebook(size, seed.child(0))
    for index in range(size.seeds):
        problem = (notebook if setting == "notebook" else ntk)(size, seed.child(index))
        modes = spectrum(problem, verify=False)
        rate = _RATE if setting == "notebook" else 0.5 / modes.largest
        for row, make in enumerate(methods.values()):
            method = make(rate)
            loss[index, row] = _train(problem, method, size.steps)
            predicted[index, row] = predict_training(modes, method, size.steps).loss
            margin[index, row] = stability_limit(modes, method).margin
            if index == 0:
                verdict.append(regime_check(problem, method, steps=size.steps, kernel_samples=10).verdict)
    scaled = "no 1/sqrt(m), lr 1e-4" if setting == "notebook" else "NTK parametrization, lr 0.5 / largest eigenvalue"
    return OptimizerRuns(
        step=np.arange(size.steps + 1),
        loss=loss,
        predicted=np.nan_to_num(predicted, nan=np.inf),
        margin=margin,
        names=list(methods),
        verdict=verdict,
        setting=f"{'notebook' if setting == 'notebook' else 'clean'}: {scaled}; digits, n = {size.samples}, m = {size.width}",
        width=size.width,
        samples=size.samples,
        status=Status.EXACT,
        method="full-batch training of the network, and the same method on the modes of its initial kernel",
        error=f"{size.seeds} seeds",
        cost=Cost(seconds=time.perf_counter() - started),
        provenance=provenance(problem, seed),
    )


def _train(problem: Problem, method: Method, steps: int) -> np.ndarray:
    """The loss of the network itself at steps 0..steps; infinite from where it is no number."""
    losses = np.full(steps + 1, np.inf)
    losses[0] = loss_value(problem)

    def slope(weights: np.ndarray) -> np.ndarray:
        return loss_gradient(problem.at(torch.from_numpy(weights)), chunk=problem.samples).double().numpy()

    with np.errstate(over="ignore", invalid="ignore"):
        for step, weights in enumerate(islice(method.iterate(slope, problem.network.flat.double().numpy()), steps), start=1):
            found = loss_value(problem.at(torch.from_numpy(weights)), chunk=problem.samples)
            if not found < 1e30:
                break
            losses[step] = found
    return losses


def main(folder: str, scale: Literal["desk", "paper"] = "desk") -> None:
    """Measure, save the records and draw."""
    for setting in ("notebook", "ntk"):
        record = optimizer_runs(setting, SIZES[scale])
        record.save(Path(folder) / f"runs_{setting}.safetensors")
        figure = plot_runs(record)
        figure.text(0.99, 0.005, f"scale: {scale}", ha="right", fontsize=7)
        FigureCanvasSVG(figure).print_svg(str(Path(folder) / f"runs_{setting}.svg"))


if __name__ == "__main__":
    main(*sys.argv[1:])  # pyright: ignore[reportArgumentType]
