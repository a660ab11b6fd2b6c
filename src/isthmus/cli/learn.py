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
    width: int = 100,
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
        sincos, tanh, two-layer, three-layer, parity, staircase, spiked or linear.
    learners
        From net2, net3, taylor1, taylor2, ntk2, ntk3, last2, last3, features, gaussian, infinite2, infinite3, linear.
    samples
        Numbers of training samples, separated by commas.
    width
        Of the hidden layers.
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
    chosen = [_learner(name.strip(), width, epochs) for name in learners.split(",")]
    record = learning_curves(TARGETS[target], chosen, _counts(samples), seeds=seeds, oracle=oracle, workers=workers, seed=seed)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        for index, name in enumerate(record.learners):
            errors = "  ".join(f"{value:.3g}" for value in record.mean[index])
            sys.stdout.write(f"  {name:28s} {errors}   slope {record.slope[index]:.2f}\n")
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


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError as fault:
        raise InputError(f"--samples {text!r} is no list of whole numbers, e.g. 125,250,500.") from fault
    if min(counts) < 2:
        raise InputError(f"--samples {text!r}: at least 2 training samples are needed.")
    return counts
