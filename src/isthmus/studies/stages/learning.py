"""What the run learned beyond its kernel: orders of its expansion, and its place on learning curves."""

from isthmus.learning import order_shares, remainder_orders
from isthmus.studies.own_learning import comparable, own_learning_curves
from isthmus.studies.stage import Context, Stage, spread

_POINTS = {"smoke": 6, "desk": 20}
_EXAMPLES = {"smoke": 200, "desk": 1000}
_REMAINDER_EXAMPLES = 200
_CURVE_SAMPLES = {"smoke": 640, "desk": 4000}


def _moved(context: Context) -> bool:
    """A run with one checkpoint has no displacement to expand."""
    return len(context.trajectory.steps) > 1


def _run_orders(context: Context) -> None:
    trajectory, name = context.trajectory, context.scale.name
    record = order_shares(
        trajectory,
        steps=spread(trajectory.steps, _POINTS[name]),
        samples=_EXAMPLES[name],
        seed=context.seed.child("learning", "orders"),
        tell=lambda done, total: context.progress("learning", "Taylor orders along the run", done, total),
    )
    context.run.save("learning/orders", record)
    start = trajectory.problem_at(trajectory.steps[0])
    few = start.inputs[:_REMAINDER_EXAMPLES]
    context.run.save("learning/remainder", remainder_orders(start, few, seed=context.seed.child("learning", "remainder")))


def _comparable(context: Context) -> bool:
    """Test data, labels or squared loss, and the optimizer that made the run."""
    return context.trained_here and _moved(context) and comparable(context.trajectory.problem)


def _run_curves(context: Context) -> None:
    record = own_learning_curves(
        context.trajectory,
        context.task.optimizer,
        batch=context.task.batch,
        samples=_CURVE_SAMPLES[context.scale.name],
        seed=context.seed.child("learning", "curves"),
        tell=lambda done, total: context.progress("learning", "network and kernels on equal samples", done, total),
    )
    context.run.save("learning/own_curves", record)


CURVES = Stage("curves", ("learning/own_curves",), _comparable, _run_curves)
ORDERS = Stage("orders", ("learning/orders", "learning/remainder"), _moved, _run_orders)
