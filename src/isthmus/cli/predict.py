"""The verb `isthmus predict`."""

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from isthmus._core.errors import InputError
from isthmus.cli.loading import load_task
from isthmus.cli.options import Json, Out, Samples, SeedNumber, Target
from isthmus.cli.place import first_samples
from isthmus.cli.show import show
from isthmus.dynamics import central_flow, gradient_flow, predict_training
from isthmus.results.dynamics import Prediction
from isthmus.results.flows import CentralFlow, GradientFlow

View = Literal["discrete", "ode", "high_resolution", "linearized", "gradient_flow", "central_flow"]


def predict(
    target: Target,
    *,
    steps: int = 400,
    view: View = "discrete",
    samples: Samples = None,
    test: Annotated[bool, Parameter(negative="")] = False,
    seed: SeedNumber = 0,
    out: Out = None,
    as_json: Json = False,
) -> int:
    """The loss curve of full-batch training under the file's optimizer(params), before it is trained.

    Parameters
    ----------
    steps
        Optimizer steps.
    view
        From the tangent kernel at the start: discrete, the optimizer's own steps; ode, high_resolution, the equation it tends to;
        linearized, a run on the linearized network. From a small network itself: gradient_flow, that equation without the
        kernel; central_flow, the time average through the edge of stability (gradient descent, RMSprop).
    test
        Predict test outputs and loss too (discrete and linearized).
    """
    task = load_task(target)
    problem = task.problem.eval() if samples is None else first_samples(task.problem.eval(), samples)
    if view in ("gradient_flow", "central_flow"):
        if test:
            raise InputError(f"--test is predicted by the views discrete and linearized, not by {view}.")
        flow = gradient_flow if view == "gradient_flow" else central_flow
        record = flow(problem, task.optimizer, steps, seed=seed)
    else:
        record = predict_training(problem, task.optimizer, steps, view=view, test=test, seed=seed)
    code = show(record, as_json=as_json, out=out)
    if not as_json:
        sys.stdout.write(f"  loss: {record.loss[0]:.6g} at the start, {record.loss[-1]:.6g} after {record.step[-1]} steps\n")
        sys.stdout.writelines(f"  {words}\n" for words in _words(record, steps))
    return code


def _words(record: Prediction | GradientFlow | CentralFlow, steps: int) -> list[str]:
    if isinstance(record, Prediction):
        reached = [f"at step {step}" if step >= 0 else f"not within {steps} steps" for step in record.steps_to_fraction]
        pairs = zip(record.fraction, reached, strict=True)
        return [f"error below {fraction:g} of its start: {when}" for fraction, when in pairs] + [
            f"warning: {words}" for words in record.warnings
        ]
    if record.edge_step < 0:
        return [f"the step size stays below its limit for {record.step[-1]} steps"]
    if isinstance(record, GradientFlow):
        return [
            f"lr x sharpness meets the optimizer's limit by step {record.edge_step}: no flow of this kind holds from there on"
        ]
    return [
        f"edge of stability from step {record.edge_step} on: mean loss {record.mean_loss[-1]:.6g} at the end, oscillation "
        f"{record.variance[-1] ** 0.5:.3g} in the weights"
    ]
