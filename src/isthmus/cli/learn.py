"""The verb `isthmus learn`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from isthmus._core.errors import InputError
from isthmus.cli.show import show
from isthmus.learning.kernel_learners import (
    ClosedKernelLearner,
    ConjugateKernelLearner,
    RandomFeatureLearner,
    TangentKernelLearner,
)
from isthmus.learning.learners import Learner, NetworkLearner
from isthmus.learning.targets import TARGETS
from isthmus.studies.learning_curves import learning_curves
from isthmus.training.ensemble import Schedule

_LEARNERS = "net2, net3, taylor1, taylor2, ntk2, ntk3, last2, last3, features, gaussian, infinite2, infinite3, linear"


def learn(
    target: str = "sincos",
    *,
    learners: str = "net3,ntk3,last3,gaussian",
    samples: str = "125,250,500,1000",
    width: str = "100",
    epochs: int = 300,
    seeds: int = 5,
    oracle: Annotated[bool, Parameter(negative="")] = False,
    workers: int = 1,
    seed: int = 0,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Learning curves: networks, their Taylor models and kernels on equal samples of a known target.

    Parameters
    ----------
    target
        sincos, tanh, two-layer, three-layer, parity, staircase, leap, spiked, hierarchy or linear.
    learners
        From net2, net3, taylor1, taylor2, ntk2, ntk3, last2, last3, features, gaussian, infinite2, infinite3, linear.
    samples
        Numbers of training samples, separated by commas.
    width
        Widths of the hidden layers, separated by commas.
    epochs
        Of SGD, for networks and Taylor models; short training stays near the kernel.
    seeds
        Repetitions: samples, start and batch order.
    oracle
        Choose hyper-parameters on the test samples; recorded.
    workers
        Processes.
    seed
        Root of all draws.
    out
        Save the record here (.safetensors).
    as_json
        Print JSON.
    """
    if target not in TARGETS:
        raise InputError(f"There is no target {target!r}; there are {', '.join(TARGETS)}.")
    widths, counts = _counts(width, "--width", 1), _counts(samples, "--samples", 2)
    chosen = [_learner(name.strip(), size, epochs) for name in learners.split(",") for size in widths]
    chosen = list(dict.fromkeys(chosen))  # kernels in closed form have no width
    record = learning_curves(TARGETS[target], chosen, counts, seeds=seeds, oracle=oracle, workers=workers, seed=seed)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        for index, name in enumerate(record.learners):
            errors = "  ".join(f"{value:.3g}" for value in record.mean[index])
            sys.stdout.write(f"  {name:38s} {errors}   slope {record.slope[index]:.2f}\n")
    return code


def _learner(name: str, width: int, epochs: int) -> Learner:
    schedule = Schedule(epochs=epochs)
    makers = {
        "net2": lambda: NetworkLearner(2, width, schedule=schedule),
        "net3": lambda: NetworkLearner(3, width, schedule=schedule),
        "taylor1": lambda: NetworkLearner(3, width, order=1, schedule=schedule),
        "taylor2": lambda: NetworkLearner(3, width, order=2, schedule=schedule),
        "ntk2": lambda: TangentKernelLearner(2, width),
        "ntk3": lambda: TangentKernelLearner(3, width),
        "last2": lambda: ConjugateKernelLearner(2, width),
        "last3": lambda: ConjugateKernelLearner(3, width),
        "features": RandomFeatureLearner,
        "gaussian": ClosedKernelLearner,
        "infinite2": lambda: ClosedKernelLearner.infinite_width(2),
        "infinite3": lambda: ClosedKernelLearner.infinite_width(3),
        "linear": ClosedKernelLearner.linear,
    }
    if name not in makers:
        raise InputError(f"There is no learner {name!r}; there are {_LEARNERS}.")
    return makers[name]()


def _counts(text: str, option: str, least: int) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError as fault:
        raise InputError(f"{option} {text!r} is no list of whole numbers, e.g. 125,250,500.") from fault
    if min(counts) < least:
        raise InputError(f"{option} {text!r}: every number must be at least {least}.")
    return counts
