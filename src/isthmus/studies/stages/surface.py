"""The loss around the run: on the plane of its own motion, and along a curve to a network from another start."""

from isthmus._core.errors import InputError, NumericalError
from isthmus.curvature import loss_plane, low_loss_curve, trajectory_directions
from isthmus.studies.stage import Context, Stage
from isthmus.studies.stages.curvature import sampled
from isthmus.training import open_trajectory

_POINTS = {"smoke": 7, "desk": 21}
_MOST_NUMBERS = 2**28


def _drawable(context: Context) -> bool:
    """The run has enough checkpoints for a plane, and they fit in memory at once."""
    steps = context.trajectory.steps
    return len(steps) > 2 and len(steps) * context.trajectory.problem.network.size <= _MOST_NUMBERS


def _run_plane(context: Context) -> None:
    context.progress("surface", "loss on the plane of the run", 0, 1)
    try:
        directions = trajectory_directions(context.trajectory)
    except InputError:  # the run did not leave a line
        return
    record = loss_plane(sampled(context, context.trajectory.problem), directions, points=_POINTS[context.scale.name])
    context.run.save("curvature/plane", record)


def _joined(context: Context) -> bool:
    """The twins stage left a run from another initialization."""
    return (context.run.path / "checkpoints" / "control-0").is_dir()


def _run_curve(context: Context) -> None:
    context.progress("curve", "low-loss curve to a run from another initialization", 0, 2)
    trajectory, task = context.trajectory, context.task
    end = trajectory.problem_at(trajectory.steps[-1])
    other = open_trajectory(context.run.path / "checkpoints" / "control-0", trajectory.problem)
    try:
        curve = low_loss_curve(
            end,
            end,
            other.problem_at(other.steps[-1]),
            optimizer=task.optimizer,
            epochs=task.epochs,
            batch=task.batch,
            seed=context.seed.child("curve"),
        )
        directions = curve.directions()
    except (NumericalError, InputError):  # its training diverged, or it stayed on the straight line
        return
    context.progress("curve", "loss on the plane of the curve", 1, 2)
    context.run.save("curvature/curve_plane", loss_plane(sampled(context, end), directions, points=_POINTS[context.scale.name]))
    context.run.save("curvature/curve", curve.record)


PLANE = Stage("surface", ("curvature/plane",), _drawable, _run_plane)
CURVE = Stage("curve", ("curvature/curve_plane", "curvature/curve"), _joined, _run_curve)
