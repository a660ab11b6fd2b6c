"""The verb `isthmus predict`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from isthmus.cli.loading import load_task
from isthmus.cli.place import first_samples
from isthmus.cli.show import show
from isthmus.dynamics import predict_training


def predict(
    target: str,
    *,
    steps: int = 400,
    view: Literal["discrete", "ode", "high_resolution", "linearized"] = "discrete",
    samples: int | None = None,
    test: Annotated[bool, Parameter(negative="")] = False,
    seed: int = 0,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """The loss curve of full-batch training as the tangent kernel at the start predicts it; nothing is trained.

    Parameters
    ----------
    target
        FILE.py:function that returns an isthmus.Problem; the file's optimizer(params) is the one predicted.
    steps
        Optimizer steps.
    view
        discrete: the optimizer's own steps; ode, high_resolution: the equation it tends to; linearized: a run on the
        linearized network.
    samples
        Only the first training samples.
    test
        Predict test outputs and loss too.
    seed
        Names random start vectors.
    out
        Save the record here (.safetensors).
    as_json
        Print JSON.
    """
    task = load_task(target)
    problem = task.problem.eval() if samples is None else first_samples(task.problem.eval(), samples)
    record = predict_training(problem, task.optimizer, steps, view=view, test=test, seed=seed)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        sys.stdout.write(f"  loss: {record.loss[0]:.6g} at the start, {record.loss[-1]:.6g} after {steps} steps\n")
        for fraction, step in zip(record.fraction, record.steps_to_fraction, strict=True):
            reached = f"at step {step}" if step >= 0 else f"not within {steps} steps"
            sys.stdout.write(f"  error below {fraction:g} of its start: {reached}\n")
        sys.stdout.writelines(f"  warning: {words}\n" for words in record.warnings)
    return code
